"""What a source distribution needs, for uv, which is not to run it: found, downloaded and read."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from builder.errors import LockError, UnansweredError, UnreachableError
from builder.locks.sdist.build import built_needs
from builder.locks.sdist.source import Needs, noted_needs, opened
from builder.locks.uv.environment import index_logins
from builder.locks.uv.process import Uv
from builder.util.text import system_words

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Source", "needs_of"]

# No source distribution that is only there as such comes near; in bytes.
_MOST = 1 << 29
# What was read, by SHA-256: rows share many of them.
_READ: dict[str, Needs] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A source distribution as uv names it: a version of the index's, or the `url` of a file."""

    package: str
    version: str = ""
    url: str = ""

    @staticmethod
    def parse(text: str) -> Source:
        """Read uv's name of it.

        >>> Source.parse("termcolor==1.1.0")
        Source(package='termcolor', version='1.1.0', url='')
        >>> Source.parse("a @ https://example.com/a-1.tar.gz").url
        'https://example.com/a-1.tar.gz'
        """
        package, at, url = text.partition(" @ ")
        if at:
            return Source(package=package, url=url)
        package, _, version = text.partition("==")
        return Source(package=package, version=version)

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"{self.package} @ {self.url}" if self.url else f"{self.package}=={self.version}"

    def entry(self, needs: Needs) -> str:
        """What uv.toml says of it (https://docs.astral.sh/uv/reference/settings/)."""
        table: dict[str, object] = {"name": self.package}
        if self.version:
            table["version"] = self.version
        table["requires-dist"] = list(needs.requires)
        if needs.python:
            table["requires-python"] = needs.python
        if needs.extras:
            table["provides-extra"] = list(needs.extras)
        # Texts and lists of texts are TOML's as they are JSON's.
        lines = (f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items())
        return "\n".join(("[[dependency-metadata]]", *lines))


def needs_of(source: Source, uv: Uv, choice: Sequence[str], date: str) -> Needs:
    """What a source distribution needs; LockError if that cannot be known.

    `choice` are the options that uv chose its file by, and `date` is their day.
    """
    address, sha256 = (source.url, "") if source.url else _find(source, uv, choice)
    if sha256 in _READ:
        return _READ[sha256]
    path = _fetched(source, address, sha256, uv)
    try:
        with opened(path) as archive:
            needs = noted_needs(archive, source.package, source.version)
        if needs is None:
            needs = built_needs(source.package, source.version, path, uv, date)
    except LockError as error:
        raise UnansweredError(
            f"{source.label} is only there as source, and what it needs is not known: "
            f"{error.message}",
            remedy=error.remedy,
        ) from error
    finally:
        path.unlink()
    return _READ.setdefault(sha256, needs) if sha256 else needs


def _find(source: Source, uv: Uv, choice: Sequence[str]) -> tuple[str, str]:
    """The address of an index's source distribution, and its SHA-256 where the index says it."""
    result = uv.run(
        "compile",
        *("--format", "pylock.toml", "--no-deps", "--no-header"),
        *("--no-binary", source.package, *choice),
        uv.file("source", [source.label]),
        configuration=[source.entry(Needs())],
    )
    try:
        [package] = tomllib.loads(result.stdout)["packages"]
        sdist: Mapping[str, Any] = package["sdist"]
        address = str(sdist["url"]) if "url" in sdist else Path(sdist["path"]).resolve().as_uri()
        return address, str(sdist.get("hashes", {}).get("sha256", ""))
    except (KeyError, ValueError) as error:
        raise UnansweredError(
            f"the source distribution of {source.label} cannot be found:\n{result.stderr}",
            remedy="require a version that has a wheel",
        ) from error


def _fetched(source: Source, address: str, sha256: str, uv: Uv) -> Path:
    """The file, checked by its hash; UnreachableError if it cannot be had."""
    from builder.util.http import Session, download

    parts = urlsplit(address)
    path = uv.folder / unquote(parts.path).rpartition("/")[2]
    try:
        if parts.scheme == "file":
            path.write_bytes(Path(unquote(parts.path)).read_bytes())
        elif uv.environment.get("UV_OFFLINE", "0") not in {"", "0", "false"}:
            raise OSError("the network was disabled by UV_OFFLINE")
        else:
            with Session(
                credentials=uv.mirrors.credentials, logins=index_logins(uv.environment), retries=3
            ) as session:
                download(session, address, path, most=_MOST)
    except OSError as error:
        raise UnreachableError(
            f"the source distribution of {source.label} cannot be downloaded from "
            f"{parts.hostname or address}: {system_words(error) or error}",
            remedy="connect to that host, or require a version that has a wheel",
        ) from error
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 and found != sha256:
        raise UnansweredError(
            f"{address} has SHA-256 {found}, but its index says {sha256}",
            remedy="see the index, or require a version that has a wheel",
        )
    return path
