"""Pushed images are signed and verified by real cosigns of two versions; others are refused."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from builder.registry.client import RegistryClient
from tests.images.conftest import dlc, unpacked_cosign
from tests.images.pushing import Workshop
from tests.images.registries import Registry, running
from tests.images.test_push_oci import FILES

pytestmark = [pytest.mark.images, pytest.mark.timeout(600)]

LAYERS = [os.urandom(1000)]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("trixie", id="cosign 2.5"),
        pytest.param("forky", id="cosign 3", marks=pytest.mark.slow),
    ],
)
def cosign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of cosign as a release of Debian has it."""
    return unpacked_cosign(request.param, tmp_path_factory)


@pytest.fixture
def registry(registry_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    with running(Registry(program=registry_program, folder=folder)) as found:
        yield found


@pytest.fixture
def workshop(
    client: docker.DockerClient,
    cosign: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Workshop]:
    """A matrix, its small images, two pairs of keys, and cosign on PATH."""
    monkeypatch.setenv("PATH", f"{cosign}:{os.environ['PATH']}")
    monkeypatch.setenv("COSIGN_PASSWORD", "secret")
    for name in ("ours", "other"):
        command = ["cosign", "generate-key-pair", "--output-key-prefix", str(tmp_path / name)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    made = Workshop(client=client, folder=tmp_path)
    try:
        yield made
    finally:
        made.remove()


def verify(workshop: Workshop, place: str, key: str) -> subprocess.CompletedProcess[str]:
    where = ("--registry", place, "--key", str(workshop.folder / key))
    return dlc(
        *("--matrix", str(workshop.matrix), "verify", workshop.old.name, *where),
        *("--format", "json"),
    )


@pytest.mark.parametrize("profile", [pytest.param("sagemaker", marks=pytest.mark.slow), "oci"])
def test_signed_verified_and_refused(
    profile: str, workshop: Workshop, registry: Registry, tmp_path: Path
) -> None:
    target = workshop.old
    place = f"{registry.host}/{profile}"
    workshop.image(target, LAYERS, files=FILES)
    sign = ("--sign", str(tmp_path / "ours.key"), "--profile", profile)

    pushed = workshop.push(target.name, "--profile", profile, registry=place)
    assert pushed.returncode == 0, pushed.stderr
    unsigned = verify(workshop, place, "ours.pub")
    assert unsigned.returncode == 20, unsigned.stderr
    assert "is not signed by" in unsigned.stderr
    assert "Traceback" not in unsigned.stderr

    # The same again signs what is there, and once is enough.
    for _ in range(2):
        pushed = workshop.push(target.name, *sign, registry=place)
        assert pushed.returncode == 0, pushed.stderr
    [row] = json.loads(verify(workshop, place, "ours.pub").stdout)
    assert row["image"] == pushed.stdout.strip()
    assert row["signed"] is True
    assert row["statements"] == ["SPDX", "provenance"]
    assert verify(workshop, place, "other.pub").returncode == 20

    # Another image under the same tag.
    name = row["image"].partition("/")[2].partition("@")[0].rpartition(":")[0]
    client = RegistryClient(registry.host)
    workshop.image(target, [b"changed"], files=FILES)
    changed = workshop.push(target.name, "--profile", profile, registry=place)
    assert changed.returncode == 0, changed.stderr
    refused = verify(workshop, place, "ours.pub")
    assert refused.returncode == 20
    moved = client.manifest(name, target.tag)
    assert moved is not None
    assert moved.digest in refused.stderr
    assert row["image"].partition("@")[2] != moved.digest


def test_a_key_whose_password_is_not_said(
    workshop: Workshop, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COSIGN_PASSWORD")
    workshop.image(workshop.old, LAYERS)
    sign = ("--sign", str(tmp_path / "ours.key"))
    pushed = workshop.push(workshop.old.name, *sign, registry=f"{registry.host}/locked")
    assert pushed.returncode == 14
    assert "COSIGN_PASSWORD" in pushed.stderr
    assert "Traceback" not in pushed.stderr
    # People's tags name only what is signed.
    repository = f"locked/{workshop.old.repository}"
    assert all(tag.startswith("key-") for tag in RegistryClient(registry.host).tags(repository))
