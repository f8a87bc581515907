"""Locks: every requirement of a layer with its SHA-256, resolved as of a date by `resolve`.

The framework layer is resolved as of the framework version's own date, so that all releases on it
share one layer; the libraries layer as of the release's date, on top of the framework's versions.
Each lock carries the digest of what it was resolved from, so a stale one is told from a fresh one
without the network.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.matrix.components import locked
from builder.matrix.format import Component, Upgrade
from builder.matrix.target import Target
from builder.util import atomic

__all__ = [
    "LAST_PATCH",
    "LAYERS",
    "PLATFORM",
    "Lock",
    "State",
    "component",
    "concerning",
    "entries",
    "files",
    "inputs_digest",
    "is_fresh",
    "layers",
    "load",
    "normalise",
    "origin",
    "parse",
    "pinned",
    "read",
    "state",
    "under",
    "write",
]

# Wheels that glibc 2.28 and older distributions can load; Ubuntu 18.04 has 2.27, and no wheel of
# its time asks for more.
PLATFORM = "x86_64-manylinux_2_28"
# The last patch release of each Python, so that `Requires-Python: >=3.6.2` is met.
LAST_PATCH = {"3.6": "3.6.15", "3.7": "3.7.17", "3.8": "3.8.20", "3.9": "3.9.25"}
# In the order in which they are resolved, but for those of components: see `layers`.
LAYERS = ("build", "framework", "libraries", "tools")

_TITLES = {
    "build": "What source distributions are built with",
    "framework": "The framework layer",
    "libraries": "The libraries layer",
    "tools": "The tools of the build",
}
_REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[.*?\])?\s*(?:==|@)")
_VERSION = re.compile(r"^[A-Za-z0-9._-]+(?:\[.*?\])?==(?P<version>[^\s;\\]+)")
_LOCK = re.compile(
    r"# [^\n]*?(?: for Python (?P<python>\S+))? as of (?P<date>[^\n]+), by `dlc lock`\.\n"
    r"# inputs: sha256:(?P<inputs>[0-9a-f]{64})\n"
    r"# requirements: sha256:[0-9a-f]{64}\n(?P<body>(?s:.*))"
)
_UNHASHED = re.compile(r"^# No SHA-256: (?P<reason>.*)\n(?P<requirement>\S+)", re.MULTILINE)
_NOTE = re.compile(r"^# (?P<how>lifted|kept): (?P<package>\S+) (?P<what>.*)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """One layer's lock: requirement lines by normalised name, each with its hashes.

    `notes` tell of the matrix's upgrades: which package was lifted, and which was kept.
    """

    layer: str
    python: str
    date: str
    inputs: str
    entries: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """The lock as a requirements file that pip and uv read."""
        body = "".join((*(f"# {note}\n" for note in self.notes), *self.entries.values()))
        python = f" for Python {self.python}" if self.python else ""
        title = _TITLES.get(self.layer, f"The component {self.layer}")
        return (
            f"# {title}{python} as of {self.date}, by `dlc lock`.\n"
            f"# inputs: sha256:{self.inputs}\n"
            f"# requirements: sha256:{_sha256(body)}\n" + body
        )

    @property
    def is_complete(self) -> bool:
        """Whether each of its requirements has a hash."""
        return all("--hash=" in entry for entry in self.entries.values())

    def pins(self) -> list[str]:
        """`name==version` of every requirement that is not a direct wheel."""
        found = (pinned(entry) for entry in self.entries.values())
        return [f"{name}=={version}" for name, version in found if version]

    def is_of(self, target: Target, below: str) -> bool:
        """Whether a target's layer, on top of the locks `below`, is resolved from the same."""
        upgrades = concerning(self.layer, target, self.entries, self.notes)
        same = self.inputs == inputs_digest(self.layer, target, below, upgrades)
        return same and (self.python, self.date) == origin(self.layer, target)


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What the committed locks of a target are: read without the network.

    `stale` tells why, for each lock that is not fresh; `unhashed` why, for each requirement without
    a SHA-256; `lifted` and `kept` what became of the matrix's upgrades, by package.
    """

    stale: Mapping[str, str]
    requirements: int
    unhashed: Mapping[str, str]
    lifted: Mapping[str, str]
    kept: Mapping[str, str]

    @property
    def text(self) -> str:
        """In a word how they are, or which of them are not fresh and why."""
        if not self.stale:
            return "fresh"
        if len(self.stale) >= len(LAYERS) and len(set(self.stale.values())) == 1:
            return next(iter(self.stale.values()))
        return ", ".join(f"{layer}.lock {why}" for layer, why in self.stale.items())


def layers(target: Target) -> tuple[str, ...]:
    """The layers that a target has locks of, in the order in which they are resolved."""
    kinds = (component.kind for component in locked(target.components))
    return ("build", "framework", *kinds, "libraries", "tools")


def under(layer: str, target: Target, texts: Mapping[str, str]) -> str:
    """The locks on top of which a layer is resolved; nothing for one that stands alone."""
    stack = layers(target)[1:-1]
    return "".join(texts[each] for each in stack[: stack.index(layer)]) if layer in stack else ""


def origin(layer: str, target: Target) -> tuple[str, str]:
    """The Python and the date that a layer is resolved for."""
    if layer == "tools":
        return "", "any day"
    date = target.date if layer == "libraries" else target.locked
    return target.python, date.isoformat()


def component(layer: str, target: Target) -> Component:
    """The component of a target that a layer is named after."""
    [found] = (each for each in target.components if each.kind == layer)
    return found


def inputs_digest(
    layer: str, target: Target, below: str = "", upgrades: Iterable[Upgrade] = ()
) -> str:
    """The SHA-256 of all that a layer is resolved from.

    `below` are the locks under it; `upgrades` are those of the matrix that concern it.
    """
    python = f"{LAST_PATCH.get(target.python, target.python)} {PLATFORM}"
    parts: list[str] = []
    if layer == "build":
        parts = [python, target.locked.isoformat(), *target.build_requirements]
        parts += [f"constraint {text}" for text in target.constraints]
    elif layer == "framework":
        parts = [
            python,
            target.locked.isoformat(),
            *target.framework_requirements,
            *(f"constraint {text}" for text in target.constraints),
            *(f"{wheel.url} {wheel.sha256}" for wheel in target.build.wheels),
            *(
                f"{source} {text}"
                for source, texts in target.build.indexes.items()
                for text in texts
            ),
        ]
    elif layer == "libraries":
        parts = [python, target.date.isoformat(), *target.library_requirements, below]
    elif layer == "tools":
        parts = [target.uv]
    else:
        own = component(layer, target)
        parts = [python, target.locked.isoformat(), *own.requires, below]
        parts += (f"{wheel.url} {wheel.sha256}" for wheel in own.wheels)
    parts += [upgrade.rule for upgrade in upgrades]
    return _sha256("\n".join([layer, *parts]))


def concerning(
    layer: str, target: Target, entries: Mapping[str, str], notes: Iterable[str]
) -> list[Upgrade]:
    """The upgrades that a lock has notes of, and those that would lift what it has."""
    if layer in ("build", "tools"):
        return []
    noted = {note.split()[1] for note in notes}
    found = []
    for upgrade in target.upgrades:
        _, version = pinned(entries[upgrade.package]) if upgrade.package in entries else ("", "")
        if upgrade.package in noted or (version and upgrade.lifts(version)):
            found.append(upgrade)
    return found


@functools.lru_cache(maxsize=1024)  # Targets share locks to the byte.
def read(layer: str, text: str) -> Lock | str:
    """A lock, or in a word why a text is none: missing, not a lock, edited.

    It is one if there is no byte in it that the lock does not account for.
    """
    found = _LOCK.fullmatch(text)
    if found is None:
        return "not a lock" if text else "missing"
    notes = tuple(note[0].removeprefix("# ") for note in _NOTE.finditer(found["body"]))
    whys = {each["requirement"]: each["reason"] for each in _UNHASHED.finditer(found["body"])}
    entries = parse(found["body"])
    for name, entry in entries.items():
        if (requirement := entry.split(maxsplit=1)[0]) in whys:
            entries[name] = f"# No SHA-256: {whys[requirement]}\n{entry}"
    lock = Lock(
        layer=layer,
        python=found["python"] or "",
        date=found["date"],
        inputs=found["inputs"],
        entries=entries,
        notes=notes,
    )
    return lock if lock.text() == text else "edited"


def load(folder: Path, layer: str) -> Lock | str:
    """The lock of a layer in a target's folder, or in a word why there is none: see `read`."""
    return read(layer, _read(folder / f"{layer}.lock"))


