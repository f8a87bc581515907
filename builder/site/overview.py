"""Pages about all images at once: tables, matrix, layers, sizes, tasks and proof."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from builder.engine.layers import ImageLayers, sharing
from builder.report.layers_svg import draw, summary
from builder.site.charts import Chart, Series, chart
from builder.site.published import sizes as published_sizes
from builder.site.records import STATES, Catalog, Image

__all__ = ["PAGES", "layers", "matrix", "proof", "sizes", "tables", "tasks"]

SHARED = 40  # of layers in the table
_DEVICES = {"cpu": "C", "gpu": "G", "neuron": "N", "neuronx": "N"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """The images of a framework: by Transformers version, then by its own."""

    framework: str
    versions: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Sequence[tuple[str, Image]]]]]


def tables(catalog: Catalog) -> dict[str, Any]:
    """The tables of the reference page, row for row, and what came after them."""
    named = {each.name: each for each in catalog.images}
    return {
        "tables": [
            (each.heading, each.titles, [(cells, named[name]) for cells, name in each.rows])
            for each in catalog.tables
        ]
    }


def matrix(catalog: Catalog) -> dict[str, Any]:
    """Which Transformers there is with which framework, and how far each image is proven."""
    frameworks = dict.fromkeys(each.framework for each in catalog.images)
    counts = [(name, sum(each.state == name for each in catalog.images)) for name in STATES]
    return {
        "grids": [_grid(catalog, framework) for framework in sorted(frameworks)],
        "counts": [(name, count) for name, count in counts if count],
    }


def layers(catalog: Catalog) -> dict[str, Any]:
    """The layers that images share, as a picture and as a table."""
    images = [
        ImageLayers(name=each.name, layers=each.proof.layers)
        for each in catalog.images
        if each.proof and each.proof.layers
    ]
    found = sharing(images)
    shared = [each for each in found.layers if len(each.users) > 1]
    return {
        "summary": summary(found),
        # It escapes all texts itself, as it is an SVG file elsewhere.
        "picture": Markup(draw(images, found)) if images else "",  # noqa: S704
        "shared": shared[:SHARED],
        "others": len(shared[SHARED:]),
    }


def sizes(catalog: Catalog) -> dict[str, Any]:
    """How large images are, what is in them, and how that went over time."""
    measured = [each for each in catalog.images if each.proof and each.proof.size]
    drawn = {
        "pushed": _chart(_published(catalog.images)),
        "measured": _chart(_released(measured)),
    }
    return {
        "measured": sorted(measured, key=lambda each: (-each.size, each.name)),
        "largest": max(
            (max(each.size, each.proof.limit) for each in measured if each.proof), default=1
        ),
        "charts": {name: found for name, found in drawn.items() if found},
    }


def tasks(catalog: Catalog) -> dict[str, Any]:
    """Which of the images that were asked answer which task."""
    asked = [each for each in catalog.images if each.tasks is not None]
    names = dict.fromkeys(task.name for each in asked for task in each.tasks or ())
    found = {each.name: {task.name: task for task in each.tasks or ()} for each in asked}
    return {
        "asked": asked,
        "rows": [(name, [found[each.name].get(name) for each in asked]) for name in names],
    }


def proof(catalog: Catalog) -> dict[str, Any]:
    """What was built and checked, on what, and what was not."""
    proven = [each for each in catalog.images if each.proof]
    reasons: dict[str, list[Image]] = {}
    for each in catalog.images:
        if not each.proof:
            reasons.setdefault(each.reason, []).append(each)
    passed = sum(bool(each.proof and each.proof.passed) for each in proven)
    return {"proven": proven, "passed": passed, "missing": reasons}


# By the address of each page.
PAGES = {
    "tables.html": tables,
    "matrix.html": matrix,
    "layers.html": layers,
    "sizes.html": sizes,
    "tasks.html": tasks,
    "proof.html": proof,
}


def _grid(catalog: Catalog, framework: str) -> Grid:
    images = [each for each in catalog.images if each.framework == framework]
    columns = _newest_first(each.framework_version for each in images)
    rows = _newest_first(each.transformers for each in images)
    cells: dict[tuple[str, str], list[tuple[str, Image]]] = {}
    for each in images:
        short = each.mode[:1].upper() + _DEVICES.get(each.device, "?")
        cells.setdefault((each.transformers, each.framework_version), []).append((short, each))
    return Grid(
        framework=framework,
        versions=columns,
        rows=[
            (
                row,
                [sorted(cells.get((row, column), []), key=_by_short) for column in columns],
            )
            for row in rows
        ],
    )


def _by_short(cell: tuple[str, Image]) -> tuple[str, str]:
    return cell[0], cell[1].name


def _newest_first(versions: Iterable[str]) -> list[str]:
    from packaging.version import Version

    return sorted(set(versions), key=Version, reverse=True)


def _released(images: Iterable[Image]) -> Iterator[tuple[str, str, int, Image]]:
    """Line, date, size and image of each that was measured, by the date of its libraries."""
    for each in images:
        yield f"{each.framework} {each.mode}, {each.device}", each.date, each.size, each


def _published(images: Iterable[Image]) -> Iterator[tuple[str, str, int, Image]]:
    """The same of what was pushed."""
    for each in images:
        for date, size in published_sizes(each.published):
            yield each.name, date, size, each


def _chart(points: Iterable[tuple[str, str, int, Image]]) -> Chart | None:
    lines: dict[str, list[tuple[str, int, str]]] = {}
    for line, date, size, image in points:
        lines.setdefault(line, []).append((date, size, image.tag))
    found: Mapping[str, list[tuple[str, int, str]]] = lines
    return chart([Series(name=name, points=tuple(sorted(found[name]))) for name in sorted(found)])
