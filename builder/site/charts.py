"""Charts of sizes by day, as numbers that a template draws."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Chart", "Dot", "Series", "chart"]

# In pixels of the picture's own.
WIDTH, HEIGHT = 960, 360
LEFT, TOP, BOTTOM = 64, 16, 34
COLOURS = 8
STEPS = (10**6, 2 * 10**6, 5 * 10**6)
TICKS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """A line of points: day, bytes, and what each is."""

    name: str
    points: tuple[tuple[str, int, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dot:
    """A point where it is drawn."""

    x: float
    y: float
    date: str
    size: int
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """Lines of dots with their colours, and the marks of both axes."""

    width: int
    height: int
    lines: tuple[tuple[str, int, tuple[Dot, ...]], ...]
    years: tuple[tuple[float, str], ...]
    sizes: tuple[tuple[float, int], ...]


def chart(series: Sequence[Series]) -> Chart | None:
    """Where everything lies; None without any point. The axis of sizes begins at nothing."""
    points = [point for one in series for point in one.points]
    if not points:
        return None
    days = [_day(date) for date, _, _ in points]
    first, last = min(days), max(*days, min(days) + 1)
    step = _step(max(size for _, size, _ in points))
    top = max(size for _, size, _ in points) // step + 1

    def x(day: int) -> float:
        return LEFT + (day - first) * (WIDTH - LEFT - 20) / (last - first)

    def y(size: int) -> float:
        return HEIGHT - BOTTOM - size * (HEIGHT - TOP - BOTTOM) / (top * step)

    years = range(datetime.date.fromordinal(first).year, datetime.date.fromordinal(last).year + 1)
    starts = ((datetime.date(year, 1, 1).toordinal(), str(year)) for year in years)
    return Chart(
        width=WIDTH,
        height=HEIGHT,
        lines=tuple(
            (
                one.name,
                number % COLOURS,
                tuple(
                    Dot(x=x(_day(date)), y=y(size), date=date, size=size, label=label)
                    for date, size, label in one.points
                ),
            )
            for number, one in enumerate(series)
        ),
        years=tuple((x(day), name) for day, name in starts if first <= day <= last),
        sizes=tuple((y(number * step), number * step) for number in range(top + 1)),
    )


def _day(date: str) -> int:
    return datetime.date.fromisoformat(date).toordinal()


def _step(largest: int) -> int:
    """The distance of marks, so that there are at most a few of them.

    >>> _step(9_000_000_000), _step(300)
    (2000000000, 1000000)
    """
    factor = 1
    while True:
        for step in STEPS:
            if largest // (step * factor) < TICKS:
                return step * factor
        factor *= 10