def state(folder: Path, target: Target) -> State:
    """Compare the locks in a folder with what the target says now."""
    texts = {layer: _read(folder / f"{layer}.lock") for layer in layers(target)}
    found = {layer: read(layer, text) for layer, text in texts.items()}
    stale = {layer: lock for layer, lock in found.items() if isinstance(lock, str)}
    for layer, lock in found.items():
        if isinstance(lock, Lock) and not lock.is_of(target, under(layer, target, texts)):
            stale[layer] = "stale"
    bodies = "".join(texts.values())
    notes = list(_NOTE.finditer(bodies))
    return State(
        stale={layer: stale[layer] for layer in found if layer in stale},
        requirements=sum(
            len(lock.entries if isinstance(lock, Lock) else parse(texts[layer]))
            for layer, lock in found.items()
        ),
        unhashed={found["requirement"]: found["reason"] for found in _UNHASHED.finditer(bodies)},
        lifted={note["package"]: note["what"] for note in notes if note["how"] == "lifted"},
        kept={note["package"]: note["what"] for note in notes if note["how"] == "kept"},
    )


def is_fresh(folder: Path, target: Target) -> bool:
    """Whether a folder holds all locks of a target as they were resolved from what it says now."""
    return not state(folder, target).stale


def write(folder: Path, locks: Sequence[Lock]) -> None:
    """Write locks into a target's folder, all or none."""
    atomic.write_all(files(folder, locks))


