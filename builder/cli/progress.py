"""Progress on stderr while a command runs: bars on a terminal, else a line for each thing done.

rich is loaded only on a terminal.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from builder.util.console import say, saying
from builder.util.text import counted, human_size, short_name

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import ProgressColumn, TaskID

    from builder.build.bake import Outcome
    from builder.build.buildkit_progress import Step
    from builder.matrix.target import Target
    from builder.release.progress import Bytes

__all__ = [
    "Builds",
    "Progress",
    "Pushes",
    "showing",
    "watching",
    "watching_pushes",
    "working",
]

EVERY = 10.0  # seconds between two lines of one upload


class Progress:
    """What is under way, by name, from any thread. This one writes lines."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def start(self, name: str, total: int | None = None) -> None:
        """Something begins; `total` is of how many parts, where that is known."""

    def update(self, name: str, done: int, total: int | None = None, note: str = "") -> None:
        """So much of it is done; `note` is what happens now."""

    def detail(self, text: str) -> None:
        """A line in the place of a bar that moves."""
        self.line(text)

    def line(self, text: str) -> None:
        """A line that stays."""
        with self._lock:
            say(text)

    def finish(self, name: str, text: str) -> None:
        """It has ended; `text` is how."""
        self.line(f"{name}: {text}")


class _Bars(Progress):
    """One bar for each thing."""

    def __init__(self, shown: RichProgress) -> None:
        super().__init__()
        self._shown = shown
        self._tasks: dict[str, TaskID] = {}

    def start(self, name: str, total: int | None = None) -> None:
        self._task(name, total)

    def update(self, name: str, done: int, total: int | None = None, note: str = "") -> None:
        task = self._task(name, total)
        self._shown.update(task, completed=done, total=total, description=note[:60])

    def detail(self, text: str) -> None:
        pass

    def line(self, text: str) -> None:
        _print(self._shown, text)

    def finish(self, name: str, text: str) -> None:
        task = self._task(name, None)
        self._shown.update(task, description=text)
        self._shown.stop_task(task)

    def _task(self, name: str, total: int | None) -> TaskID:
        with self._lock:
            if name not in self._tasks:
                self._tasks[name] = self._shown.add_task("", total=total, label=short_name(name))
            return self._tasks[name]


@contextlib.contextmanager
def showing(*, of_bytes: bool = False) -> Iterator[Progress]:
    """What shows the progress of several things; `of_bytes` if that is what is counted."""
    if not _animated():
        yield Progress()
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TransferSpeedColumn,
    )

    with _rich(
        TextColumn("{task.fields[label]}", markup=False),
        BarColumn(bar_width=20),
        DownloadColumn() if of_bytes else MofNCompleteColumn(),
        TransferSpeedColumn() if of_bytes else TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    ) as shown:
        yield _Bars(shown)


@contextlib.contextmanager
def working(text: str) -> Iterator[None]:
    """Show on a terminal that something takes its time; elsewhere nothing."""
    if not _animated():
        yield
        return
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    description = TextColumn("{task.description}", markup=False)
    with _rich(SpinnerColumn(), description, TimeElapsedColumn(), transient=True) as shown:
        shown.add_task(text, total=None)
        yield


@contextlib.contextmanager
def watching() -> Iterator[Builds]:
    """A watcher of builds."""
    with showing() as progress:
        yield Builds(progress)


@contextlib.contextmanager
def watching_pushes() -> Iterator[Pushes]:
    """A watcher of pushes."""
    with showing(of_bytes=True) as progress:
        yield Pushes(progress)


@contextlib.contextmanager
def _rich(*columns: ProgressColumn, transient: bool = False) -> Iterator[RichProgress]:
    from rich.console import Console
    from rich.progress import Progress as RichProgress

    # A number of its own: tests of the contract catch what is written to that of stderr.
    with (
        os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding="utf-8") as stream,
        RichProgress(
            *columns,
            console=Console(file=stream),
            transient=transient,
            redirect_stdout=sys.stdout.isatty(),  # else results would not be where they should go
        ) as shown,
        saying(partial(_print, shown)),
    ):
        yield shown


def _print(shown: RichProgress, text: str) -> None:
    """A line above the bars, which the terminal wraps."""
    shown.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _animated() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


class Builds:
    """Watches builds: a bar of steps for each target, or a line for each step that has ended."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def began(self, target: Target) -> None:
        self._progress.start(target.name)
        self._progress.detail(f"{target.name}: building")

    def stepped(self, target: Target, step: Step, done: int, known: int) -> None:
        running = step.completed is None
        self._progress.update(target.name, done, known or None, step.title if running else "")
        if not running and not step.name.startswith("[internal]"):
            how = "cached" if step.cached else f"{step.seconds:.1f} s"
            name = short_name(target.name)
            self._progress.detail(f"{name}: [{done}/{known}] {step.title[:100]} ({how})")

    def ended(self, outcome: Outcome) -> None:
        how = "failed" if outcome.error else "built"
        self._progress.finish(outcome.target.name, f"{how} in {outcome.seconds:.1f} s")


class Pushes:
    """Watches uploads: a bar of bytes for each image, or a line for each layer or ten seconds."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[int, float]] = {}

    def moved(self, name: str, done: Bytes) -> None:
        if done.total:
            self._progress.update(name, done.done, done.total)
        with self._lock:
            now = time.monotonic()
            layers, when = self._seen.setdefault(name, (0, now))
            if done.layers == layers and now - when < EVERY:
                return
            self._seen[name] = done.layers, now
        self._progress.detail(
            f"{short_name(name)}: {human_size(done.done)} of {human_size(done.total)}, "
            f"{done.layers} of {counted(done.of_layers, 'layer')}"
        )

    def news(self, name: str, text: str) -> None:
        self._progress.line(f"{short_name(name)}: {text}")

    def ended(self, name: str) -> None:
        with self._lock:
            self._seen.pop(name, None)
