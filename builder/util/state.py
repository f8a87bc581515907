"""The directory for all we keep on this machine, and locks in it against other processes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.errors import EngineError

__all__ = ["locked", "state_directory"]


def state_directory() -> Path:
    """Return the directory for all we keep on this machine; it need not exist yet.

    DLC_STATE; else /var/lib/dlc for root; else `dlc` in the user's state directory (XDG Base
    Directory Specification 0.8). Raises EngineError where no home directory is known.
    """
    if named := os.environ.get("DLC_STATE"):
        return Path(named).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/dlc")
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():  # the specification has relative paths ignored
        try:
            state = Path.home() / ".local/state"
        except RuntimeError as error:
            raise EngineError(
                "this user has no home directory to keep state in",
                remedy="set DLC_STATE to a writable directory",
            ) from error
    return state / "dlc"


@contextmanager
def locked(name: str, *, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock called `name` of the state directory; other processes wait their turn."""
    path = state_directory() / f"{name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise EngineError(
            f"cannot write {path}: {error.strerror}",
            remedy="set DLC_STATE to a writable directory",
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another dlc that holds {path}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
