"""Which of two versions is the newer one, by the rules of their kind."""

from __future__ import annotations

from typing import Any

__all__ = ["order", "parsed"]


def order(kind: str, before: str, after: str) -> int | None:
    """-1 if `after` is newer, 1 if it is older, 0 if they are equal; None if nothing tells.

    >>> order("python", "1.9", "1.10"), order("system", "1:2~rc1", "1:2"), order("java", "", "1")
    (-1, -1, None)
    >>> order("system", "1.01", "1.1")
    0
    """
    one, other = parsed(kind, before), parsed(kind, after)
    if one is None or other is None:
        return 0 if before == after else None
    # Not by ==: univers has 01 and 1 as equal in order only.
    return -1 if one < other else 1 if other < one else 0


def parsed(kind: str, version: str) -> Any:
    """A version that can be compared with others of its kind; None if it is none."""
    if not version:
        return None
    try:
        if kind == "system":
            from univers.versions import DebianVersion

            return DebianVersion(version)
        if kind == "java":
            from univers.versions import MavenVersion

            return MavenVersion(version)
        from packaging.version import Version

        return Version(version)
    except ValueError:  # both libraries' own errors are
        return None
