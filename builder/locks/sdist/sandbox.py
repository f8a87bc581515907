"""Runs a program of others where nothing of the caller's can be reached.

It has no network, not even loopback; of files only the system's programs and libraries and what it
is given, read-only; an environment of its own; no capabilities, and for root another user. The
kernel's namespaces do it, through util-linux, which every distribution has; where the caller may
not make any, the engine does: see builder.locks.sdist.sandbox_container.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from builder.errors import LockError
from builder.locks.sdist.sandbox_container import NoContainerError, run_in_container
from builder.util.scratch import scratch

__all__ = ["Run", "SandboxError", "run_python"]

_NOBODY = 65534
_SECONDS = 600
# The longest that is read of what a program says, and what it may take; in bytes.
_SAID = 1 << 20
_LIMITS = ("--cpu=600", f"--as={16 << 30}", f"--fsize={1 << 30}", "--nproc=2048", "--core=0")
_DROP = ("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_TOOLS = ("unshare", "setpriv", "prlimit", "mount", "umount", "pivot_root", "env")
# A root of its own: the folders named last as they are here, without a way to write into them.
_SCRIPT = """\
set -eu
root=$1 given=$2
shift 2
mount -t tmpfs -o "size=4g,nr_inodes=1m,mode=755" tmpfs "$root"
cd "$root"
put() {
    mkdir -p ".$2"
    mount --bind "$1" ".$2"
    mount -o remount,bind,ro,nosuid,nodev ".$2"
}
while [ "$1" != -- ]; do
    if [ -L "$1" ]; then
        mkdir -p ".${1%/*}"
        cp -P "$1" ".$1"
    elif [ -d "$1" ]; then
        put "$1" "$1"
    fi
    shift
done
shift
put "$given" /given
mkdir -p etc dev proc old tmp
chmod 1777 tmp
echo nobody:x:65534:65534::/tmp:/bin/false > etc/passwd
echo nogroup:x:65534: > etc/group
cp /etc/ld.so.cache etc/ 2> /dev/null || true
[ ! -d /etc/alternatives ] || put /etc/alternatives /etc/alternatives
for device in null zero full random urandom; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mount -t proc -o nosuid,nodev,noexec proc proc 2> /dev/null || true
pivot_root . old
umount -l /old
cd /
echo inside >&2
exec "$@"
"""
_INSIDE = "inside\n"


class SandboxError(LockError):
    """This machine has no way to shut a program in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """How a program ended, and the beginnings of what it said."""

    code: int
    out: str
    err: str


def run_python(given: Path, *arguments: str) -> Run:
    """Run this tool's Python in a sandbox in which the folder `given`, readable to all, is /given.

    Of what is installed here it sees the standard library; /given/requires is on its path.
    SandboxError if there is no way to shut it in, LockError if it takes too long.
    """
    command = [
        *("env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp", "LANG=C.UTF-8"),
        *("PYTHONPATH=/given/requires", str(_python()), "-S", "-B", *arguments),
    ]
    try:
        code, out, err = _in_namespaces(command, given)
    except _NoNamespacesError as no_namespaces:
        try:
            code, out, err = run_in_container(
                command, given, _system(), seconds=_SECONDS, most=_SAID
            )
        except NoContainerError as error:
            raise _impossible(f"{no_namespaces}, and {error}") from error
    before, inside, errors = err.decode("utf-8", "replace").partition(_INSIDE)
    if not inside:
        raise _impossible((before.strip().splitlines() or ["it says nothing"])[-1])
    return Run(code=code, out=out.decode("utf-8", "replace"), err=errors)


class _NoNamespacesError(Exception):
    """The kernel, or a missing tool, does not let the caller make namespaces."""


def _in_namespaces(command: Sequence[str], given: Path) -> tuple[int, bytes, bytes]:
    """Run a command in namespaces of its own: its code, and what it said."""
    if missing := [name for name in _TOOLS if not shutil.which(name, path=_PATH)]:
        raise _NoNamespacesError(f"it has no {missing[0]}")
    root = os.geteuid() == 0
    user = (f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups") if root else ()
    with (
        scratch("sandbox") as folder,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        words = [
            *("unshare", *(() if root else ("--user", "--map-root-user"))),
            *("--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child"),
            *("sh", "-c", _SCRIPT, "sandbox", str(folder), str(given), *_system(), "--"),
            *("prlimit", *_LIMITS, "setpriv", *_DROP, *user, *command),
        ]
        try:
            code = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                check=False,
                timeout=_SECONDS,
                cwd="/",
                env={"PATH": _PATH},
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise LockError(
                f"it did not end within {_SECONDS} seconds",
                remedy="require a version that has a wheel",
            ) from error
        output, errors = (_beginning(file) for file in (out, err))
    if _INSIDE.encode() not in errors:
        last = errors.decode("utf-8", "replace").strip().splitlines()
        raise _NoNamespacesError(last[-1] if last else "it says nothing")
    return code, output, errors


def _python() -> Path:
    """The interpreter behind a virtual environment."""
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def _system() -> list[str]:
    """The folders that a Python needs: the system's, and those of Python itself."""
    own = {str(Path(text).resolve()) for text in (sys.base_prefix, sys.base_exec_prefix)}
    return [*_SYSTEM, *sorted(text for text in own if not f"{text}/".startswith("/usr/"))]


def _beginning(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(_SAID)


def _impossible(why: str) -> SandboxError:
    return SandboxError(
        f"this machine cannot shut a build in: {why}",
        remedy="run it as root, where user namespaces are allowed, or where a Docker Engine runs; "
        "or require a version that has a wheel",
    )
