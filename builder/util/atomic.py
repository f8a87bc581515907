"""Writes files whole or not at all: the one way in which files that others read are replaced."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from builder.errors import WriteError
from builder.util.text import system_words

__all__ = ["File", "write", "write_all"]


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """What a file is to hold; None if it is to go, with the `below` folders that it leaves empty.

    `mode` is the file's mode in the end; without it a file keeps its own, a new one gets the usual.
    """

    path: Path
    content: bytes | None
    mode: int | None = None
    below: int = 0


def write(
    path: Path, content: bytes | str, *, mode: int | None = None, folders: bool = False
) -> None:
    """Replace a file's content, or make the file; WriteError, and the old one stays, if it fails.

    A link stays one: what it leads to is replaced. `folders` are made if they are missing.
    """
    data = content.encode() if isinstance(content, str) else content
    with _named(path):
        if path.exists() and not path.is_file():
            # A pipe or a device, like /dev/stdout: nothing there to replace. Not for a folder.
            with path.open("wb") as file:
                file.write(data)
            return
    write_all([File(path=path, content=data, mode=mode)], folders=folders)


def write_all(files: Iterable[File], *, folders: bool = True) -> None:
    """Write or remove files, all or none; WriteError names the one that failed.

    All is on the disk before the first file is replaced, and they are replaced in the order given.
    """
    staged = [_Staged(file) for file in files]
    made: list[Path] = []
    try:
        for each in staged:
            with _named(each.file.path):
                if folders and each.file.content is not None:
                    _make(each.path.parent, made)
                # The only one needs no way back: nothing fails after it.
                each.prepare(keep=len(staged) > 1)
        for each in staged:
            with _named(each.file.path):
                each.replace()
    except BaseException:
        for each in reversed(staged):
            each.undo()
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()
        raise
    for each in staged:
        each.finish()


class _Staged:
    """A file that is to be replaced: its new content and its old one stand beside it until then."""

    def __init__(self, file: File) -> None:
        self.file = file
        # Of a link, what it leads to is written; but the link is what goes.
        path = os.path.realpath(file.path if file.content is not None else file.path.parent)
        self.path = Path(path) if file.content is not None else Path(path, file.path.name)
        # Names of their own, since others may write the same file at the same time.
        name = f".{self.path.name[:64]}.{secrets.token_hex(4)}"
        self._new = self.path.with_name(f"{name}.new")
        self._old = self.path.with_name(f"{name}.old")
        self._replaced = False

    def prepare(self, *, keep: bool) -> None:
        if self.file.content is None:
            return
        before = self.path.stat() if self.path.exists() else None
        mode = before.st_mode & 0o7777 if before and self.file.mode is None else self.file.mode
        # Its owner's alone until it has its mode: it may be a secret.
        with open(self._new, "xb", opener=_private if mode is not None else None) as file:
            file.write(self.file.content)
        if before and (before.st_uid, before.st_gid) != _owner(self._new):
            with suppress(PermissionError):  # only root may give a file to another user
                os.chown(self._new, before.st_uid, before.st_gid)
        if mode is not None:
            self._new.chmod(mode)
        if before and keep:
            try:
                self._old.hardlink_to(self.path)
            except OSError:  # a file system without hard links
                shutil.copy2(self.path, self._old)

    def replace(self) -> None:
        if self.file.content is None:
            self.path.replace(self._old)
        else:
            self._new.replace(self.path)
        self._replaced = True

    def undo(self) -> None:
        with suppress(OSError):
            self._new.unlink(missing_ok=True)
            if not self._replaced:
                self._old.unlink(missing_ok=True)
            elif self._old.exists():
                self._old.replace(self.path)
            else:
                self.path.unlink(missing_ok=True)

    def finish(self) -> None:
        with suppress(OSError):
            self._old.unlink(missing_ok=True)
            for folder in list(self.path.parents)[: self.file.below]:
                folder.rmdir()  # the first that is not empty ends it


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _owner(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid


def _make(folder: Path, made: list[Path]) -> None:
    """Make a folder and those above it; those that were missing are added to `made`."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        made.append(each)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of the system as the one error that names the file."""
    try:
        yield
    except OSError as error:
        raise WriteError(
            f"{path} cannot be written: {system_words(error) or error}",
            remedy="see the disk and who may write there, or name another place",
        ) from error
