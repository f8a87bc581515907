"""Distribution packages: what apt offers on Debian and its relatives, and installing it.

Whatever goes wrong is an InstallError of one line; the caller knows what to do instead.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["InstallError", "distribution", "install", "offered", "run", "system_path", "unpack"]

Say = Callable[[str], None]

DEBIAN_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


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
    _with_lists_of_today(*command, "install", "-y", "--no-install-recommends", *packages)


def _with_lists_of_today(*command: str, cwd: Path | None = None) -> None:
    """Run apt-get; if it fails, update the package lists and run it once more, or InstallError."""
    try:
        run(*command, cwd=cwd)
    except InstallError:  # lists that are missing or too old are the usual reason
        with suppress(InstallError):  # one dead source of many must not stop us
            run("apt-get", "-o", "DPkg::Lock::Timeout=120", "-q", "update")
        run(*command, cwd=cwd)


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


def unpack(*packages: str, into: Path, release: str = "") -> None:
    """Unpack packages, without what they depend on, into a folder as into a root directory.

    They are this machine's, or those of a Debian release: then apt works on a state of its own,
    with the machine's mirror and keyring. Sources and packages stay as they are; the machine's
    package lists are updated if they are too old. Raises InstallError.
    """
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".apt-", dir=into) as directory:
        work = Path(directory)
        # The sandbox user cannot enter our directory.
        settings = {"APT::Sandbox::User": "root", **(_sources(release, work) if release else {})}
        options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
        command = ("apt-get", *options, "-q")
        if release:
            run(*command, "update", cwd=work)
            run(*command, "download", *packages, cwd=work)
        else:
            _with_lists_of_today(*command, "download", *packages, cwd=work)
        for archive in sorted(work.glob("*.deb")):
            run("dpkg-deb", "--extract", str(archive), str(into))


def _sources(release: str, work: Path) -> dict[str, str]:
    """apt's settings for a Debian release as its one source, with its state in a folder."""
    listing = ("apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)")
    pattern = re.compile("^Debian (.+)$", re.MULTILINE)  # security updates have another label
    mirrors = pattern.findall(run(*listing))
    if not mirrors:  # no package lists yet, as in a fresh container
        run("apt-get", "-q", "update")
        mirrors = pattern.findall(run(*listing)) or [""]
    for needed in ("lists/partial", "cache/archives/partial"):
        (work / needed).mkdir(parents=True)
    source = f"deb [signed-by={DEBIAN_KEYRING}] {mirrors[0]} {release} main\n"
    (work / "sources.list").write_text(source, encoding="utf-8")
    return {
        "Dir::Etc::SourceList": str(work / "sources.list"),
        "Dir::Etc::SourceParts": "-",
        "Dir::State::Lists": str(work / "lists"),
        "Dir::Cache": str(work / "cache"),
        "APT::Default-Release": "",  # the machine's may be unknown to this one source
        "Acquire::Languages": "none",
    }


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
