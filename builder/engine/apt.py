"""Distribution packages: what apt offers on Debian and its relatives, and installing it.

Whatever goes wrong is an InstallError of one line; the caller knows what to do instead.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["InstallError", "distribution", "install", "offered", "run", "system_path"]

Say = Callable[[str], None]


class InstallError(Exception):
    """A package could not be installed; the message says why in one line."""


def install(*packages: str, say: Say) -> None:
    """Install packages with apt. Raises InstallError, also where apt or root is missing."""
    names = " ".join(packages)
    if not distribution() or not shutil.which("apt-get"):
        raise InstallError(f"{names} cannot be installed: this is not Debian or Ubuntu")
    if os.geteuid() != 0:
        raise InstallError(f"{names} cannot be installed without root")
    say(f"installing {names}")
    command = ("apt-get", "-o", "DPkg::Lock::Timeout=120", "-q")
    arguments = (*command, "install", "-y", "--no-install-recommends", *packages)
    try:
        run(*arguments)
    except InstallError:  # lists that are missing or too old are the usual reason
        with suppress(InstallError):  # one dead source of many must not stop us
            run(*command, "update")
        run(*arguments)


def distribution() -> str:
    """Return `debian`, `ubuntu`, the name of a relative of theirs, or nothing for others."""
    with suppress(OSError):
        facts = platform.freedesktop_os_release()
        if {"debian", "ubuntu"} & {facts.get("ID", ""), *facts.get("ID_LIKE", "").split()}:
            return facts.get("ID", "")
    return ""


def offered(package: str) -> bool:
    """Tell whether apt knows a version of the package to install; False also without apt."""
    with suppress(InstallError):
        return bool(run("apt-cache", "madison", package))
    return False


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a package tool and return its output; InstallError with its last complaint."""
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "PATH": system_path()}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            check=True,
            cwd=cwd,
            env={**os.environ, **quiet},
            text=True,
        )
    except OSError as error:
        raise InstallError(f"{command[0]} cannot be run: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("E:")]
        lines = lines or error.stderr.splitlines() or [f"code {error.returncode}"]
        raise InstallError(
            f"{command[0]} failed: {lines[-1].removeprefix('E:').strip()}"
        ) from error
    return done.stdout


def system_path() -> str:
    """Return PATH with the directories of system programs, which not every shell of root has."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"