def files(folder: Path, locks: Iterable[Lock]) -> list[atomic.File]:
    """Locks as the files that they are in a target's folder."""
    return [
        atomic.File(path=folder / f"{lock.layer}.lock", content=lock.text().encode())
        for lock in locks
    ]


def entries(folder: Path, layer: str) -> dict[str, str]:
    """The requirements of a committed lock by name; none if there is no such lock."""
    return parse(_read(folder / f"{layer}.lock"))


def parse(text: str) -> dict[str, str]:
    """The requirements of a lock by normalised name: each its lines, hashes included.

    >>> list(parse("Foo.bar==1 --hash=sha256:00\\nbaz==2 --hash=sha256:11\\n"))
    ['foo-bar', 'baz']
    """
    entries: dict[str, str] = {}
    name = ""
    for line in text.splitlines(keepends=True):
        if line.startswith("#") or not line.strip():
            continue
        match = _REQUIREMENT.match(line)
        if match:
            name = normalise(match["name"])
            entries[name] = line
        elif name:
            entries[name] += line
    return entries


def pinned(entry: str) -> tuple[str, str]:
    """The normalised name and the version of a requirement; no version for a direct wheel.

    >>> pinned("Foo_bar[x]==1.2 ; python_version < '3.7' \\\\\\n    --hash=sha256:00\\n")
    ('foo-bar', '1.2')
    """
    [line] = [line for line in entry.splitlines() if _REQUIREMENT.match(line)]
    match, version = _REQUIREMENT.match(line), _VERSION.match(line)
    return normalise(match["name"]) if match else "", version["version"] if version else ""


def normalise(name: str) -> str:
    """A package's name as indexes compare them (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _read(path: Path) -> str:
    # As bytes, and each of them: a lock is compared to the byte, line ends included.
    return path.read_bytes().decode("utf-8", "surrogateescape") if path.is_file() else ""
