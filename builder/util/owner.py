"""Who made something that may outlive them: a name of a process that no other one ever has."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["alive", "owner"]


def owner() -> str:
    """This process: where its id counts, the id, and when it began.

    Empty where the system does not tell.
    """
    with suppress(OSError, IndexError):
        return f"{_here()}/{os.getpid()}/{_began(os.getpid())}"
    return ""


def alive(text: str) -> bool:
    """Whether an owner may still run; true of one that cannot be seen from here."""
    rest, _, began = text.rpartition("/")
    here, _, pid = rest.rpartition("/")
    try:
        if here != _here() or not pid.isdecimal():
            return True
        os.kill(int(pid), 0)
        return began == _began(int(pid))
    except ProcessLookupError:
        return False
    except (OSError, IndexError, OverflowError):  # another user's, perhaps in a hidden /proc
        return True


def _began(pid: int) -> str:
    """When a process began, in ticks since the machine did (proc(5), stat); empty if it ended."""
    state, *fields = Path("/proc", str(pid), "stat").read_text("utf-8").rpartition(")")[2].split()
    return fields[18] if state not in "ZX" else ""


def _here() -> str:
    """This boot of this machine, and the namespace that process ids are of."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
