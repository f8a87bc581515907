"""Build contexts: laid out by build key, kept for BuildKit, and removed when others took over.

Each is locked while a process builds with it. The lock's file tells when that was last, and which
checkouts build with it: two of them may have targets of the same name and take turns.
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
from builder.util.state import state_directory

__all__ = ["Context", "is_anothers", "prepare", "root"]

_OLDEST = 30 * 24 * 60 * 60
_LOCK = ".lock"

# Locks that this process holds to its end, by their files.
_held: dict[Path, int] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """A folder that `docker build` can be pointed at, and what it was laid out from.

    `superseded` are the keys of contexts that it takes the place of, as tags have them.
    """

    inputs: Inputs
    folder: Path
    superseded: tuple[str, ...] = ()

    @property
    def target(self) -> Target:
        """What it is to build."""
        return self.inputs.target


def prepare(inputs: Inputs, contexts: Path, images: Path) -> Context:
    """Lay out a target's build context below `contexts`: rendered files, locks and wheelhouse.

    The folder is kept between builds, so that BuildKit sends only what changed, and named by what
    is in it, so that no two builds write into one. It takes the place of those of the same
    checkout, which `images` tells, and what nobody used for a month is removed.
    """
    target, owner = inputs.target, str(images.resolve())
    folder = contexts / target.folder / inputs.key[:16]
    _hold(folder, owner)
    for name, content in inputs.files.items():
        path = folder / name
        # Another build may read what is right already.
        if not path.is_file() or path.read_bytes() != content:
            atomic.write(path, content, folders=True)
        path.chmod(0o755 if path.suffix == ".sh" else 0o644)
    wheels = (*target.build.wheels, *components.wheels(target.components))
    others = sorted(contexts.glob("*/*/*"))
    wheelhouse.stage(wheels, wheelhouse.directories(), folder, others)
    before = [path for path in _contexts(folder.parent) if path != folder]
    superseded = tuple(path.name for path in before if _leave(path, owner))
    _remove_old(contexts)
    return Context(inputs=inputs, folder=folder, superseded=superseded)


def is_anothers(target: Target, key: str, *, than: str) -> bool:
    """Whether only other checkouts than that of the key `than` build a target by a key."""
    theirs, ours = (_owners(root() / target.folder / each[:16]) for each in (key, than))
    return bool(theirs and ours and theirs.isdisjoint(ours))


def root() -> Path:
    """Where those of this machine's builds are."""
    return state_directory() / "contexts"


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}{_LOCK}")


def _owners(folder: Path) -> set[str]:
    """The checkouts that build with a context; none where nobody has written them down."""
    with suppress(OSError):
        return set(_lock_of(folder).read_text("utf-8", "surrogateescape").splitlines())
    return set()


def _hold(folder: Path, owner: str) -> None:
    """Keep others from removing a context, which need not exist yet, until this process ends."""
    path = _lock_of(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    while path not in _held or not path.exists():
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(lock, fcntl.LOCK_SH)
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(lock).st_ino:  # else another has removed it
                _held[path] = lock
                break
        os.close(lock)
    _write(path, _owners(folder) | {owner})


def _leave(folder: Path, owner: str) -> bool:
    """Leave a context to those that still build with it; whether it was this owner's alone."""
    owners = _owners(folder)
    if owner not in owners:
        return False
    if owners == {owner}:
        _remove(folder)
        return True
    _write(_lock_of(folder), owners - {owner})
    return False


def _write(path: Path, owners: set[str]) -> None:
    # In place, as the file is the lock.
    path.write_text("".join(f"{each}\n" for each in sorted(owners)), "utf-8", "surrogateescape")


def _contexts(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir()]


def _last_used(folder: Path) -> float:
    for path in (_lock_of(folder), folder):
        with suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def _remove(folder: Path) -> None:
    """Remove a context, unless a build uses it."""
    path = _lock_of(folder)
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
