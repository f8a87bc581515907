"""The matrix as frozen dataclasses: parsed once, checked, then trusted.

`read` returns what the file says; builder.targets turns its releases into targets.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.document import Items, Node, Position, Report, Table, Text, load
from builder.matrix_shape import FRAMEWORKS, MATRIX, MODES

__all__ = [
    "Accelerator",
    "Base",
    "Build",
    "Entry",
    "FrameworkVersion",
    "Libraries",
    "Matrix",
    "Release",
    "Tools",
    "Wheel",
    "read",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools:
    """What the build uses and no image keeps."""

    base: Text
    uv: Text


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """An operating system image, pinned by digest."""

    name: str
    image: str
    end_of_life: datetime.date
    java: str
    pythons: Mapping[str, tuple[str, ...]]
    bootstrap: str | None
    at: Position


@dataclass(frozen=True, kw_only=True, slots=True)
class Accelerator:
    """A CUDA toolkit or Neuron SDK, named as in a tag: cu111, sdk1.17.1."""

    name: str
    device: str
    version: str
    packages: tuple[str, ...]
    at: Position


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """A wheel outside the package index. `url` begins with a source: ${PYTORCH_WHEELS}/..."""

    url: str
    sha256: str | None
    at: Position

    @property
    def filename(self) -> str:
        """The wheel's file name, unquoted."""
        from urllib.parse import unquote

        return unquote(self.url.rsplit("/", 1)[1])

    @property
    def source(self) -> str:
        """The name of the source the address begins with."""
        return self.url[2 : self.url.index("}")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """One build of a framework version, for cpu or an accelerator."""

    name: str
    requires: tuple[Text, ...]
    wheels: tuple[Wheel, ...]
    index: Text | None
    carries: str
    python: Text | None
    base: Text | None
    at: Position


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameworkVersion:
    """A framework version and what its targets use unless a release says otherwise."""

    framework: str
    version: str
    locked: Text
    python: Text
    base: Text
    accelerators: Mapping[str, Text]
    constraints: tuple[Text, ...]
    builds: Mapping[str, Build]
    at: Position


@dataclass(frozen=True, kw_only=True, slots=True)
class Libraries:
    """A set of requirements of the libraries layer."""

    name: str
    requires: tuple[Text, ...]
    by_framework: Mapping[str, tuple[Text, ...]]
    system: tuple[str, ...]
    at: Position


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One framework version in one mode of a release; None where the entry says nothing."""

    mode: str
    framework: str
    version: Text
    devices: tuple[Text, ...] | None
    python: Text | None
    base: Text | None
    accelerator: Text | None
    date: Text | None
    libraries: Text
    origin: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """One Transformers version with its datasets version and date."""

    transformers: Text
    datasets: Text
    date: Text
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """All of matrix.yaml that is sound. `named` are the keys of each section, broken ones too."""

    tools: Tools
    sources: Mapping[str, str]
    bases: Mapping[str, Base]
    accelerators: Mapping[str, Accelerator]
    frameworks: Mapping[tuple[str, str], FrameworkVersion]
    libraries: Mapping[str, Libraries]
    releases: tuple[Release, ...]
    named: Mapping[str, frozenset[str]]


def read(path: Path, report: Report, *, name: str | None = None) -> Matrix | None:
    """Read and shape-check a matrix; mistakes go to `report`, what is sound is returned."""
    document = load(path, report, name=name)
    if document is None:
        return None
    checked = MATRIX.check(document, report)
    if not isinstance(checked, Table):
        return None
    _dates(checked, report)
    return _matrix(_Reader(checked), document)


class _Reader:
    """Reads a checked table: after the check, a field is what its shape says, or absent."""

    def __init__(self, table: Node) -> None:
        assert isinstance(table, Table)  # noqa: S101 - the shape has been checked
        self.entries = table.entries
        self.at = table.at

    def text(self, key: str) -> Text:
        node = self.entries[key]
        assert isinstance(node, Text)  # noqa: S101
        return node

    def maybe(self, key: str) -> Text | None:
        return self.text(key) if key in self.entries else None

    def value(self, key: str, default: str | None = None) -> str | None:
        return self.text(key).value if key in self.entries else default

    def items(self, key: str) -> tuple[Node, ...]:
        node = self.entries.get(key)
        return node.items if isinstance(node, Items) else ()

    def texts(self, key: str) -> tuple[Text, ...]:
        return tuple(item for item in self.items(key) if isinstance(item, Text))

    def values(self, key: str) -> tuple[str, ...]:
        return tuple(text.value for text in self.texts(key))

    def tables(self, key: str) -> dict[str, _Reader]:
        node = self.entries.get(key)
        children = node.entries if isinstance(node, Table) else {}
        return {name: _Reader(child) for name, child in children.items()}


def _dates(node: Node, report: Report) -> None:
    """Report dates of the right form that no calendar has, such as 2021-02-30."""
    if isinstance(node, Items):
        for item in node.items:
            _dates(item, report)
    elif isinstance(node, Table):
        for key, value in node.entries.items():
            if key in ("date", "locked", "end_of_life") and isinstance(value, Text):
                try:
                    datetime.date.fromisoformat(value.value)
                except ValueError:
                    report.add(value.at, f"{value.value} is in no calendar", "mend the day")
            else:
                _dates(value, report)


def _matrix(root: _Reader, document: Table) -> Matrix:
    tools = _Reader(root.entries["tools"])
    frameworks = {
        (framework, version): _framework_version(framework, version, fields)
        for framework in root.tables("frameworks")
        for version, fields in _Reader(root.entries["frameworks"]).tables(framework).items()
    }
    return Matrix(
        tools=Tools(base=tools.text("base"), uv=tools.text("uv")),
        sources=_strings(root.entries.get("sources")),
        bases={name: _base(name, fields) for name, fields in root.tables("bases").items()},
        accelerators={
            name: Accelerator(
                name=name,
                device=fields.text("device").value,
                version=fields.text("version").value,
                packages=fields.values("packages"),
                at=fields.at,
            )
            for name, fields in root.tables("accelerators").items()
        },
        frameworks=frameworks,
        libraries={
            name: Libraries(
                name=name,
                requires=fields.texts("requires"),
                by_framework={framework: fields.texts(framework) for framework in FRAMEWORKS},
                system=fields.values("system"),
                at=fields.at,
            )
            for name, fields in root.tables("libraries").items()
        },
        releases=tuple(_release(_Reader(item)) for item in root.items("releases")),
        named=_named(document),
    )


def _strings(node: Node | None) -> dict[str, str]:
    entries: dict[str, Any] = node.entries if isinstance(node, Table) else {}
    return {name: child.value for name, child in entries.items()}


def _base(name: str, fields: _Reader) -> Base:
    pythons = _Reader(fields.entries["pythons"])
    return Base(
        name=name,
        image=fields.text("image").value,
        end_of_life=_date(fields.text("end_of_life")),
        java=fields.text("java").value,
        pythons={python: pythons.values(python) for python in pythons.entries},
        bootstrap=fields.value("bootstrap"),
        at=fields.at,
    )


def _date(text: Text) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text.value)
    except ValueError:  # reported by _dates; the matrix is refused before anybody uses this
        return datetime.date.min


def _framework_version(framework: str, version: str, fields: _Reader) -> FrameworkVersion:
    return FrameworkVersion(
        framework=framework,
        version=version,
        locked=fields.text("locked"),
        python=fields.text("python"),
        base=fields.text("base"),
        accelerators={
            device: fields.text(device) for device in ("gpu", "neuron") if device in fields.entries
        },
        constraints=fields.texts("constraints"),
        builds={name: _build(name, build) for name, build in fields.tables("builds").items()},
        at=fields.at,
    )


def _build(name: str, fields: _Reader) -> Build:
    """The build itself, or its fallback as long as a wheel of it has no known hash."""
    wheels = tuple(
        Wheel(url=wheel.text("url").value, sha256=wheel.value("sha256"), at=wheel.at)
        for wheel in map(_Reader, fields.items("wheels"))
    )
    if "fallback" in fields.entries and any(wheel.sha256 is None for wheel in wheels):
        return _build(name, _Reader(fields.entries["fallback"]))
    return Build(
        name=name,
        requires=fields.texts("requires"),
        wheels=wheels,
        index=fields.maybe("index"),
        carries=fields.value("carries", name) or name,
        python=fields.maybe("python"),
        base=fields.maybe("base"),
        at=fields.at,
    )


def _release(fields: _Reader) -> Release:
    found: list[Entry] = []
    for mode in MODES:
        if mode not in fields.entries:
            continue
        in_mode = _Reader(fields.entries[mode])
        for framework in FRAMEWORKS:
            for item in in_mode.items(framework):
                found.append(_entry(mode, framework, item, in_mode.text("libraries")))
    return Release(
        transformers=fields.text("transformers"),
        datasets=fields.text("datasets"),
        date=fields.text("date"),
        entries=tuple(found),
    )


def _entry(mode: str, framework: str, item: Node, libraries: Text) -> Entry:
    short = isinstance(item, Text)
    fields = _Reader(Table(entries={"version": item}, keys={}, at=item.at) if short else item)
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
        origin=fields.value("origin", "official") or "official",
    )


def _named(document: Table) -> dict[str, frozenset[str]]:
    def keys(node: Node | None) -> frozenset[str]:
        return frozenset(node.keys if isinstance(node, Table) else ())

    named = {
        section: keys(document.entries.get(section))
        for section in ("bases", "accelerators", "libraries", "sources")
    }
    frameworks = document.entries.get("frameworks")
    for framework in FRAMEWORKS:
        child = frameworks.entries.get(framework) if isinstance(frameworks, Table) else None
        named[framework] = keys(child)
    return named
