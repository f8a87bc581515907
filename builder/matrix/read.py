"""Reads matrix.yaml: checks its shape, then turns its tables into the dataclasses of `records`."""

from __future__ import annotations

import datetime
from pathlib import Path

from builder.matrix.format import DEVICES, FRAMEWORKS, MATRIX, MODES
from builder.matrix.records import (
    Accelerator,
    Base,
    Build,
    Component,
    CudaKeyring,
    Entry,
    FrameworkVersion,
    Libraries,
    Matrix,
    Release,
    Tools,
    Upgrade,
    Wheel,
)
from builder.matrix.yaml_nodes import Items, Node, Position, Report, Table, Text, load

__all__ = ["read"]

_SECTIONS = ("bases", "accelerators", "libraries", "sources", "cuda_keyring", "components")


def read(path: Path, report: Report, *, name: str | None = None) -> Matrix | None:
    """Read and shape-check a matrix; mistakes go to `report`, what is sound is returned."""
    document = load(path, report, name=name)
    if document is None:
        return None
    checked = MATRIX.check(document, report)
    if not isinstance(checked, Table) or _lacks_a_section(document, checked):
        return None
    return _matrix(_Reader(checked), document)


def _lacks_a_section(document: Table, checked: Table) -> bool:
    """Whether a section is missing, misspelt or broken as a whole: mentions of it would seem wrong.

    The tools and the keyring are nobody's but the build's.
    """
    unmentioned = {"tools", "cuda_keyring"}
    lacking = {*MATRIX.required, *document.keys} - checked.entries.keys() - unmentioned
    said, sound = document.entries.get("frameworks"), checked.entries.get("frameworks")
    if isinstance(said, Table) and isinstance(sound, Table):
        lacking |= said.keys.keys() - sound.entries.keys()
    return bool(lacking)


class _Reader:
    """Reads a checked table: after the check, a field is what its shape says, or absent."""

    def __init__(self, table: Node) -> None:
        assert isinstance(table, Table)  # noqa: S101 - the shape has been checked
        self.entries = table.entries
        self.keys = table.keys

    def text(self, key: str) -> Text:
        node = self.entries[key]
        assert isinstance(node, Text)  # noqa: S101
        return node

    def maybe(self, key: str) -> Text | None:
        return self.text(key) if key in self.entries else None

    def value(self, key: str) -> str | None:
        return self.text(key) if key in self.entries else None

    def items(self, key: str) -> tuple[Node, ...]:
        node = self.entries.get(key)
        return node.items if isinstance(node, Items) else ()

    def texts(self, key: str) -> tuple[Text, ...]:
        return tuple(item for item in self.items(key) if isinstance(item, Text))

    def values(self, key: str) -> tuple[str, ...]:
        return self.texts(key)

    def table(self, key: str) -> _Reader:
        """The table of a key; an empty one if there is none."""
        at = Position(file="", line=0, column=0)
        return _Reader(self.entries.get(key) or Table(entries={}, keys={}, at=at))

    def tables(self, key: str) -> dict[str, _Reader]:
        table = self.table(key)
        return {name: table.table(name) for name in table.entries}

    def named(self, key: str) -> Position:
        """Where the file names an entry."""
        return self.keys[key].at


def _matrix(root: _Reader, document: Table) -> Matrix:
    tools, sources, budgets = root.table("tools"), root.table("sources"), root.table("budgets")
    keyring, components = root.table("cuda_keyring"), root.table("components")
    frameworks = {
        (framework, version): _framework_version(framework, version, versions)
        for framework, versions in root.tables("frameworks").items()
        for version in versions.entries
    }
    return Matrix(
        tools=_tools(tools) if tools.entries else None,
        sources={name: sources.text(name) for name in sources.entries},
        cuda_keyring=_cuda_keyring(keyring) if keyring.entries else None,
        bases={name: _base(name, fields) for name, fields in root.tables("bases").items()},
        accelerators={
            name: Accelerator(
                name=name,
                device=fields.text("device"),
                version=fields.text("version"),
                packages=fields.texts("packages"),
                driver_cuda=fields.maybe("driver_cuda"),
                develop=fields.texts("develop"),
            )
            for name, fields in root.tables("accelerators").items()
        },
        frameworks=frameworks,
        libraries={
            name: Libraries(
                name=name,
                requires=fields.texts("requires"),
                by_framework={framework: fields.texts(framework) for framework in FRAMEWORKS},
                compilers=fields.texts("compilers"),
                system=fields.texts("system"),
            )
            for name, fields in root.tables("libraries").items()
        },
        releases=tuple(_release(_Reader(item)) for item in root.items("releases")),
        upgrades=tuple(_upgrade(_Reader(item)) for item in root.items("upgrades")),
        budgets={budgets.keys[glob]: budgets.text(glob) for glob in budgets.entries},
        components={
            name: _component(name, components.table(name), components.named(name))
            for name in components.entries
        },
        named=_named(document),
    )


def _tools(fields: _Reader) -> Tools:
    pythons = fields.table("pythons")
    return Tools(
        base=fields.text("base"),
        uv=fields.text("uv"),
        build=fields.texts("build"),
        pythons={python: pythons.text(python) for python in pythons.entries},
    )


