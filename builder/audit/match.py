"""Whether a version is vulnerable, and in which it no longer is."""

from __future__ import annotations

from functools import cache
from typing import Any

from builder.audit.advisory import Advisory, Affected, Event, Range
from builder.inventory.versions import parsed

__all__ = ["Match", "match"]


class Match:
    """That a version is vulnerable; `fixed` is the version that no longer is, or empty."""

    __slots__ = ("fixed",)

    def __init__(self, fixed: str) -> None:
        self.fixed = fixed


def match(kind: str, version: str, advisory: Advisory, affected: Affected) -> Match | None:
    """Whether an advisory is for a version; AdvisoryError if its ranges are nonsense."""
    mine = _comparable(kind, version)
    if mine is None:
        return Match("") if version in affected.versions else None
    fixes = []
    hit = any(_is_same(_comparable(kind, each), mine) for each in affected.versions)
    for each in affected.ranges:
        inside, fixed = _in_range(kind, mine, each, advisory)
        hit = hit or inside
        if inside:
            fixes.append(fixed)
    for text in affected.specifiers:
        inside, fixed = _fits(mine, text, advisory)
        hit = hit or inside
        if inside:
            fixes.append(fixed)
    if not hit:
        return None
    if not fixes:  # it is named, and in no range: the next version that is fixed counts
        bounds = (e.version for r in affected.ranges for e in r.events if e.what == "fixed")
        later = [each for each in bounds if _after(kind, each, mine)]
        fixes = sorted(later, key=lambda each: _comparable(kind, each))[:1]
    return Match(_newest(kind, fixes) if fixes and all(fixes) else "")


def _in_range(kind: str, mine: Any, found: Range, advisory: Advisory) -> tuple[bool, str]:
    """Whether a version is in a range, and the fix that ends the part that it is in."""
    bounds: list[tuple[Any, Event]] = []
    for event in found.events:
        if event.version == "0" and event.what == "introduced":
            bounds.append((None, event))
            continue
        version = _comparable(kind, event.version)
        if version is None:
            raise advisory.nonsense(
                f"has the bound {event.what} {event.version!r}, which is no version"
            )
        bounds.append((version, event))
    begun = [each for each in bounds if each[0] is None]
    rest = sorted((each for each in bounds if each[0] is not None), key=lambda each: each[0])
    state, since = False, ""
    inside, fix = False, ""
    for version, event in [*begun, *rest]:
        if event.what == "introduced":
            if state:
                raise advisory.nonsense(
                    f"has a range that begins at {since or '0'} and again at {event.version}"
                )
            state, since = True, event.version
            if version is None or not mine < version:
                inside, fix = True, ""
        elif event.what in ("fixed", "last_affected"):
            if not state:
                raise advisory.nonsense(f"has a range that ends at {event.version} unbegun")
            state = False
            # Not by <=, which univers has of the same text alone.
            ended = not mine < version if event.what == "fixed" else version < mine
            if ended:
                inside = False
            elif inside and not fix:
                return True, event.version if event.what == "fixed" else ""
    return inside, fix


def _fits(mine: Any, text: str, advisory: Advisory) -> tuple[bool, str]:
    """Whether a version fits a specifier, and the version that it ends with, if that is one."""
    specifier = _specifier(text)
    if specifier is None:
        raise advisory.nonsense(f"has the versions {text!r}, which are no specifier")
    if not specifier.contains(mine, prereleases=True):
        return False, ""
    ends = [each.version for each in specifier if each.operator == "<"]
    return True, min(ends, key=lambda each: parsed("python", each)) if ends else ""


@cache
def _specifier(text: str) -> Any:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        return None


@cache
def _comparable(kind: str, version: str) -> Any:
    """A version without what somebody's own build adds: 2.0+cpu is as vulnerable as 2.0."""
    found = parsed(kind, version)
    return parsed(kind, found.public) if found is not None and kind == "python" else found


def _is_same(version: Any, mine: Any) -> bool:
    # Not by ==: univers has 01 and 1 as equal in order only.
    return version is not None and not (version < mine or mine < version)


def _after(kind: str, version: str, mine: Any) -> bool:
    found = _comparable(kind, version)
    return found is not None and found > mine


def _newest(kind: str, versions: list[str]) -> str:
    return max(versions, key=lambda each: _comparable(kind, each))
