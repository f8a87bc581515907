"""A Docker Engine of our own, for machines without one: install, start and stop it.

All of it lies in `engine/` under the state directory: socket, data, log and process id. What
this module may end is told by that process id and by our paths in the command line, never by
a program's name.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from builder.engine import apt, buildx, connection
from builder.engine.docker_config import read_json
from builder.engine.failures import engine_errors
from builder.engine.orphans import remove_orphans
from builder.errors import EngineError
from builder.util.state import locked, state_directory

__all__ = ["stop", "up"]

Say = Callable[[str], None]

INSTALL_DOCKER = "install Docker Engine 20.10 or newer, or point DOCKER_HOST at one"
START_SECONDS = 60
STOP_SECONDS = 30
# What the kernel takes for a socket's path, less the longest name dockerd puts below our root.
LONGEST_ROOT = 107 - len("/exec/containerd/containerd.sock.ttrpc")

# Engines started by this process: kept, since an abandoned Popen warns, and reaped by `stop`.
_children: list[subprocess.Popen[bytes]] = []


def root() -> Path:
    """Return the directory of all that belongs to the private engine."""
    return state_directory() / "engine"


def up(*, say: Say, build: bool = True) -> connection.Engine:
    """Return an engine with buildx: the one found, else a private one, started now.

    Installs and fetches what is missing; buildx only for who wants to `build`. Raises EngineError
    when there is none and none can be started.
    """
    found = connection.find()
    if found and (found.buildx or not build):
        return found
    with locked("engine", say=say):
        found, failures = connection.search()
        found = found or _install_and_start(failures, say=say)
        if build and not found.buildx:
            found = buildx.provide_buildx(found, say=say)
        return found


def _install_and_start(failures: tuple[str, ...], *, say: Say) -> connection.Engine:
    nothing = f"no Docker Engine answers ({'; '.join(failures)})"
    if os.geteuid() != 0:
        raise EngineError(f"{nothing}, and only root can start one", remedy=INSTALL_DOCKER)
    wanted = {"dockerd": "docker.io", "iptables": "iptables"}
    missing = [package for program, package in wanted.items() if not _which(program)]
    if missing:
        try:
            apt.install(*missing, say=say)
        except apt.InstallError as error:
            raise EngineError(f"{nothing}, and {error}", remedy=INSTALL_DOCKER) from error
        # The package starts the distribution's own service where the machine has services.
        if found := connection.find():
            return found
    return start(say=say)


def start(*, say: Say) -> connection.Engine:
    """Start the private engine and wait until it answers; the caller holds the lock.

    Raises EngineError with the engine's own last words when it does not come up in 60 seconds.
    """
    home = root()
    if len(str(home)) > LONGEST_ROOT:
        raise EngineError(
            f"{home} is too long for a socket's path", remedy="set DLC_STATE to a shorter one"
        )
    home.mkdir(parents=True, exist_ok=True)
    shims = [] if running() else _clear_up_after_a_crash()
    (home / "daemon.json").write_text(json.dumps(_inherited_settings()), encoding="utf-8")
    say(f"starting a private Docker Engine in {home}")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DOCKER_")}
    with (home / "dockerd.log").open("wb") as log:
        child = subprocess.Popen(
            [
                _which("dockerd") or "dockerd",
                *("--host", connection.private_host()),
                *("--data-root", str(home / "data")),
                *("--exec-root", str(home / "exec")),
                *("--pidfile", str(home / "dockerd.pid")),
                *("--config-file", str(home / "daemon.json")),
            ],
            cwd="/",
            env={**environment, "PATH": apt.system_path()},
            start_new_session=True,
            stderr=log,
            stdin=subprocess.DEVNULL,
            stdout=log,
        )
    _children.append(child)
    try:
        engine = _wait(child)
    except BaseException:
        child.terminate()
        raise
    # It has ended the containers of the one before; a shim that was just to make one stays.
    for pid, sign in shims:
        _end(pid, sign=sign, seconds=1)
    # A run that ended as its engine was killed could not remove its own.
    with (
        suppress(EngineError),
        engine_errors("no container can be removed", kind=EngineError),
        closing(engine.client()) as client,
    ):
        remove_orphans(client)
    return engine


def _clear_up_after_a_crash() -> list[tuple[int, str]]:
    """Remove what a dockerd that was killed, or a reboot, left for the next one to trip over.

    What keeps containers alive is left for it to end them by, and returned.
    """
    for pid, sign in _helpers("containerd"):
        _end(pid, sign=sign, seconds=5)
    for stale in ("dockerd.pid", "exec/containerd/containerd.pid"):
        (root() / stale).unlink(missing_ok=True)
    return list(_helpers("containerd-shim.*"))


def _wait(child: subprocess.Popen[bytes]) -> connection.Engine:
    deadline = time.monotonic() + START_SECONDS
    candidate = connection.Engine(host=connection.private_host(), version="", private=True)
    while child.poll() is None and time.monotonic() < deadline:
        found = connection.probe(candidate)
        if isinstance(found, connection.Engine):
            return buildx.with_buildx(found)
        time.sleep(0.1)
    log = root() / "dockerd.log"
    line = last_words(log.read_text(encoding="utf-8", errors="replace"))
    remedy = f"read {log}, or point DOCKER_HOST at an engine elsewhere"
    if re.search("permission denied|not permitted", line, re.IGNORECASE):
        remedy = f"run with more privileges (a container needs --privileged); {remedy}"
    ended = f"ended with code {child.returncode}"
    silent = f"does not answer after {START_SECONDS} seconds"
    raise EngineError(f"dockerd {silent if child.poll() is None else ended}: {line}", remedy=remedy)


def last_words(log: str) -> str:
    """Return why dockerd ended: its last fatal line, else its last error, else its last line."""
    lines = [line for line in log.splitlines() if line.strip()]
    for sign in ("failed to start daemon", "level=fatal", "level=error"):
        if found := [line for line in lines if sign in line]:
            message = re.search(r'msg="((?:[^"\\]|\\.)*)"', found[-1])
            return message[1] if message else found[-1]
    return lines[-1] if lines else "it wrote no log"


def _inherited_settings() -> dict[str, object]:
    """Return the machine's engine settings (mirrors, proxies, DNS) without those we give."""
    settings = read_json(Path("/etc/docker/daemon.json"))
    ours = {"containerd", "data-root", "exec-root", "graph", "hosts", "live-restore", "pidfile"}
    return {k: v for k, v in settings.items() if k not in ours and not k.startswith("tls")}


