"""Advisories in the format of OSV (1.x): a file, or what a service answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.audit.advisory import (
    SEVERITIES,
    Advisory,
    Affected,
    Event,
    Range,
    as_texts,
    mapping,
)
from builder.errors import AdvisoryError

__all__ = ["advisory", "is_advisory"]

_EVENTS = ("introduced", "fixed", "last_affected", "limit")
_RANGES = ("ECOSYSTEM", "SEMVER", "GIT")
# Words of the databases that OSV gathers.
_WORDS = {"moderate": "medium", "important": "high", "negligible": "low", "none": "low"}


def is_advisory(value: Any) -> bool:
    """Whether a value is meant as an advisory of OSV."""
    return isinstance(value, dict) and "id" in value and "affected" in value


def advisory(value: Any, where: str) -> Advisory | None:
    """An advisory; None if it was withdrawn. AdvisoryError if it is not as the format says."""
    name = value.get("id") if isinstance(value, dict) else None
    try:
        if not isinstance(name, str) or not name:
            raise ValueError("has no `id`")
        found = mapping(value, "itself")
        if found.get("withdrawn"):
            return None
        affected = found.get("affected") or []
        if not isinstance(affected, list):
            raise ValueError("has no list as `affected`")
        return Advisory(
            id=name,
            where=where,
            aliases=as_texts(found.get("aliases")),
            summary=_summary(found),
            severity=_severity(found),
            affected=tuple(each for value in affected if (each := _affected(value))),
        )
    except (ValueError, TypeError) as error:
        raise AdvisoryError(
            f"{where}: advisory {name or '?'} {error}",
            remedy="get the advisories again; nothing was audited",
        ) from error


def _summary(value: Mapping[str, Any]) -> str:
    text = str(value.get("summary") or value.get("details") or "").strip()
    return text.splitlines()[0] if text else ""


def _affected(value: Any) -> Affected | None:
    found = mapping(value, "`affected`")
    if "package" not in found:  # only commits of a repository are named
        return None
    package = mapping(found["package"], "`package`")
    name, ecosystem = package.get("name"), package.get("ecosystem")
    if not isinstance(name, str) or not isinstance(ecosystem, str) or not name:
        raise ValueError("has a package without `name` or `ecosystem`")
    ranges = found.get("ranges") or []
    if not isinstance(ranges, list):
        raise ValueError("has no list as `ranges`")
    return Affected(
        ecosystem=ecosystem,
        name=name,
        versions=as_texts(found.get("versions")),
        ranges=tuple(each for value in ranges if (each := _range(value))),
    )


def _range(value: Any) -> Range | None:
    found = mapping(value, "a range")
    if found.get("type") not in _RANGES:
        raise ValueError(f"has a range of the unknown type {found.get('type')!r}")
    events = found.get("events")
    if not isinstance(events, list) or not events:
        raise ValueError("has a range without `events`")
    if found["type"] == "GIT":
        return None
    bounds = []
    for each in events:
        event = mapping(each, "an event")
        known = [(what, event[what]) for what in _EVENTS if what in event]
        if len(known) != 1 or not isinstance(known[0][1], str):
            raise ValueError(f"has an event that is none: {event}")
        bounds.append(Event(what=known[0][0], version=known[0][1]))
    kinds = [bound.what for bound in bounds]
    if "introduced" not in kinds:
        raise ValueError("has a range that begins nowhere: no event `introduced`")
    if "fixed" in kinds and "last_affected" in kinds:
        raise ValueError("has a range with both `fixed` and `last_affected`")
    return Range(events=tuple(bounds))


def _severity(value: Mapping[str, Any]) -> str:
    """The severity by its database's own word, else by the score of CVSS; the worst of several."""
    specific = value.get("database_specific")
    word = specific.get("severity") if isinstance(specific, dict) else None
    if isinstance(word, str):
        word = _WORDS.get(word.lower(), word.lower())
        if word in SEVERITIES:
            return word
    scored = value.get("severity") or []
    if not isinstance(scored, list):
        raise ValueError("has no list as `severity`")
    found = [_of_vector(str(mapping(each, "a severity").get("score") or "")) for each in scored]
    return max(filter(None, found), key=SEVERITIES.index, default="")


def _of_vector(vector: str) -> str:
    from cvss import CVSS2, CVSS3, CVSS4, CVSSError

    kinds = {"CVSS:3": CVSS3, "CVSS:4": CVSS4}
    try:
        rating = kinds.get(vector[:6], CVSS2)(vector).severities()[0].lower()
    except CVSSError:
        return ""  # Ubuntu has words there
    rating = _WORDS.get(rating, rating)
    return rating if rating in SEVERITIES else ""
