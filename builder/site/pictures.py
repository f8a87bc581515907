"""Pictures as numbers, which templates draw: where the parts of a treemap lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Box", "treemap"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A rectangle of a treemap, in pixels; `index` is the place of its part in what was given."""

    index: int
    x: float
    y: float
    width: float
    height: float


def treemap(sizes: Sequence[int], width: float, height: float) -> list[Box]:
    """Rectangles with areas in proportion to sizes, near to squares, the largest first.

    What has no size has no rectangle. The way of Bruls, Huizing and van Wijk, "Squarified
    Treemaps" (2000).

    >>> [(box.index, box.width, box.height) for box in treemap([1, 0, 3], 40, 10)]
    [(2, 30.0, 10.0), (0, 10.0, 10.0)]
    """
    parts = sorted(((size, index) for index, size in enumerate(sizes) if size > 0), reverse=True)
    total = sum(size for size, _ in parts)
    scale = width * height / total if total else 0
    areas = [(size * scale, index) for size, index in parts]
    return list(_rows(areas, 0.0, 0.0, width, height))


def _rows(
    areas: Sequence[tuple[float, int]], x: float, y: float, width: float, height: float
) -> Iterator[Box]:
    """One row after the other along the shorter side, each as long as its shapes get better."""
    rest = list(areas)
    while rest:
        short = min(width, height)
        count = 1
        while count < len(rest) and _worst(rest[: count + 1], short) <= _worst(rest[:count], short):
            count += 1
        row, rest = rest[:count], rest[count:]
        area = sum(each for each, _ in row)
        thick = area / short if short else 0.0
        at = 0.0
        for each, index in row:
            long = each / thick if thick else 0.0
            if width >= height:
                yield Box(index=index, x=x, y=y + at, width=thick, height=long)
            else:
                yield Box(index=index, x=x + at, y=y, width=long, height=thick)
            at += long
        if width >= height:
            x, width = x + thick, max(0.0, width - thick)
        else:
            y, height = y + thick, max(0.0, height - thick)


def _worst(row: Sequence[tuple[float, int]], short: float) -> float:
    """How far from a square the worst rectangle of a row is: 1 for squares."""
    area = sum(each for each, _ in row)
    if not (area and short):
        return float("inf")
    side = (area / short) ** 2
    return max(max(each / side, side / each) for each, _ in row)
