"""Programs that no package names by version: those inside wheels, and interpreters of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from builder.inventory.model import Package

__all__ = ["OVERLAP", "components", "interpreter", "is_program", "program"]

OVERLAP = 256  # bytes that a text in a program has at most

# What a program says before its version, in any case; the file is known by how its name begins.
_BEFORE_VERSION = {"ffmpeg": b"ffmpeg version "}
_VERSION = re.compile(rb"n?(\d[\w.~+-]*)", re.IGNORECASE)
_IN_A_WHEEL = re.compile(
    r".*/site-packages/.*/(?P<name>[a-z][a-z0-9_+]*)(?:-[a-z0-9_]+)*(?:-v(?P<version>\d[\w.]*))?"
)
_INTERPRETER = re.compile(
    r"(?P<home>.*/cpython-(?P<version>\d+\.\d+\.\d+(?:[a-z]+\d+)?)[^/]*)/bin/python\d\.\d+"
)


def is_program(path: str) -> bool:
    """Whether a file is a program that is looked into.

    >>> is_program("/x/site-packages/imageio_ffmpeg/binaries/ffmpeg-linux-x86_64-v7.0.2")
    True
    >>> is_program("/x/site-packages/imageio_ffmpeg/_io.py")
    False
    """
    found = _IN_A_WHEEL.fullmatch(path)
    return bool(found and found["name"] in _BEFORE_VERSION)


def program(path: str, blocks: Iterable[bytes]) -> list[Package]:
    """A program by what it says of itself, else by the name of its file."""
    found = _IN_A_WHEEL.fullmatch(path)
    if found is None or found["name"] not in _BEFORE_VERSION:
        return []
    own = _own_version(_BEFORE_VERSION[found["name"]], blocks)
    version = own or found["version"] or ""
    return [
        Package(
            kind="binary",
            name=found["name"],
            version=version,
            path=path,
            within=path.partition("/site-packages/")[2].partition("/")[0],
            evidence="its own text" if own else "file name",
        )
    ]


def interpreter(path: str) -> list[Package]:
    """A standalone build of CPython, by where uv puts it."""
    found = _INTERPRETER.fullmatch(path)
    if found is None:
        return []
    return [
        Package(
            kind="runtime",
            name="cpython",
            version=found["version"],
            path=found["home"],
            evidence="folder",
        )
    ]


def components(label: str) -> Iterator[Package]:
    """What an image says of the components that it was given: `efa=1.2 openmpi=4.1`."""
    for part in label.split():
        name, _, version = part.partition("=")
        if name and version:
            yield Package(kind="binary", name=name, version=version, evidence="label")


def _own_version(before: bytes, blocks: Iterable[bytes]) -> str:
    left = b""
    for block in blocks:
        window = left + block
        text = window.lower()  # a pattern for any case takes twenty times as long
        at = text.find(before)
        while at >= 0:
            found = _VERSION.match(window, at + len(before))
            # What touches the end may go on in the next block.
            if found and found.end() < len(window):
                return found[1].decode("ascii", "replace")
            at = text.find(before, at + 1)
        left = window[-OVERLAP:]
    return ""