def running() -> int | None:
    """Return the process id of the private engine, None when it does not run.

    A recorded id counts only while its process names our socket: after a reboot the number
    may be anybody's.
    """
    with suppress(OSError, ValueError):
        pid = int((root() / "dockerd.pid").read_text(encoding="ascii"))
        if connection.private_host() in _arguments(pid):
            return pid
    return None


def _arguments(pid: int) -> list[str]:
    """Return a live process's command line; empty for one that has ended, zombies included."""
    with suppress(OSError):
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
    return []


def stop(*, say: Say) -> bool:
    """Stop the private engine and what it started; True when there was one to stop.

    Containers get the engine's own 15 seconds to end; the engine gets 30 before it is killed.
    """
    if not root().is_dir():
        return False
    with locked("engine", say=say):
        pid = running()
        try:
            if pid:
                say(f"stopping the private Docker Engine (process {pid})")
                _end(pid, sign=connection.private_host(), seconds=STOP_SECONDS)
            for helper, sign in _helpers("containerd.*"):  # none, unless dockerd had to be killed
                _end(helper, sign=sign, seconds=5)
        except PermissionError as error:
            raise EngineError(
                f"only root may stop the private engine in {root()}", remedy="run as root"
            ) from error
        for leftover in ("dockerd.pid", "docker.sock"):
            (root() / leftover).unlink(missing_ok=True)
        return pid is not None


def _helpers(name: str) -> Iterator[tuple[int, str]]:
    """Give the processes of this name, a pattern, whose arguments name our run-time directory."""
    home = f"{root()}/exec/"
    for entry in Path("/proc").glob("[0-9]*"):
        arguments = _arguments(int(entry.name))
        signs = [argument for argument in arguments[1:] if argument.startswith(home)]
        if signs and re.fullmatch(name, Path(arguments[0]).name):
            yield int(entry.name), signs[0]


def _end(pid: int, *, sign: str, seconds: float) -> None:
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + patience
        with suppress(ProcessLookupError):
            if sign in _arguments(pid):
                os.kill(pid, number)
        while time.monotonic() < deadline:
            if sign not in _arguments(pid):
                for child in _children:
                    # Ours has ended, so waiting reaps it at once; so may have others before it.
                    child.wait() if child.pid == pid else child.poll()
                return
            time.sleep(0.05)


def _which(program: str) -> str | None:
    return shutil.which(program, path=apt.system_path())
