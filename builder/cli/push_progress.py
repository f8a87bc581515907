"""How a push looks while it runs: bytes of all that must go, a bar on a terminal, else lines."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from builder.release.upload_engine import Bytes, PushWatcher
from builder.util.console import say
from builder.util.text import human_size, short_name

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["watching_pushes"]

EVERY = 10.0  # seconds between two lines of one image


@contextlib.contextmanager
def watching_pushes() -> Iterator[PushWatcher]:
    """A watcher: a bar for each image on a terminal, lines elsewhere."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
    ) as progress:
        yield _Bars(progress)


class Lines:
    """Says how far an image is when a layer is there, and every ten seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: dict[str, tuple[int, float]] = {}

    def moved(self, name: str, done: Bytes) -> None:
        with self._lock:
            layers, when = self._said.get(name, (0, time.monotonic()))
            now = time.monotonic()
            if done.layers == layers and now - when < EVERY:
                self._said.setdefault(name, (layers, when))
                return
            self._said[name] = done.layers, now
            say(
                f"{short_name(name)}: {human_size(done.done)} of {human_size(done.total)}, "
                f"{done.layers} of {done.of_layers} layers"
            )

    def news(self, name: str, text: str) -> None:
        with self._lock:
            say(f"{short_name(name)}: {text}")

    def ended(self, name: str) -> None:
        with self._lock:
            self._said.pop(name, None)


class _Bars:
    """One bar for each image that has bytes to send."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def moved(self, name: str, done: Bytes) -> None:
        if not done.total:
            return
        with self._lock:
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(short_name(name))
        self._progress.update(self._tasks[name], completed=done.done, total=done.total)

    def news(self, name: str, text: str) -> None:
        self._progress.console.print(f"{short_name(name)}: {text}", markup=False, highlight=False)

    def ended(self, name: str) -> None:
        if name in self._tasks:
            self._progress.stop_task(self._tasks[name])
