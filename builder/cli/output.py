"""How results look: tables for people, JSON for programs, progress while something runs.

rich is loaded only on a terminal; elsewhere the same is said in plain lines.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from builder.util.console import say
from builder.util.text import short_name

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from builder.build.bake import Outcome, Watcher
    from builder.build.buildkit_progress import Step
    from builder.matrix.target import Target

__all__ = [
    "print_failures",
    "print_json",
    "print_table",
    "watching",
]


def print_json(value: Any) -> None:
    """A value as indented JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Rows as a table: aligned columns, or rich's on a terminal. Nothing without any row."""
    if not rows:
        return
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    titles = [column.replace("_", " ") for column in columns]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in titles:
            table.add_column(title, no_wrap=True)
        for line in cells:
            table.add_row(*map(escape, line))
        console = Console()
        # Names are there to be copied: too wide a line is the terminal's to wrap.
        console.width = max(console.width, sum(widths) + 2 * len(widths))
        console.print(table)
        return
    for line in [titles, *cells]:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


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


@contextlib.contextmanager
def watching() -> Iterator[Watcher]:
    """A watcher of builds: a bar for each target on a terminal, lines elsewhere."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.fields[label]}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
        console=Console(stderr=True),
    ) as progress:
        yield _Bars(progress)


class Lines:
    """Says each step once it has ended, with its seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def began(self, target: Target) -> None:
        self._say(f"{target.name}: building")

    def stepped(self, target: Target, step: Step, done: int, known: int) -> None:
        if step.completed is not None and not step.name.startswith("[internal]"):
            how = "cached" if step.cached else f"{step.seconds:.1f} s"
            self._say(f"{short_name(target.name)}: [{done}/{known}] {step.title[:100]} ({how})")

    def ended(self, outcome: Outcome) -> None:
        how = "failed" if outcome.error else "built"
        self._say(f"{outcome.target.name}: {how} in {outcome.seconds:.1f} s")

    def _say(self, text: str) -> None:
        with self._lock:
            say(text)


class _Bars:
    """One bar for each target."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def began(self, target: Target) -> None:
        self._tasks[target.name] = self._progress.add_task(
            "", total=None, label=short_name(target.name)
        )

    def stepped(self, target: Target, step: Step, done: int, known: int) -> None:
        self._progress.update(
            self._tasks[target.name],
            completed=done,
            total=known or None,
            description=step.title[:60] if step.completed is None else "",
        )

    def ended(self, outcome: Outcome) -> None:
        if outcome.target.name in self._tasks:
            how = "failed" if outcome.error else "built"
            self._progress.update(self._tasks[outcome.target.name], description=how)
            self._progress.stop_task(self._tasks[outcome.target.name])
