"""Pushes through what goes wrong: they end well, or clearly, and the next one goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from builder.registry.auth import Login
from builder.registry.client import RegistryClient
from tests.images.pushing import Workshop, wait_for
from tests.images.registries import (
    Fault,
    Proxy,
    Registry,
    held,
    noise,
    running,
    serving,
    write_login,
)
from tests.images.token_server import Tokens

pytestmark = [pytest.mark.images, pytest.mark.slow]

REPOSITORY = "team/huggingface-pytorch-training"
LAYER = 2_000_000
SENDS = "^(PATCH|PUT) .*/blobs/uploads/"  # what has bytes of a layer


@pytest.fixture
def shop(client: docker.DockerClient, tmp_path: Path) -> Iterator[Workshop]:
    folder = tmp_path / "shop"
    folder.mkdir()
    workshop = Workshop(client=client, folder=folder)
    yield workshop
    workshop.remove()


@pytest.fixture
def registry(registry_program: str, tmp_path: Path) -> Iterator[Registry]:
    folder = tmp_path / "registry"
    folder.mkdir()
    with running(Registry(program=registry_program, folder=folder)) as found:
        yield found


@pytest.fixture
def proxy(registry: Registry) -> Iterator[Proxy]:
    with serving(Proxy(registry)) as found:
        yield found


def expect_all(shop: Workshop, registry: Registry, host: str) -> None:
    """The registry holds what is recorded, whole, and nothing else."""
    reader = RegistryClient(registry.host, logins=lambda _: None, pause=0.05)
    row = shop.released()[f"{host}/{REPOSITORY}:{shop.old.tag}"]
    assert held(reader, REPOSITORY) == dict.fromkeys(row["tags"], row["digest"])
    assert len(row["tags"]) == 5


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(pattern=SENDS, how="drop", bytes=500_000, times=2)],
        [Fault(pattern="^(HEAD|GET) .*/manifests/", how="500", times=2)],
        [Fault(pattern=SENDS, how="503"), Fault(pattern="^POST ", how="500")],
        [Fault(pattern="/manifests/", how="429", times=2, headers={"Retry-After": "1"})],
        [Fault(pattern="^PUT .*/manifests/key-", how="500")],
        [Fault(pattern="^PUT .*/manifests/9", how="lost", times=2)],
        [Fault(pattern=SENDS, how="slow", bytes=1_000_000, times=9)],
    ],
    ids=["drop", "500", "503", "429", "manifest", "lost", "slow"],
)
def test_fault_that_passes(
    shop: Workshop, registry: Registry, proxy: Proxy, faults: list[Fault]
) -> None:
    shop.image(shop.old, [noise(LAYER)])
    proxy.faults = faults
    result = shop.push(shop.old.name, registry=f"{proxy.host}/team")
    assert result.returncode == 0, result.stderr
    assert all(fault.times == 0 or fault.how == "slow" for fault in faults)
    expect_all(shop, registry, proxy.host)


def test_fault_that_stays_is_told_and_the_next_push_goes_on(
    shop: Workshop, registry: Registry, proxy: Proxy
) -> None:
    shop.image(shop.old, [noise(LAYER)])
    proxy.faults = [Fault(pattern="^PUT .*/manifests/9", how="500", times=1000)]
    result = shop.push(shop.old.name, registry=f"{proxy.host}/team")
    assert (result.returncode, result.stdout) == (14, "")
    assert re.search(f"dlc: {proxy.host}/team/{shop.old.name}: .*500 internal", result.stderr)
    assert not (shop.folder / "releases").exists()
    before = proxy.uploaded.total()

    proxy.faults = []
    again = shop.push(shop.old.name, registry=f"{proxy.host}/team")
    assert again.returncode == 0, again.stderr
    assert proxy.uploaded.total() == before > LAYER
    expect_all(shop, registry, proxy.host)


def test_registry_killed_in_mid_push(shop: Workshop, registry: Registry, proxy: Proxy) -> None:
    shop.image(shop.old, [noise(LAYER), noise(LAYER)])
    proxy.faults = [Fault(pattern=SENDS, how="slow", bytes=1_000_000, times=2)]
    with shop.begin(shop.old.name, registry=f"{proxy.host}/team") as process:
        wait_for(lambda: proxy.uploaded.total() > LAYER // 2)
        registry.kill()
        time.sleep(2)
        registry.start()
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert f"{proxy.host}/{REPOSITORY}:{shop.old.tag}@" in out
    expect_all(shop, registry, proxy.host)


def test_interrupted_push_goes_on(shop: Workshop, registry: Registry, proxy: Proxy) -> None:
    shop.image(shop.old, [noise(LAYER), noise(LAYER)])
    shop.image(shop.new, [noise(1000)])
    proxy.faults = [Fault(pattern=SENDS, how="slow", bytes=400_000, times=2)]
    with shop.begin(shop.old.name, registry=f"{proxy.host}/team") as process:
        wait_for(lambda: proxy.uploaded.total() > LAYER // 4)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert err.endswith("dlc: interrupted\n")
    assert not shop.client.images.list(f"{proxy.host}/{REPOSITORY}")

    assert shop.push(shop.old.name, registry=f"{proxy.host}/team").returncode == 0
    expect_all(shop, registry, proxy.host)


@pytest.mark.skipif(os.geteuid() != 0, reason="a disk of a size needs root")
def test_registry_whose_disk_is_full(shop: Workshop, registry: Registry, proxy: Proxy) -> None:
    shop.image(shop.old, [noise(LAYER), noise(LAYER)])
    disk = registry.folder / "data"
    disk.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=True)
    try:
        full = shop.push(shop.old.name, "--patience", "1", registry=f"{proxy.host}/team")
        assert full.returncode == 14
        assert "has room, then push again" in full.stderr
        subprocess.run(["mount", "-o", "remount,size=30m", disk], check=True)
        again = shop.push(shop.old.name, registry=f"{proxy.host}/team")
        assert again.returncode == 0, again.stderr
        expect_all(shop, registry, proxy.host)
    finally:
        registry.kill()
        subprocess.run(["umount", disk], check=True)


def test_token_that_runs_out_in_mid_push(
    shop: Workshop, registry_program: str, tmp_path: Path
) -> None:
    folder = tmp_path / "registry"
    folder.mkdir()
    shop.image(shop.old, [noise(LAYER), noise(LAYER)])
    with serving(Tokens(folder)) as tokens:
        registry = Registry(program=registry_program, folder=folder, auth=tokens.auth)
        with running(registry), serving(Proxy(registry)) as proxy:
            tokens.seconds = 3
            write_login(tmp_path, proxy.host)
            path = f"{tmp_path}:{os.environ['PATH']}"
            shop.environment |= {"DOCKER_CONFIG": str(tmp_path), "PATH": path}
            proxy.faults = [Fault(pattern=SENDS, how="slow", bytes=400_000, times=2)]
            result = shop.push(shop.old.name, registry=f"{proxy.host}/team")
            assert result.returncode == 0, result.stderr
            assert tokens.given > 3
            assert "secret" not in result.stderr
            tokens.seconds = 300
            reader = RegistryClient(
                registry.host, logins=lambda _: Login(user="builder", password="secret"), pause=0.1
            )
            row = shop.released()[f"{proxy.host}/{REPOSITORY}:{shop.old.tag}"]
            assert held(reader, REPOSITORY) == dict.fromkeys(row["tags"], row["digest"])
