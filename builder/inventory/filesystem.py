"""The packages in a root file system, read from its tar in one pass; nothing of it is run."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from builder.inventory import java_packages, programs, python_packages, system_packages
from builder.inventory.model import Package

__all__ = ["Contents", "scan"]

_SMALL = 4 << 20  # of texts; what is larger is none of them
_LARGEST = 256 << 20  # of an archive
_BLOCK = 1 << 20
_LOCK = re.compile(r"/opt/dlc/([a-z0-9-]+)\.lock")
_COPYRIGHT = re.compile(r"/usr/share/doc/([^/]+)/copyright")
_DOC = re.compile(r"/usr/share/doc/([^/]+)")
_STATUS = re.compile(r"/var/lib/dpkg/(?:status|status\.d/[^/]+)")
_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What a root file system has: packages, the distribution, and the locks of Python's layers."""

    packages: tuple[Package, ...]
    distribution: str
    release: str
    locks: dict[str, str]


@dataclass(slots=True)
class _Found:
    metadata: dict[str, bytes] = field(default_factory=dict)
    licenses: list[str] = field(default_factory=list)
    status: list[str] = field(default_factory=list)
    copyrights: dict[str, tuple[str, str]] = field(default_factory=dict)
    documented_by: dict[str, str] = field(default_factory=dict)
    releases: dict[str, str] = field(default_factory=dict)
    locks: dict[str, str] = field(default_factory=dict)
    packages: list[Package] = field(default_factory=list)


def scan(tar: tarfile.TarFile) -> Contents:
    """The contents of a tar that may be a stream; tarfile.TarError if it breaks off."""
    found = _Found()
    for member in tar:
        path = "/" + member.name.removeprefix("./").strip("/")
        if member.issym():
            _linked(found, path, member.linkname)
        elif member.islnk():
            _same(found, path, "/" + member.linkname.removeprefix("./").strip("/"))
        elif member.isreg() and (file := tar.extractfile(member)):
            _file(found, path, member, file)
    return _contents(found)


def _file(found: _Found, path: str, member: tarfile.TarInfo, file: IO[bytes]) -> None:
    if java_packages.is_archive(path):
        content = file.read() if member.size <= _LARGEST else b""
        found.packages += java_packages.archive(path, content)
    elif programs.is_program(path):
        found.packages += programs.program(path, _blocks(file))
    elif member.size > _SMALL:
        found.packages += programs.interpreter(path)
    elif python_packages.is_metadata(path):
        found.metadata[path] = file.read()
    elif python_packages.is_license(path):
        found.licenses.append(path)
    elif path.endswith("/release"):
        found.packages += java_packages.runtime(path, file.read())
    elif lock := _LOCK.fullmatch(path):
        found.locks[lock[1]] = _text(file)
    elif doc := _COPYRIGHT.fullmatch(path):
        found.copyrights[doc[1]] = (path, _text(file))
    elif path in _OS_RELEASE:
        found.releases[path] = _text(file)
    elif _STATUS.fullmatch(path):
        found.status.append(_text(file))
    else:
        found.packages += programs.interpreter(path)


def _linked(found: _Found, path: str, target: str) -> None:
    """A folder of documentation may be that of another package."""
    if doc := _DOC.fullmatch(path):
        found.documented_by[doc[1]] = target.rstrip("/").rpartition("/")[2]


def _same(found: _Found, path: str, first: str) -> None:
    """A second name of a file that came before."""
    if first in found.metadata and python_packages.is_metadata(path):
        found.metadata[path] = found.metadata[first]
    elif python_packages.is_license(path):
        found.licenses.append(path)
    elif doc := _COPYRIGHT.fullmatch(path):
        texts = (text for where, text in found.copyrights.values() if where == first)
        found.copyrights[doc[1]] = (path, next(texts, ""))


def _contents(found: _Found) -> Contents:
    for name, other in found.documented_by.items():
        if other in found.copyrights:
            found.copyrights.setdefault(name, found.copyrights[other])
    packages = list(found.packages)
    for path, content in found.metadata.items():
        if one := python_packages.distribution(path, content, found.licenses):
            packages.append(one)
    for status in found.status:
        packages += system_packages.installed(status, found.copyrights)
    text = next((found.releases[path] for path in _OS_RELEASE if path in found.releases), "")
    distribution, release = system_packages.os_release(text)
    return Contents(
        packages=tuple(sorted(set(packages))),
        distribution=distribution,
        release=release,
        locks=found.locks,
    )


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(_BLOCK):
        yield block


def _text(file: IO[bytes]) -> str:
    return file.read().decode("utf-8", "replace")
