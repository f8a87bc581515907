"""What source distributions need, read from their archives and never by running their code.

uv reads what a modern one says for certain (Metadata-Version 2.2 and later). Older ones carry what
setuptools noted of them, as an egg-info; that is read here. What has neither is to be built: see
builder.locks.sdist.build.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import IO, Any, cast

from builder.errors import LockError
from builder.matrix.requirements import normalise
from builder.util.scratch import scratch

__all__ = ["Archive", "Needs", "checked", "noted_needs", "opened"]

# What an archive may be unpacked, and one file of those that are read; in bytes.
_ARCHIVE_BYTES = 1 << 30
_FILE_BYTES = 1 << 20
_MEMBERS = 200_000
_COMPRESSED: Mapping[str, Callable[[Path], Any]] = {
    ".gz": gzip.GzipFile,
    ".tgz": gzip.GzipFile,
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
_BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError),
    *(ValueError, RuntimeError),  # numbers that are none, ciphers and methods that zipfile lacks
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """What a package needs: requirements with their markers, its extras, and its Pythons."""

    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    python: str = ""


class Archive:
    """The files of a source distribution below its one folder; no path of it is ever followed."""

    def __init__(self, files: Mapping[str, tuple[int, object]], archive: object) -> None:
        self._files, self._archive = files, archive

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def read(self, path: str) -> str:
        """The text of a file; KeyError if there is none, LockError if it is too large."""
        size, member = self._files[path]
        if size > _FILE_BYTES:
            raise _refused(path, f"is larger than {_FILE_BYTES >> 20} MiB")
        if isinstance(self._archive, zipfile.ZipFile):
            file: IO[bytes] = self._archive.open(cast("zipfile.ZipInfo", member))
        else:
            tar = cast("tarfile.TarFile", self._archive)
            file = cast("IO[bytes]", tar.extractfile(cast("tarfile.TarInfo", member)))
        with file:
            return file.read(_FILE_BYTES).decode("utf-8", "replace")


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """The files of a source distribution (.zip, or .tar with any compression).

    LockError if it is none, or larger than anything that is to be expected.
    """
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                members = [(m.filename, m.file_size, m) for m in archive.infolist()]
                yield Archive(_inside(path, members), archive)
        else:
            with tempfile.TemporaryFile() as plain:
                _decompress(path, plain)
                with tarfile.open(fileobj=plain, mode="r:") as tar:
                    kept = [(m.name, m.size, m) for m in tar if m.isreg()]
                    yield Archive(_inside(path, kept), tar)
    except _BROKEN as error:
        raise _refused(path.name, f"cannot be read: {error}") from error


def _decompress(path: Path, into: IO[bytes]) -> None:
    unpack = _COMPRESSED.get(path.suffix)
    if unpack is None:
        raise _refused(path.name, "is no kind of archive that is known")
    with unpack(path) as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            into.write(block)
            if into.tell() > _ARCHIVE_BYTES:
                raise _refused(path.name, f"is larger than {_ARCHIVE_BYTES >> 20} MiB unpacked")
    into.seek(0)


def _inside(
    path: Path, members: Sequence[tuple[str, int, object]]
) -> dict[str, tuple[int, object]]:
    if len(members) > _MEMBERS:
        raise _refused(path.name, f"has more than {_MEMBERS} files")
    inside = ((name.removeprefix("./").partition("/")[2], size, of) for name, size, of in members)
    return {name: (size, member) for name, size, member in inside if name}


def noted_needs(archive: Archive, package: str, version: str) -> Needs | None:
    """What setuptools noted of a package when its source distribution was made; None if nothing.

    LockError if a note is too large to be one.
    """
    folders = {
        path.rpartition("/")[0]
        for path in archive
        if path.endswith(".egg-info/PKG-INFO")
        and normalise(path.split("/")[-2].removesuffix(".egg-info")) == normalise(package)
    }
    if len(folders) != 1:
        return None
    [folder] = folders
    files = set(archive)
    # Without requirements no requires.txt is written, and then it is no source either.
    if f"{folder}/requires.txt" not in files and (
        f"{folder}/SOURCES.txt" not in files
        or f"{folder}/requires.txt" in archive.read(f"{folder}/SOURCES.txt").splitlines()
    ):
        return None
    with scratch("egg") as temporary:
        for name in ("PKG-INFO", "requires.txt"):
            if f"{folder}/{name}" in files:
                text = archive.read(f"{folder}/{name}")
                (temporary / name).write_text(text, "utf-8", newline="\n")
        return checked(temporary, package, version)


def checked(folder: Path, package: str, version: str) -> Needs | None:
    """What an egg-info or dist-info says; None if it is of another package or not to be read."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion, Version

    distribution = PathDistribution(folder)

    def field(name: str) -> str:
        return "".join(map(str, distribution.metadata.get_all(name) or ()))

    try:
        if normalise(field("Name")) != normalise(package):
            return None
        if version and Version(field("Version")) != Version(version):
            return None
        return Needs(
            requires=tuple(str(Requirement(text)) for text in distribution.requires or ()),
            extras=tuple(map(normalise, distribution.metadata.get_all("Provides-Extra") or ())),
            python=str(SpecifierSet(field("Requires-Python"))),
        )
    except (InvalidRequirement, InvalidSpecifier, InvalidVersion):
        return None


def _refused(what: str, why: str) -> LockError:
    return LockError(f"{what} {why}", remedy="require a version that has a wheel")
