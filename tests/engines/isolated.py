"""A Docker Engine of unpacked packages, in a network and a process namespace of its own.

Nothing of it reaches the machine: its bridge, its rules and its mounts go with its processes. What
is to reach it, or be reached by it, is run or listens in its network.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from builder.engine import apt, connection

__all__ = ["Isolated", "Version", "started"]

START_SECONDS = 120
CLONE_NEWNET = 0x40000000
_RUN = """\
ip link set lo up
exec "$@"
"""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """Where the packages of an engine are unpacked, and which image store it is to have."""

    release: str
    root: Path
    runc: Path
    buildx: Path
    containerd: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Isolated:
    """An engine while it runs; `process` is the one whose network it has."""

    engine: connection.Engine
    process: int
    folder: Path
    containerd: bool

    @property
    def environment(self) -> dict[str, str]:
        """What makes a command use this engine, its buildx, and a state of its own."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "BUILDX_"))}
        return {
            **kept,
            "DOCKER_HOST": self.engine.host,
            "DOCKER_CONFIG": str(self.folder / "docker"),
            "DLC_STATE": str(self.folder / "state"),
        }

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program in the engine's network."""
        return subprocess.run(
            self.inside(*command),
            cwd="/",
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def inside(self, *command: str) -> list[str]:
        """The command that runs another one in the engine's network."""
        return ["nsenter", f"--net=/proc/{self.process}/ns/net", "--", *command]

    def within(self, make: Callable[[], T]) -> T:
        """What a function says in the engine's network; sockets that it makes stay there."""
        made: list[T] = []
        failed: list[BaseException] = []

        def enter() -> None:
            try:
                handle = os.open(f"/proc/{self.process}/ns/net", os.O_RDONLY)
                try:
                    libc = ctypes.CDLL(None, use_errno=True)
                    if libc.setns(handle, CLONE_NEWNET):  # of this thread alone
                        raise OSError(ctypes.get_errno(), "setns")
                finally:
                    os.close(handle)
                made.append(make())
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return made[0]


@contextmanager
def started(version: Version, folder: Path) -> Iterator[Isolated]:
    """Start an engine with its data in a folder; all of it has ended when this is left."""
    host = f"unix://{folder}/docker.sock"
    plugin = folder / "docker/cli-plugins/docker-buildx"
    plugin.parent.mkdir(parents=True)
    plugin.symlink_to(version.buildx)
    (folder / "state").mkdir()
    (folder / "bin").mkdir()
    (folder / "bin/runc").symlink_to(version.runc)
    programs = (folder / "bin", version.root / "usr/sbin", version.root / "usr/bin")
    path = os.pathsep.join([*map(str, programs), apt.system_path()])
    settings = {"features": {"containerd-snapshotter": True}} if version.containerd else {}
    (folder / "daemon.json").write_text(json.dumps(settings), "utf-8")
    own = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
    with (folder / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(*own, "sh", "-c", _RUN, "sh", str(version.root / "usr/sbin/dockerd")),
                *("--host", host),
                *("--data-root", str(folder / "data")),
                *("--exec-root", str(folder / "exec")),
                *("--pidfile", str(folder / "dockerd.pid")),
                *("--config-file", str(folder / "daemon.json")),
            ],
            cwd="/",
            env={"PATH": path, "HOME": str(folder)},
            start_new_session=True,
            stderr=log,
            stdin=subprocess.DEVNULL,
            stdout=log,
        )
    try:
        engine = _answering(process, host, folder, version)
        yield Isolated(
            engine=engine,
            process=process.pid,
            folder=folder,
            containerd=version.containerd,
        )
    finally:
        _end(process)


def _answering(
    process: subprocess.Popen[bytes], host: str, folder: Path, version: Version
) -> connection.Engine:
    candidate = connection.Engine(host=host, version="", private=False)
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        if isinstance(found := connection.probe(candidate), connection.Engine):
            return found
        time.sleep(0.1)
    log = (folder / "dockerd.log").read_text("utf-8", "replace")
    raise AssertionError(f"the engine of {version.release} does not start: {log[-3000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the engine to end; its namespace's first process takes all others with it."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if process.poll() is None:
        for child in children.read_text("ascii").split():
            os.kill(int(child), signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
