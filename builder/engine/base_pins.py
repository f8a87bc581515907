"""Pins of bases: their digests, and whether a base's days are over."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass

from builder.matrix.format import Base
from builder.matrix.target import Target

__all__ = ["Expired", "expired", "is_over", "pinned_digest"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Expired:
    """A base whose end of life is over, and the targets that start from it."""

    base: Base
    targets: tuple[Target, ...]

    def __str__(self) -> str:
        return f"{self.base.name} reached its end of life on {self.base.end_of_life}"


def is_over(base: Base, today: datetime.date) -> bool:
    """Whether a base's end of life is over; on the day itself it is not yet."""
    return base.end_of_life < today


def expired(targets: Iterable[Target], today: datetime.date) -> list[Expired]:
    """The bases of targets that are over, each once.

    That of the tools is in no image, and does not count.
    """
    found: dict[str, list[Target]] = {}
    for target in targets:
        if is_over(target.base, today):
            found.setdefault(target.base.name, []).append(target)
    return [Expired(base=each[0].base, targets=tuple(each)) for each in found.values()]


def pinned_digest(base: Base) -> str:
    """The digest that the matrix pins a base to."""
    return base.image.partition("@")[2]
