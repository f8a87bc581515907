"""Runs of the examples that use the SageMaker SDK, cut off from all but this machine."""

from __future__ import annotations

import fcntl
import json
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from builder.engine import connection as engines

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
OFFLINE = Path(__file__).with_name("sagemaker_offline.py")
NETWORK = "sagemaker-local"
SECONDS = 600


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalMode:
    """What a run of an example needs: a folder for all its files, an engine, a Compose.

    Others may use local mode on the same engine at the same time.
    """

    folder: Path
    engine: engines.Engine
    client: docker.DockerClient
    path: str
    before: frozenset[str]
    """The ids of local mode's network before the run: one, or none."""
    python: str = sys.executable
    """That of an environment that has the SDK."""

    def run(self, example: str, *arguments: str) -> dict[str, Any]:
        """Run an example that does its work; what it printed last."""
        result = self.result(example, *arguments)
        assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
        said: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
        return said

    def result(self, example: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run an example, on a free port. Nothing may be left in its temporary folder."""
        result = offline(
            self.folder,
            EXAMPLES / example,
            *(*arguments, "--port", str(free_port())),
            environment=self.environment(),
            python=self.python,
        )
        assert refused(self.folder) == []
        assert list((self.folder / "tmp").iterdir()) == []
        return result

    def environment(self) -> dict[str, str]:
        """The variables that lead to the engine and to Compose."""
        return {**self.engine.environment(), "PATH": self.path}

    def containers(self) -> list[Any]:
        """Containers, stopped ones too, that have a part of the folder mounted."""
        return [
            container
            for container in self.client.containers.list(all=True, ignore_removed=True)
            if any(str(self.folder) in mount.get("Source", "") for mount in mounts(container))
        ]

    def networks(self) -> list[Any]:
        """Local mode's network, if it came with the run and nobody else has a container on it."""
        return [
            network
            for network in networks(self.client)
            if network.id not in self.before
            if not self.client.containers.list(
                all=True, ignore_removed=True, filters={"network": str(network.id)}
            )
        ]

    def check_gone(self) -> None:
        """Nothing that local mode made is left on the engine."""
        assert self.containers() == []
        deadline = time.monotonic() + 10
        # Somebody else's run is without a container for a moment when it begins and ends.
        while self.networks() and time.monotonic() < deadline:
            time.sleep(0.5)
        assert self.networks() == []

    def check_clean(self, said: dict[str, Any], jobs: int) -> None:
        """Every container ended by itself when it was asked to, and none is left."""
        assert list(said["exit_codes"].values()) == [0] * jobs
        self.check_gone()


def networks(client: docker.DockerClient) -> list[Any]:
    """Local mode's network on an engine, if it is there."""
    return list(client.networks.list(filters={"name": f"^{NETWORK}$"}))


def mounts(container: Any) -> Sequence[dict[str, Any]]:
    found: Sequence[dict[str, Any]] = container.attrs.get("Mounts", [])
    return found


def offline(
    folder: Path,
    script: Path,
    *arguments: str,
    environment: dict[str, str],
    python: str = sys.executable,
) -> subprocess.CompletedProcess[str]:
    """Run a script that can reach this machine only, and knows no account of the user's."""
    for name in ("home", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    # Through a proxy on loopback a request would get away unseen.
    ours = {
        name: value
        for name, value in environment.items()
        if not name.upper().startswith(("AWS_", "SAGEMAKER_")) and "PROXY" not in name.upper()
    }
    return subprocess.run(
        [python, str(OFFLINE), str(folder / "refused"), str(script), *arguments],
        cwd=folder,
        env={**ours, "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


def refused(folder: Path) -> list[str]:
    """The hosts beyond this machine that the script wanted to reach."""
    return (folder / "refused").read_text("utf-8").splitlines()


@contextmanager
def turn(client: docker.DockerClient) -> Iterator[None]:
    """One run at a time on an engine: local mode has but one network there, by its name."""
    name = re.sub(r"\W", "", client.info()["ID"])
    with Path(tempfile.gettempdir(), f"dlc-local-mode-{name}").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def free_port() -> int:
    """A port that nobody listens on, and that the kernel gives to nobody meanwhile."""
    first, *_ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()
    while True:
        port = random.randrange(10_000, int(first))  # noqa: S311 - nobody need be surprised
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def compose_plugin(engine: engines.Engine) -> str:
    """The file of the Docker command line's plugin; nothing where there is none."""
    plugins = '{{range .ClientInfo.Plugins}}{{if eq .Name "compose"}}{{.Path}}{{end}}{{end}}'
    return subprocess.run(
        ["docker", "info", "--format", plugins],
        env=engine.environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