def _cuda_keyring(fields: _Reader) -> CudaKeyring:
    return CudaKeyring(path=fields.text("path"), sha256=fields.text("sha256"))


def _base(name: str, fields: _Reader) -> Base:
    pythons = fields.table("pythons")
    return Base(
        name=name,
        image=fields.text("image"),
        end_of_life=datetime.date.fromisoformat(fields.text("end_of_life")),
        jdk=fields.text("jdk"),
        pythons={python: pythons.values(python) for python in pythons.entries},
        bootstrap=fields.value("bootstrap"),
        said={"base": fields.text("image").at, "end_of_life": fields.text("end_of_life").at},
    )


def _framework_version(framework: str, version: str, versions: _Reader) -> FrameworkVersion:
    fields = versions.table(version)
    builds = fields.table("builds")
    return FrameworkVersion(
        framework=framework,
        version=version,
        locked=fields.text("locked"),
        python=fields.text("python"),
        base=fields.text("base"),
        accelerators={
            device: fields.text(device) for device in DEVICES if device in fields.entries
        },
        requires=fields.texts("requires"),
        constraints=fields.texts("constraints"),
        builds={
            name: _build(name, builds.table(name), builds.named(name)) for name in builds.entries
        },
        named=frozenset(builds.keys),
        at=versions.named(version),
    )


def _build(name: str, fields: _Reader, at: Position) -> Build:
    """The build itself, or its fallback as long as a wheel of it has no known hash."""
    wheels = tuple(_wheel(_Reader(item)) for item in fields.items("wheels"))
    if "fallback" in fields.entries and any(wheel.sha256 is None for wheel in wheels):
        return _build(name, fields.table("fallback"), fields.named("fallback"))
    indexes = fields.table("indexes")
    carries = fields.maybe("carries") or Text(name, at)
    return Build(
        name=name,
        requires=fields.texts("requires"),
        wheels=wheels,
        indexes={indexes.keys[name]: indexes.texts(name) for name in indexes.entries},
        carries=carries,
        python=fields.maybe("python"),
        base=fields.maybe("base"),
        at=carries.at,
    )


def _wheel(fields: _Reader) -> Wheel:
    url = fields.text("url")
    return Wheel(url=url, sha256=fields.value("sha256"), at=url.at)


def _component(name: str, fields: _Reader, at: Position) -> Component:
    versions = fields.table("for")
    return Component(
        name=name,
        kind=fields.text("kind"),
        version=fields.text("version"),
        source=fields.maybe("source"),
        sha256=fields.value("sha256"),
        wheels=tuple(_wheel(_Reader(item)) for item in fields.items("wheels")),
        requires=fields.texts("requires"),
        build=fields.texts("build"),
        needs=fields.texts("needs"),
        compilers=fields.texts("compilers"),
        system=fields.texts("system"),
        frameworks={framework: versions.texts(framework) for framework in versions.entries},
        said={key: text.at for key, text in fields.keys.items()},
        at=at,
    )


def _upgrade(fields: _Reader) -> Upgrade:
    return Upgrade(
        package=fields.text("package"),
        version=fields.value("version"),
        date=datetime.date.fromisoformat(fields.text("date")),
        reason=fields.text("reason"),
        until=datetime.date.fromisoformat(fields.text("until")),
        at=fields.text("package").at,
    )


def _release(fields: _Reader) -> Release:
    entries: list[Entry] = []
    for mode in MODES:
        in_mode = fields.table(mode)
        for framework in FRAMEWORKS:
            for item in in_mode.items(framework):
                named = fields.keys[mode], in_mode.keys[framework]
                entries.append(_entry(*named, item, in_mode.text("libraries")))
    return Release(
        transformers=fields.text("transformers"),
        datasets=fields.text("datasets"),
        date=fields.text("date"),
        entries=tuple(entries),
    )


def _entry(mode: Text, framework: Text, item: Node, libraries: Text) -> Entry:
    if isinstance(item, Text):
        item = Table(entries={"version": item}, keys={}, at=item.at)
    fields = _Reader(item)
    return Entry(
        mode=mode,
        framework=framework,
        version=fields.text("version"),
        devices=fields.texts("devices") or None,
        python=fields.maybe("python"),
        base=fields.maybe("base"),
        accelerator=fields.maybe("accelerator"),
        date=fields.maybe("date"),
        libraries=fields.maybe("libraries") or libraries,
        origin=fields.maybe("origin"),
        major=fields.maybe("major"),
        components=fields.texts("components"),
    )


def _named(document: Table) -> dict[str, tuple[str, ...]]:
    def keys(node: Node | None) -> tuple[str, ...]:
        return tuple(node.keys) if isinstance(node, Table) else ()

    frameworks = document.entries.get("frameworks")
    versions = frameworks.entries if isinstance(frameworks, Table) else {}
    return {
        **{name: keys(document.entries.get(name)) for name in _SECTIONS},
        **{name: keys(versions.get(name)) for name in FRAMEWORKS},
    }
