"""An engine elsewhere, by OpenSSH: what `ssh` of this machine logs in to, on the loopback."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from builder.engine import connection as engines
from builder.engine.apt import InstallError
from builder.engine.namespace import local_name
from builder.errors import EngineError
from tests.images.conftest import INFERENCE, dlc
from tests.images.small_matrix import SMALL_NAMES, SmallMatrix
from tests.images.ssh_server import HOST, ssh_server, unpacked_server

pytestmark = [pytest.mark.images, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def path(engine: engines.Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PATH whose `ssh` reaches the engine's machine."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a server namespaces")
    if not (engine.host.startswith("unix://") and shutil.which("ssh")):
        pytest.skip("there is no engine's socket, or no ssh, on this machine")
    try:
        sshd = unpacked_server(tmp_path_factory.mktemp("sshd"))
    except InstallError as error:
        pytest.skip(f"OpenSSH's server cannot be had: {error}")
    folder = tmp_path_factory.mktemp("ssh")
    with ssh_server(sshd, folder, engine.host.removeprefix("unix://")) as path:
        yield path


def test_builds_by_ssh(
    path: str,
    write_small: Callable[[Path], SmallMatrix],
    client: docker.DockerClient,
    tmp_path: Path,
) -> None:
    small, name = write_small(tmp_path), SMALL_NAMES[0]
    far = {"DOCKER_HOST": f"ssh://{HOST}", "PATH": path}
    assert small.run("lock", name).returncode == 0
    found = json.loads(dlc("engine", "status", "--format", "json", **far).stdout)
    assert (found["running"], found["host"]) == (True, far["DOCKER_HOST"])
    built = small.run("build", name, **far)
    assert built.returncode == 0, built.stderr
    assert client.images.get(local_name(name))
    planned = small.run("plan", name, "--format", "json", **far)
    assert planned.returncode == 0, planned.stderr
    assert "up to date" in planned.stdout
    listed = small.run("inventory", name, "--format", "json", **far)
    assert listed.returncode == 0, listed.stderr
    assert "tiny-framework" in listed.stdout


def test_another_host_key(path: str) -> None:
    """Is not asked to build anything, and the message says what ssh does."""
    far = {"DOCKER_HOST": f"ssh://{HOST}", "PATH": path}
    known = Path(path.partition(":")[0]).parent / "known"
    right = known.read_text("utf-8")
    known.write_text(right.replace("AAAA", "AAAB", 1), "utf-8")
    try:
        done = dlc("build", INFERENCE, "--again", **far)
    finally:
        known.write_text(right, "utf-8")
    assert done.returncode == EngineError.exit_code, done.stderr
    assert "Traceback" not in done.stderr
    assert "verification failed" in done.stderr, done.stderr
