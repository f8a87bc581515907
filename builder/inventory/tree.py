"""The files of a layer, read from its tar in one pass, and what differs in two of them."""

from __future__ import annotations

import hashlib
import stat
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import IO

__all__ = ["Entry", "FileChange", "differences", "read"]

_BLOCK = 1 << 20
_KINDS = {
    tarfile.DIRTYPE: "folder",
    tarfile.SYMTYPE: "link",
    tarfile.CHRTYPE: "device",
    tarfile.BLKTYPE: "device",
    tarfile.FIFOTYPE: "pipe",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A file as a layer has it; `content` is a SHA-256, or where a link leads."""

    kind: str
    mode: str
    owner: str
    content: str = ""
    time: float = 0


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class FileChange:
    """A path whose entries are not the same: `what` is only here, only there, or what differs."""

    path: str
    what: str


def read(tar: tarfile.TarFile) -> dict[str, Entry]:
    """Every path with its entry; tarfile.TarError if the tar breaks off.

    A hard link counts as the file that it is: which of several names an engine writes first is not
    the image's own.
    """
    found: dict[str, Entry] = {}
    for member in tar:
        path = _path(member.name)
        if member.islnk():
            found[path] = found[_path(member.linkname)]
            continue
        content = member.linkname if member.issym() else ""
        if member.isreg() and (file := tar.extractfile(member)):
            content = _sha256(file)
        found[path] = Entry(
            kind=_KINDS.get(member.type, "file"),
            mode=stat.filemode(member.mode)[1:],
            owner=f"{member.uid}:{member.gid}",
            content=content,
            time=float(member.mtime),
        )
    return found


def differences(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> list[FileChange]:
    """What differs from one tree to another, by path."""
    changes = []
    for path in sorted({*before, *after}):
        one, other = before.get(path), after.get(path)
        if one is None or other is None:
            what = "only in the second" if one is None else "only in the first"
            changes.append(FileChange(path=path, what=what))
        elif one != other:
            names = [
                each.name
                for each in fields(Entry)
                if getattr(one, each.name) != getattr(other, each.name)
            ]
            changes.append(FileChange(path=path, what=", ".join(names)))
    return changes


def _path(name: str) -> str:
    return "/" + name.removeprefix("./").strip("/")


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()
