"""The reference tables, from the matrix: rows in the order of the reference page, and the page.

reference.json has what of them no matrix says: which rows the page lists, and in which order. It
is that of both its editions; the later one has 4.26.0 too.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from packaging.version import Version

from builder.errors import ArgumentError
from builder.matrix.target import Target
from builder.util.package import PACKAGE

__all__ = ["SITE", "Row", "Table", "markdown", "page", "proof", "tables"]

_DEVICES = {"cpu": "CPU", "gpu": "GPU", "neuron": "Inferentia"}
_NEURONX = {"training": "Trainium", "inference": "Inferentia2"}
# Titles as on the reference page; its inference table has no datasets.
_TITLES = {
    "transformers": "🤗 Transformers version",
    "datasets": "🤗 Datasets version",
    "framework": "PyTorch/TensorFlow version",
    "type": "type",
    "device": "device",
    "python": "Python Version",
}
_HEADINGS = {"training": "Training", "inference": "Inference"}
_INTRODUCTION = """\
# Images

Written by `dlc table --write` from the matrix{tables}.
"""
_TABLES = """: the tables of the reference page, row for row, and
a summary of what came after them"""
_PROVEN = """
*proven* is what [proof.json](proof.json) tells: *yes* is the real image; *on a stand-in* is another
base or wheel where the real one could not be reached, *in part* without packages that nothing stood
in for.
"""

_AFTER = """
Row by row, `dlc table` prints them, and {site}.

"""
SITE = "`dlc site` writes a page for each"

Key = tuple[str, str, str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One target as a row of a table; `cells` by the names of the columns."""

    target: Target
    cells: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows under a heading; `name` is training or inference, or empty for what is in neither."""

    name: str
    heading: str
    rows: Sequence[Row]

    @property
    def columns(self) -> dict[str, str]:
        """The titles of the columns by their names."""
        return {
            name: title
            for name, title in _TITLES.items()
            if name != "datasets" or any(row.cells[name] for row in self.rows)
        }


@cache
def _reference() -> dict[str, dict[Key, int]]:
    """The place of each row in the page's tables."""
    text = (PACKAGE / "reference.json").read_text("utf-8")
    listed: dict[str, list[list[str]]] = json.loads(text)
    return {
        mode: {_key(mode, *row): place for place, row in enumerate(rows)}
        for mode, rows in listed.items()
    }


def tables(targets: Iterable[Target]) -> list[Table]:
    """The reference page's tables, as far as there are targets for them, and one of the others.

    Targets that the page does not list come in the order of the matrix.
    """
    reference = _reference()
    rows: dict[str, dict[int, Row]] = {mode: {} for mode in reference}
    others: list[Row] = []
    for target in targets:
        row = Row(target=target, cells=_cells(target))
        versions = (target.transformers, target.framework_version, target.device)
        place = reference[target.mode].get((target.repository, *versions))
        if place is None or place in rows[target.mode]:
            others.append(row)
        else:
            rows[target.mode][place] = row
    found = [
        Table(name=mode, heading=_HEADINGS[mode], rows=[row for _, row in sorted(placed.items())])
        for mode, placed in rows.items()
        if placed
    ]
    if others:
        heading = "After the tables" if found else "Images"
        found.append(Table(name="", heading=heading, rows=others))
    return found


