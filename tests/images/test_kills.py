"""What a kill leaves: no wrong tag, no secret, and nothing that the next run does not put right.

The moments are random, but the same in every run; DLC_TEST_KILLS says how many there are.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import docker.errors
import pytest

from builder.engine.image import KEY_LABEL
from builder.engine.namespace import NAMESPACE_LABEL, local_name
from builder.registry.client import RegistryClient
from tests.images.conftest import OWN
from tests.images.pushing import Workshop
from tests.images.registries import Registry, held, noise, running
from tests.images.small_matrix import SMALL_NAMES, SmallMatrix

pytestmark = [pytest.mark.images, pytest.mark.slow, pytest.mark.timeout(7200)]

KILLS = int(os.environ.get("DLC_TEST_KILLS", "50"))
NAME = SMALL_NAMES[0]
SECRET = "hush-hush-hush"  # noqa: S105


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The folder for temporary files of all that a test starts."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def killed(command: list[str], environment: dict[str, str], after: float) -> bool:
    """Start a command and kill it after so many seconds; whether it had not ended before."""
    with subprocess.Popen(
        command,
        cwd="/",
        env={**os.environ, **OWN, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.kill()
            return True
    return False


def on_disk(folder: Path) -> str:
    """All that files below a folder hold, as far as they stay there."""
    found = []
    for path in folder.rglob("*"):
        try:
            found.append(path.read_text("utf-8", "replace") if path.is_file() else "")
        except FileNotFoundError:
            continue
    return "".join(found)


def containers(client: docker.DockerClient, namespace: str) -> list[str]:
    said = f"{NAMESPACE_LABEL}={namespace}"
    return [each["Id"] for each in client.api.containers(all=True, filters={"label": said})]


def test_killed_builds(
    write_small: Callable[[Path], SmallMatrix],
    client: docker.DockerClient,
    own_namespace: str,
    tmp_path: Path,
    temporary: Path,
) -> None:
    folder = tmp_path / "matrix"
    folder.mkdir()
    small = write_small(folder)
    text = small.path.read_text("utf-8")
    (tmp_path / "netrc").write_text(f"machine host.example login me password {SECRET}\n", "utf-8")
    with (folder / "mirrors.yaml").open("a", encoding="utf-8") as file:
        file.write(f"netrc: {tmp_path / 'netrc'}\n")
    environment = {**small.index.environment, "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "builder", "--matrix", str(small.path), "build", NAME]

    def change(number: int) -> None:
        entry = "small: {requires:"
        changed = f"small: {{env: {{ROUND: '{number}'}}, requires:"
        small.path.write_text(text.replace(entry, changed, 1), "utf-8")

    def keys() -> list[str]:
        try:
            return [client.images.get(local_name(NAME)).labels[KEY_LABEL]]
        except docker.errors.ImageNotFound:
            return []

    change(0)
    assert small.run("lock", NAME).returncode == 0
    done = small.run("build", NAME, **environment)
    assert done.returncode == 0, done.stderr
    change(-1)
    begin = time.monotonic()
    assert small.run("build", NAME, **environment).returncode == 0
    seconds = time.monotonic() - begin
    moments, count = random.Random(1), 0  # noqa: S311
    for number in range(1, KILLS + 1):
        change(number)
        before = keys()
        in_time = killed(command, environment, moments.uniform(0, seconds))
        count += in_time
        assert SECRET not in on_disk(temporary)
        between = keys()
        again = small.run("build", NAME, **environment)
        assert again.returncode == 0, f"{number}: {again.stderr}"
        [now] = keys()
        assert between in ([now], before), "a tag of nothing that was built"
        variables = client.images.get(local_name(NAME)).attrs["Config"]["Env"]
        assert f"ROUND={number}" in variables
        assert list(temporary.iterdir()) == []
        assert containers(client, own_namespace) == []
    print(f"{KILLS} builds, {count} killed before they ended")  # noqa: T201 pytest -rP shows it
    assert count


@pytest.fixture
def shop(client: docker.DockerClient, tmp_path: Path) -> Iterator[Workshop]:
    folder = tmp_path / "shop"
    folder.mkdir()
    workshop = Workshop(client=client, folder=folder)
    yield workshop
    workshop.remove()


def test_killed_pushes(
    shop: Workshop, registry_program: str, tmp_path: Path, temporary: Path
) -> None:
    shop.image(shop.old, [noise(3_000_000), noise(2_000_000), noise(100_000)])
    place = tmp_path / "registry"
    place.mkdir()
    moments, count = random.Random(2), 0  # noqa: S311
    with running(Registry(program=registry_program, folder=place)) as registry:
        reader = RegistryClient(registry.host)
        seconds = 0.0
        for number in range(KILLS + 1):
            where = f"{registry.host}/team{number}"
            # One that has compressed nothing, and knows of no layer.
            environment = {"TMPDIR": str(temporary), "DLC_STATE": str(tmp_path / f"state{number}")}
            repository = f"team{number}/{shop.old.repository}"
            words = shop.command(shop.old.name, registry=where)
            if number:  # the first one is whole
                command = [sys.executable, "-m", "builder", *words]
                count += killed(command, environment, moments.uniform(0, seconds))
                held(reader, repository)
            begin = time.monotonic()
            again = shop.push(shop.old.name, registry=where, **environment)
            seconds = seconds or time.monotonic() - begin
            assert again.returncode == 0, f"{number}: {again.stderr}"
            row = shop.released()[f"{where}/{shop.old.name}"]
            assert held(reader, repository) == dict.fromkeys(row["tags"], row["digest"])
            assert list(temporary.iterdir()) == []
        names = [name for image in shop.client.images.list() for name in image.tags]
        assert not [name for name in names if name.startswith(registry.host)]
    print(f"{KILLS} pushes, {count} killed before they ended")  # noqa: T201 pytest -rP shows it
    assert count
