"""A service that speaks OSV's API: which advisories are for which packages, and what they say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

from builder.audit import osv
from builder.audit.advisory import Database
from builder.audit.names import project
from builder.errors import AdvisoryError
from builder.inventory.model import Package
from builder.util.http import Session
from builder.util.text import system_words

__all__ = ["ask"]

_AT_ONCE = 1000  # queries, which is the API's own limit
_PAGES = 100
_RETRIES = 3
_ECOSYSTEMS = {"python": "PyPI", "java": "Maven"}

Key = tuple[str, str, str]  # ecosystem, name, version


def ask(url: str, packages: Iterable[tuple[Package, str]], database: Database) -> None:
    """Add what a service knows about packages; AdvisoryError if it does not answer each query."""
    base = url.rstrip("/")
    wanted: dict[Key, set[Key]] = {}
    for package, distribution in packages:
        if query := _query(package, distribution):
            mine = (package.kind, project(package.kind, query[1]), package.version)
            wanted.setdefault(query, set()).add(mine)
    session = Session(retries=_RETRIES)
    identifiers: set[str] = set()
    keys = sorted(wanted)
    for start in range(0, len(keys), _AT_ONCE):
        for key, found in _batch(session, base, keys[start : start + _AT_ONCE]):
            identifiers |= found
            for each in wanted[key]:
                database.affected.setdefault(each, set()).update(name.lower() for name in found)
    for name in sorted(identifiers):
        where = f"{base}/v1/vulns/{quote(name, safe='')}"
        value = _answer(session, "GET", where)
        if not isinstance(value, dict) or value.get("id") != name:
            raise _wrong(where, f"it is not about {name}")
        if advisory := osv.advisory(value, where):
            database.add([advisory])


def _query(package: Package, distribution: str) -> Key | None:
    """What a package is called there; None for what it knows nothing of."""
    if not package.version:
        return None
    if package.kind == "system":
        name, _, release = distribution.partition(" ")
        if name not in ("debian", "ubuntu"):
            return None
        long = ":LTS" if name == "ubuntu" else ""  # all of our bases are
        return f"{name.title()}:{release}{long}", package.source, package.source_version
    if package.kind not in _ECOSYSTEMS:
        return None
    version = package.version.partition("+")[0] if package.kind == "python" else package.version
    return _ECOSYSTEMS[package.kind], project(package.kind, package.name), version


def _batch(session: Session, base: str, keys: Sequence[Key]) -> Iterator[tuple[Key, set[str]]]:
    found: dict[Key, set[str]] = {key: set() for key in keys}
    waiting = [(key, "") for key in keys]
    where = f"{base}/v1/querybatch"
    for _ in range(_PAGES):
        queries = [
            {
                "package": {"ecosystem": ecosystem, "name": name},
                "version": version,
                **({"page_token": token} if token else {}),
            }
            for (ecosystem, name, version), token in waiting
        ]
        value = _answer(session, "POST", where, {"queries": queries})
        results = value.get("results") if isinstance(value, dict) else None
        if not isinstance(results, list) or len(results) != len(queries):
            raise _wrong(where, f"it has no answer for each of {len(queries)} queries")
        following = []
        for (key, _), result in zip(waiting, results, strict=True):
            names, token = _page(result, where)
            found[key] |= names
            if token:
                following.append((key, token))
        if not following:
            yield from found.items()
            return
        waiting = following
    raise _wrong(where, "its pages have no end")


def _page(result: Any, where: str) -> tuple[set[str], str]:
    if not isinstance(result, dict) or not isinstance(result.get("vulns", []), list):
        raise _wrong(where, "a result is no object with `vulns`")
    names = set()
    for each in result.get("vulns", []):
        name = each.get("id") if isinstance(each, dict) else None
        if not isinstance(name, str) or not name:
            raise _wrong(where, "an advisory has no `id`")
        names.add(name)
    token = result.get("next_page_token") or ""
    if not isinstance(token, str):
        raise _wrong(where, "`next_page_token` is not a text")
    return names, token


def _answer(session: Session, method: str, url: str, body: Any = None) -> Any:
    import requests

    try:
        answer = session.request(method, url, json=body)
    except (requests.RequestException, OSError) as error:
        raise AdvisoryError(
            f"{url} does not answer: {system_words(error) or error}",
            remedy="try again, or name a file of advisories: --advisories FILE",
        ) from error
    if answer.status_code != 200:
        raise AdvisoryError(
            f"{url} answers {answer.status_code} {answer.reason}",
            remedy="try again, or name a file of advisories: --advisories FILE",
        )
    try:
        return answer.json()
    except ValueError as error:
        raise _wrong(url, "it is not JSON") from error


def _wrong(url: str, what: str) -> AdvisoryError:
    return AdvisoryError(
        f"what {url} answers is not OSV's API: {what}",
        remedy="see whether the address is right; nothing was audited",
    )
