"""A lock as text: every requirement of a layer with its SHA-256, as pip and uv read it.

Each lock carries the digest of what it was resolved from (see `freshness`), so a stale one is told
from a fresh one without the network.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import WriteError
from builder.matrix.requirements import normalise
from builder.util import atomic
from builder.util.links import leads_out

__all__ = [
    "CRLF",
    "Lock",
    "content",
    "entries",
    "files",
    "load",
    "notes",
    "parse",
    "pinned",
    "read",
    "texts",
    "unhashed",
    "write",
]

# What a lock is that a checkout gave the line ends of another system.
CRLF = "has lines that end with CRLF"

_TITLES = {
    "build": "What source distributions are built with",
    "framework": "The framework layer",
    "libraries": "The libraries layer",
    "tools": "The tools of the build",
}
_REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[.*?\])?\s*(?:==|@)")
_VERSION = re.compile(r"^[A-Za-z0-9._-]+(?:\[.*?\])?==(?P<version>[^\s;\\]+)")
_HEAD = re.compile(
    r"# [^\n]*?(?: for Python (?P<python>\S+))? as of (?P<date>[^\n]+), by `dlc lock`\.\n"
    r"# inputs: sha256:(?P<inputs>[0-9a-f]{64})\n"
    r"# requirements: sha256:[0-9a-f]{64}\n"
)
_NO_HASH = "# No SHA-256: "
_UNHASHED = re.compile(rf"^{_NO_HASH}(?P<reason>.*)\n(?P<requirement>\S+)", re.MULTILINE)
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
        body = _joined(self.notes, self.entries)
        return self.head(_sha256(body)) + body

    def head(self, digest: str) -> str:
        """Its first lines, with the digest of the others."""
        python = f" for Python {self.python}" if self.python else ""
        title = _TITLES.get(self.layer, f"The component {self.layer}")
        return (
            f"# {title}{python} as of {self.date}, by `dlc lock`.\n"
            f"# inputs: sha256:{self.inputs}\n"
            f"# requirements: sha256:{digest}\n"
        )

    @property
    def is_complete(self) -> bool:
        """Whether each of its requirements has a hash."""
        return all("--hash=" in entry for entry in self.entries.values())

    def pins(self) -> list[str]:
        """`name==version` of every requirement that is not a direct wheel."""
        found = (pinned(entry) for entry in self.entries.values())
        return [f"{name}=={version}" for name, version in found if version]


@functools.lru_cache(maxsize=1024)  # Targets share locks to the byte.
def read(layer: str, text: str) -> Lock | str:
    """A lock, or in a word why a text is none: missing, not a lock, edited, or its line ends.

    It is one if there is no byte in it that the lock does not account for.
    """
    found = _HEAD.match(text)
    if found is None:
        # Whoever reads that it is no lock would resolve it again.
        if "\r\n" in text and isinstance(read(layer, text.replace("\r\n", "\n")), Lock):
            return CRLF
        return "not a lock" if text else "missing"
    entries, notes, digest = _body(text[found.end() :])
    lock = Lock(
        layer=layer,
        python=found["python"] or "",
        date=found["date"],
        inputs=found["inputs"],
        entries=entries,
        notes=notes,
    )
    return lock if digest and lock.head(digest) == found[0] else "edited"


@functools.lru_cache(maxsize=256)  # Locks of many dates have the same requirements.
def _body(text: str) -> tuple[Mapping[str, str], tuple[str, ...], str]:
    """The requirements and the notes in what follows a lock's first lines, and its digest.

    None of the latter if there is a byte that these do not account for.
    """
    notes = tuple(note[0].removeprefix("# ") for note in _notes(text))
    whys = unhashed([text])
    entries = parse(text)
    for name, entry in entries.items():
        if (requirement := entry.split(maxsplit=1)[0]) in whys:
            entries[name] = f"{_NO_HASH}{whys[requirement]}\n{entry}"
    return entries, notes, _sha256(text) if _joined(notes, entries) == text else ""


def _joined(notes: Iterable[str], entries: Mapping[str, str]) -> str:
    return "".join((*(f"# {note}\n" for note in notes), *entries.values()))


def load(folder: Path, layer: str) -> Lock | str:
    """The lock of a layer in a target's folder, or in a word why there is none: see `read`."""
    return read(layer, _read(folder, layer))


def write(folder: Path, locks: Sequence[Lock]) -> None:
    """Write locks into a target's folder, all or none."""
    atomic.write_all(files(folder, locks))


def files(folder: Path, locks: Iterable[Lock]) -> list[atomic.File]:
    """Locks as the files that they are in a target's folder; WriteError if it lies elsewhere."""
    locks = list(locks)
    for lock in locks:
        if leads_out(path := folder / f"{lock.layer}.lock", folder.parents[1]):
            raise WriteError(
                f"{path} is a link, or in a folder that is one, and leads elsewhere",
                remedy="remove the link",
            )
    return [
        atomic.File(path=folder / f"{lock.layer}.lock", content=lock.text().encode())
        for lock in locks
    ]


def texts(folder: Path, layers: Iterable[str]) -> dict[str, str]:
    """The committed locks of layers; an empty text for one that is missing."""
    return {layer: _read(folder, layer) for layer in layers}


def content(text: str) -> bytes:
    """The bytes of a lock that was read as text."""
    return text.encode("utf-8", "surrogateescape")


def unhashed(texts: Iterable[str]) -> dict[str, str]:
    """Why, for each requirement of locks that has no SHA-256."""
    found = (each for text in texts if _NO_HASH in text for each in _UNHASHED.finditer(text))
    return {each["requirement"]: each["reason"] for each in found}


def notes(texts: Iterable[str], how: str) -> dict[str, str]:
    """What locks note of packages that were `lifted` or `kept`."""
    found = (each for text in texts for each in _notes(text))
    return {each["package"]: each["what"] for each in found if each["how"] == how}


def entries(folder: Path, layer: str) -> dict[str, str]:
    """The requirements of a committed lock by name; none if there is no such lock."""
    return parse(_read(folder, layer))


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


def _notes(text: str) -> Iterable[re.Match[str]]:
    """The notes in a lock; most have none, which is quicker to see without a pattern."""
    return _NOTE.finditer(text) if "# lifted: " in text or "# kept: " in text else ()


def _sha256(text: str) -> str:
    return hashlib.sha256(content(text)).hexdigest()


def _read(folder: Path, layer: str) -> str:
    # As bytes, and each of them: a lock is compared to the byte, line ends included.
    try:
        with open(f"{folder}/{layer}.lock", "rb", buffering=0) as file:  # noqa: PTH123 - quicker
            return file.read().decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""
