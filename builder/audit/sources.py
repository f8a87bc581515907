"""Where advisories come from: files, folders, archives, and services that speak OSV's API.

Whatever cannot be read, or is not as its format says, is an AdvisoryError: a database that is cut
off must not look like one without advisories.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from builder.audit import osv, osv_api, safety
from builder.audit.advisory import Advisory, Database
from builder.errors import AdvisoryError
from builder.inventory.model import Package
from builder.util.text import system_words

__all__ = ["load"]

_AGAIN = "get it again; nothing was audited"


def load(sources: Iterable[str], packages: Iterable[tuple[Package, str]]) -> Database:
    """The advisories of all sources; services are asked only about `packages`.

    Those come with their distributions, like debian 12.
    """
    database = Database()
    asked = tuple(packages)
    for source in sources:
        if source.startswith(("http://", "https://")):
            osv_api.ask(source, asked, database)
        else:
            before = database.count
            database.add(_read(Path(source)))
            if database.count == before:
                raise AdvisoryError(
                    f"{source} has no advisories",
                    remedy="name a file or folder of OSV's format, or of safety-db",
                )
    return database


def _read(path: Path) -> Iterator[Advisory]:
    try:
        if path.is_dir():
            full = sorted(path.rglob(safety.FULL))
            files = full or sorted(path.rglob("*.json"))
            for each in files:
                yield from _document(_json(each.read_bytes(), str(each)), str(each))
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist()):
                    if name.endswith(".json"):
                        where = f"{path}:{name}"
                        yield from _document(_json(archive.read(name), where), where)
        elif path.suffix == ".zip":
            raise AdvisoryError(f"{path} is damaged: it is no zip archive", remedy=_AGAIN)
        else:
            yield from _document(_json(path.read_bytes(), str(path)), str(path))
    except zipfile.BadZipFile as error:
        raise AdvisoryError(f"{path} is damaged: {error}", remedy=_AGAIN) from error
    except OSError as error:
        raise AdvisoryError(
            f"{path} cannot be read: {system_words(error) or error}",
            remedy="name a file or folder of advisories",
        ) from error


def _json(content: bytes, where: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise AdvisoryError(f"{where} is damaged: {error}", remedy=_AGAIN) from error


def _document(value: Any, where: str) -> Iterator[Advisory]:
    """The advisories of a document in any of the formats."""
    if safety.is_database(value):
        yield from safety.advisories(value, where)
        return
    if isinstance(value, dict) and isinstance(value.get("vulns"), list):
        value = value["vulns"]
    for each in value if isinstance(value, list) else [value]:
        if not osv.is_advisory(each):
            raise AdvisoryError(
                f"{where} is neither of OSV's format nor of safety-db",
                remedy="name files of one of them",
            )
        if found := osv.advisory(each, where):
            yield found
