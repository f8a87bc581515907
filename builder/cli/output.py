"""How results look: tables for people, JSON for programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import click

from builder.util.console import say

if TYPE_CHECKING:
    from builder.build.bake import Outcome

__all__ = ["print_failures", "print_json", "print_line", "print_table"]

NARROWEST = 12  # no column gets narrower


def print_line(text: str) -> None:
    """A line of a result at once, above the bars that a terminal may show."""
    # click.echo would write past them.
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_json(value: Any) -> None:
    """A value as indented JSON."""
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Rows as a table of aligned columns, no wider than the terminal. Nothing without any row."""
    if not rows:
        return
    titles = [column.replace("_", " ") for column in columns]
    cells = [titles, *([_cell(row[column]) for column in columns] for row in rows)]
    natural = [max(map(len, column)) for column in zip(*cells, strict=True)]
    widths = fitted(natural, terminal_width())
    bold = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    title, *lines = ["\n".join(_folded(row, widths)) for row in cells]
    click.echo("\n".join([click.style(title, bold=True) if bold else title, *lines]))


def terminal_width() -> int | None:
    """The columns of the terminal that stdout is; None if it is none, or does not tell."""
    if not sys.stdout.isatty():
        return None
    import shutil

    return shutil.get_terminal_size((0, 0)).columns or None


def fitted(widths: Sequence[int], room: int | None) -> list[int]:
    """The widths of columns, two spaces apart, of which the widest give way until they fit.

    >>> fitted([5, 40, 30], 60)
    [5, 25, 26]
    >>> fitted([5, 40, 30], None)
    [5, 40, 30]
    """
    found = list(widths)
    if room is None:
        return found
    over = sum(found) + 2 * (len(found) - 1) - room
    while over > 0 and max(found) > NARROWEST:
        found[found.index(max(found))] -= 1
        over -= 1
    return found


def _folded(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """A row's lines; a cell that is wider than its column goes on below."""
    parts = [
        [cell] if len(cell) <= width else _wrapped(cell, width)
        for cell, width in zip(row, widths, strict=True)
    ]
    for line in zip_longest(*parts, fillvalue=""):
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(padded).rstrip()


def _wrapped(cell: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(cell, width) or [""]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1f}"
    return str(value)


def print_failures(outcomes: Sequence[Outcome]) -> None:
    """What went wrong, with the failing step's own last words."""
    for outcome in outcomes:
        if not outcome.error:
            continue
        say(f"\n{outcome.target.name} failed")
        if outcome.step:
            say(f"  at {outcome.step}")
        for line in outcome.output[-40:]:
            say(f"    {line}")
        say("  " + outcome.error.strip().replace("\n", "\n  "))
