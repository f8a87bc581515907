"""Build contexts: laid out by build key, kept for BuildKit, and removed when others took over.

Each is locked while a process builds with it; the lock's file tells when that was last.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from builder.build.plan import Inputs
from builder.locks import wheelhouse
from builder.matrix import components
from builder.matrix.target import Target
from builder.util import atomic

__all__ = ["Context", "prepare"]

# Of one target: checkouts with different keys take turns.
_KEPT = 2
_OLDEST = 30 * 24 * 60 * 60
_LOCK = ".lock"

# Locks that this process holds to its end, by their files.
_held: dict[Path, int] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """A folder that `docker build` can be pointed at, and what it was laid out from."""

    inputs: Inputs
    folder: Path

    @property
    def target(self) -> Target:
        """What it is to build."""
        return self.inputs.target


def prepare(inputs: Inputs, contexts: Path) -> Context:
    """Lay out a target's build context below `contexts`: rendered files, locks and wheelhouse.

    The folder is kept between builds, so that BuildKit sends only what changed, and named by what
    is in it, so that no two builds write into one. Those that were used before the last ones of the
    target, or long ago, are removed.
    """
    target = inputs.target
    folder = contexts / target.folder / inputs.key[:16]
    _hold(folder)
    for name, content in inputs.files.items():
        path = folder / name
        # Another build may read what is right already.
        if not path.is_file() or path.read_bytes() != content:
            atomic.write(path, content, folders=True)
        path.chmod(0o755 if path.suffix == ".sh" else 0o644)
    wheels = (*target.build.wheels, *components.wheels(target.components))
    others = sorted(contexts.glob("*/*/*"))
    wheelhouse.stage(wheels, wheelhouse.directories(), folder, others)
    used = sorted(_contexts(folder.parent), key=_last_used, reverse=True)
    for each in used[_KEPT:]:
        _remove(each)
    _remove_old(contexts)
    return Context(inputs=inputs, folder=folder)


def _hold(folder: Path) -> None:
    """Keep others from removing a context, which need not exist yet, until this process ends."""
    path = folder.with_name(f"{folder.name}{_LOCK}")
    path.parent.mkdir(parents=True, exist_ok=True)
    while path not in _held or not path.exists():
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(lock, fcntl.LOCK_SH)
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(lock).st_ino:  # else another has removed it
                _held[path] = lock
                break
        os.close(lock)
    os.utime(path)


def _contexts(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()]


def _last_used(folder: Path) -> float:
    for path in (folder.with_name(f"{folder.name}{_LOCK}"), folder):
        with suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def _remove(folder: Path) -> None:
    """Remove a context, unless a build uses it."""
    path = folder.with_name(f"{folder.name}{_LOCK}")
    with suppress(OSError):
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
            path.unlink(missing_ok=True)
        finally:
            os.close(lock)


@functools.cache
def _remove_old(contexts: Path) -> None:
    """Remove what no build used for a month, of any target; once in a process."""
    for target in contexts.glob("*/*"):
        for folder in _contexts(target) if target.is_dir() else ():
            if _last_used(folder) < time.time() - _OLDEST:
                _remove(folder)
