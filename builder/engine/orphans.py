"""Containers that outlived the process that made them, told by a label that names that process."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import docker

__all__ = ["OWNER_LABEL", "alive", "owner", "remove_orphans"]

OWNER_LABEL = "dlc.owner"


def owner() -> str:
    """This process, as no other one ever is: where its id counts, the id, and when it began.

    Empty where the system does not tell.
    """
    with suppress(OSError, IndexError):
        return f"{_here()}/{os.getpid()}/{_began(os.getpid())}"
    return ""


def alive(said: str) -> bool:
    """Whether the process of a label may still run; true of those that cannot be seen from here."""
    rest, _, began = said.rpartition("/")
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


def remove_orphans(client: docker.DockerClient) -> None:
    """Remove the containers of processes of this machine that have ended.

    Those of other machines, which may share the engine, are theirs to remove. Raises
    docker.errors.DockerException.
    """
    import docker.errors

    for each in client.api.containers(all=True, filters={"label": OWNER_LABEL}):
        said = str((each.get("Labels") or {}).get(OWNER_LABEL, ""))
        if not alive(said):
            with suppress(docker.errors.APIError):  # another run removes it just now
                client.api.remove_container(each["Id"], force=True, v=True)


def _began(pid: int) -> str:
    """When a process began, in ticks since the machine did (proc(5), stat); empty if it ended."""
    state, *fields = Path("/proc", str(pid), "stat").read_text("utf-8").rpartition(")")[2].split()
    return fields[18] if state not in "ZX" else ""


def _here() -> str:
    """This boot of this machine, and the namespace that process ids are of."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