def markdown(found: Sequence[Table]) -> str:
    """Tables as Markdown: with headings, unless there is one table only."""
    parts = []
    for table in found:
        titles = table.columns
        lines = _lines(
            titles.values(), ([row.cells[name] for name in titles] for row in table.rows)
        )
        if len(found) > 1:
            lines = [f"## {table.heading}", "", *lines]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def page(found: Sequence[Table], proven: Mapping[str, str] | None, *, site: str = SITE) -> str:
    """The page of all images, with what is `proven` of each by name; None leaves that out.

    What came after the reference tables is summed up by repository and device; `site` says where
    each of those images is shown.
    """
    reference = any(table.name for table in found)
    tables = _TABLES if reference else ""
    parts = [_INTRODUCTION.format(tables=tables), _PROVEN if proven is not None else ""]
    for table in found:
        if reference and not table.name:
            lines = _summary(table, proven)
            parts.append(
                f"\n## {table.heading}\n" + _AFTER.format(site=site) + "\n".join(lines) + "\n"
            )
            continue
        titles = {**table.columns, "image": "image"}
        rows = [{**row.cells, "image": f"`{row.target.name}`"} for row in table.rows]
        if proven is not None:
            titles["proven"] = "proven"
            for row, cells in zip(table.rows, rows, strict=True):
                cells["proven"] = proven.get(row.target.name, "no")
        lines = _lines(titles.values(), ([cells[name] for name in titles] for cells in rows))
        parts.append(f"\n## {table.heading}\n\n" + "\n".join(lines) + "\n")
    return "".join(parts)


def proof(content: str | bytes, name: str = "the proof") -> dict[str, str]:
    """What proof.json says of each image by name: yes, or how far. ArgumentError if it is none."""
    try:
        return {str(row["image"]): _proven(row) for row in json.loads(content)["rows"]}
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(
            f"{name} is not a proof: {type(error).__name__}: {error}",
            remedy="run `make prove`, or name another file with --proof",
        ) from error


def _proven(row: Mapping[str, Any]) -> str:
    if row["error"] or not row["checks"] or not all(check["passed"] for check in row["checks"]):
        return "no"
    if not row["stand_in"]:
        return "yes"
    return "on a stand-in, in part" if row["gaps"] else "on a stand-in"


def _summary(table: Table, proven: Mapping[str, str] | None) -> list[str]:
    """A table with a line for the rows of each repository and device."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in table.rows:
        groups.setdefault((row.target.repository, row.cells["device"]), []).append(row)
    titles = ["images", "device", "number", _TITLES["transformers"], _TITLES["framework"]]
    titles += ["Python", "proven"][: 1 if proven is None else 2]
    lines = []
    for (repository, device), rows in groups.items():
        versions = [row.target for row in rows]
        title = versions[0].framework_title
        cells = [f"`{repository}`", device, str(len(rows))]
        cells.append(_span(each.transformers for each in versions))
        cells.append(f"{title} {_span(each.framework_version for each in versions)}")
        cells.append(_span(each.python for each in versions))
        if proven is not None:
            counts = Counter(proven.get(row.target.name, "no") for row in rows)
            cells.append("; ".join(f"{number} {text}" for text, number in counts.items()))
        lines.append(cells)
    return _lines(titles, lines)


def _span(versions: Iterable[str]) -> str:
    """The lowest and the highest of versions, or the one that there is.

    >>> _span(["3.9", "3.12", "3.10"]), _span(["3.8"])
    ('3.9 to 3.12', '3.8')
    """
    found = sorted(set(versions), key=Version)
    return found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"


def _key(mode: str, transformers: str, framework: str, version: str, device: str) -> Key:
    neuron = "-neuron" if device == "neuron" else ""
    return (f"huggingface-{framework}-{mode}{neuron}", transformers, version, device)


def _cells(target: Target) -> dict[str, str]:
    return {
        "transformers": target.transformers,
        "datasets": target.datasets or "",
        "framework": f"{target.framework_title} {target.framework_version}",
        "type": target.mode,
        "device": _DEVICES.get(target.device) or _NEURONX[target.mode],
        "python": target.python,
    }


def _lines(titles: Iterable[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table whose columns are aligned."""
    cells = [list(titles), *map(list, rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    return [
        "| "
        + " | ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        )
        + " |"
        for row in cells
    ]


def _width(text: str) -> int:
    """Columns that a text takes; emoji take two."""
    return sum(2 if unicodedata.east_asian_width(each) == "W" else 1 for each in text)
