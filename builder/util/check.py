"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Check"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was checked; `detail` says what was found."""

    name: str
    passed: bool
    detail: str
