"""A private engine of a test's own, which it may kill.

It is started by dlc itself, in network, mount and process namespaces that end with the test, so
that nothing of it reaches the machine or stays there.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import docker

__all__ = ["OwnEngine", "own_engine"]

CLONE_NEWNET = 0x40000000
START_SECONDS = 20
# The shell reaps what is left without a parent; an engine of the machine's is out of sight.
_FIRST = """\
ip link set lo up
for socket in /run/docker.sock /var/run/docker.sock; do
    [ ! -S $socket ] || mount --bind /dev/null $socket
done
echo ready
while :; do sleep 3600; done
"""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnEngine:
    """Where the engine is; `process` is the one whose namespaces it has."""

    folder: Path
    process: int

    @property
    def host(self) -> str:
        """The engine's address."""
        return f"unix://{self.folder}/state/engine/docker.sock"

    @property
    def environment(self) -> dict[str, str]:
        """What makes dlc use a state, and so a private engine, of its own."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "BUILDX_"))}
        return {
            **kept,
            "DOCKER_CONFIG": str(self.folder / "docker"),
            "DLC_STATE": str(self.folder / "state"),
        }

    def command(self, *arguments: str) -> list[str]:
        """The command line that runs dlc beside the engine."""
        names = ("net", "mount", "pid")
        enter = ["nsenter", f"--target={self.process}", *(f"--{name}" for name in names), "--"]
        return [*enter, sys.executable, "-m", "builder", *arguments]

    def dlc(
        self, *arguments: str, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run dlc beside the engine."""
        return subprocess.run(
            self.command(*arguments),
            cwd="/",
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def client(self) -> docker.DockerClient:
        """A client of the engine, which must run."""
        return docker.DockerClient(base_url=self.host, timeout=300)

    def processes(self) -> dict[int, list[str]]:
        """The command lines of all that runs in the namespaces."""
        here = Path(f"/proc/{self.process}/ns/pid").readlink()
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if (entry / "ns/pid").readlink() == here:
                    found[int(entry.name)] = (entry / "cmdline").read_text("utf-8").split("\0")
            except OSError:  # it has just ended
                continue
        return {pid: words for pid, words in found.items() if words[0]}

    def kill(self) -> bool:
        """Kill the engine, as it is; whether it ran."""
        for pid, words in self.processes().items():
            if Path(words[0]).name == "dockerd" and self.host in words:
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    def within(self, make: Callable[[], T]) -> T:
        """What a function gives in the engine's network; sockets that it makes stay there."""
        made: list[T] = []

        def enter() -> None:
            handle = os.open(f"/proc/{self.process}/ns/net", os.O_RDONLY)
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(handle, CLONE_NEWNET):  # of this thread alone
                    raise OSError(ctypes.get_errno(), "setns")
            finally:
                os.close(handle)
            made.append(make())

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        return made[0]


@contextmanager
def own_engine(folder: Path) -> Iterator[OwnEngine]:
    """Namespaces for an engine with its state in a folder; dlc starts it when it is asked to."""
    own = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
    with subprocess.Popen(
        [*own, "sh", "-c", _FIRST],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            [child] = children.read_text("ascii").split()
            yield OwnEngine(folder=folder, process=int(child))
        finally:
            process.kill()
            _wait_for_mounts(folder)


def _wait_for_mounts(folder: Path) -> None:
    """Wait until the kernel has ended all processes, whose files are about to be removed."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        left = [p for p in Path("/proc").glob("[0-9]*/cmdline") if str(folder) in _words(p)]
        if not left:
            return
        time.sleep(0.1)


def _words(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
