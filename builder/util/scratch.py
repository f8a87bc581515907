"""Folders for the time of a task, which the next run removes if this one is killed."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from builder.util.owner import alive, owner

__all__ = ["remove_left", "scratch"]

_OWNER = "owner"


@contextmanager
def scratch(what: str) -> Iterator[Path]:
    """An empty folder among the system's temporary ones; `what` is a part of its name.

    No secret belongs there: see `builder.util.memory`.
    """
    remove_left()
    with tempfile.TemporaryDirectory(prefix=f"dlc-{what}-") as name:
        Path(name, _OWNER).write_text(owner(), "utf-8")
        folder = Path(name, "files")
        folder.mkdir()
        yield folder


def remove_left() -> bool:
    """Remove what runs have left that were killed, once in a process; whether there was any."""
    return _remove_left(tempfile.gettempdir())


@functools.cache
def _remove_left(temporary: str) -> bool:
    """Remove this user's folders whose process has ended; whether there were any."""
    found = False
    for mark in Path(temporary).glob(f"dlc-*-*/{_OWNER}"):
        with suppress(OSError):
            folder = mark.parent
            ours = not folder.is_symlink() and folder.stat().st_uid == os.geteuid()
            if ours and not alive(mark.read_text("utf-8")):
                found = True
                shutil.rmtree(folder, ignore_errors=True)
    return found
