"""Advisories in the format of safety-db: specifiers of vulnerable versions by name of package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from builder.audit.advisory import Advisory, Affected, as_texts, mapping
from builder.errors import AdvisoryError

__all__ = ["FULL", "advisories", "is_database"]

# The file with identifiers; the other one of the package has specifiers alone.
FULL, SHORT = "insecure_full.json", "insecure.json"


def is_database(value: Any) -> bool:
    """Whether a value is meant as such a database."""
    return isinstance(value, dict) and "$meta" in value


def advisories(value: Any, where: str) -> Iterator[Advisory]:
    """The advisories of a database; AdvisoryError if it is not as the format says."""
    for name, entries in value.items():
        if name == "$meta":
            continue
        try:
            if not isinstance(entries, list):
                raise ValueError("has no list")
            if entries and all(isinstance(each, str) for each in entries):
                raise ValueError(f"has no identifiers; {FULL} has them")
            for each in entries:
                yield _advisory(name, mapping(each, "an entry"), where)
        except (ValueError, TypeError) as error:
            raise AdvisoryError(
                f"{where}: {name} {error}",
                remedy="get the database again; nothing was audited",
            ) from error


def _advisory(name: str, entry: Any, where: str) -> Advisory:
    identifier = entry.get("id")
    if not isinstance(identifier, str) or not identifier:
        raise ValueError("has an advisory without `id`")
    specifiers = as_texts(entry.get("specs"))
    if not specifiers:
        raise ValueError(f"has no `specs` in {identifier}")
    # Some have several of them in one text.
    cve = str(entry.get("cve") or "")
    return Advisory(
        id=identifier,
        where=where,
        aliases=tuple(part.strip() for part in cve.split(",") if part.strip()),
        summary=" ".join(str(entry.get("advisory") or "").split()),
        affected=(Affected(ecosystem="PyPI", name=name, specifiers=specifiers),),
    )
