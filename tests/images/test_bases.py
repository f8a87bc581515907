"""`dlc bases` with a real engine and a real registry on loopback."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.images.conftest import ROOT, dlc
from tests.images.registries import Registry
from tests.images.test_push import registry

pytestmark = pytest.mark.images

__all__ = ["registry"]  # a fixture

EMPTY_TAR = bytes(1024)


@pytest.fixture
def repository(client: docker.DockerClient, registry: Registry) -> Iterator[str]:
    """A repository of the registry, whose images leave the engine again."""
    name = f"{registry.host}/dlc-tests/base"
    yield name
    for image in client.images.list(name):
        client.images.remove(str(image.id), force=True)  # by all its names


def push(client: docker.DockerClient, repository: str, label: str) -> str:
    """Push an image that is nothing but a label; its digest in the registry."""
    client.api.import_image_from_data(
        EMPTY_TAR, repository=repository, tag="1", changes=[f"LABEL number={label}"]
    )
    client.images.push(repository, tag="1")
    return str(client.images.get_registry_data(f"{repository}:1").id)


def bases(matrix: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return dlc("--matrix", str(matrix), "bases", "ubuntu18.04", *arguments, **environment)


def resolves(matrix: Path, **environment: str) -> str:
    result = bases(matrix, "--format", "json", **environment)
    assert result.returncode == 0, result.stderr
    [row] = json.loads(result.stdout)
    return str(row["resolves"])


def test_pin_that_resolves_and_pinning_anew(
    client: docker.DockerClient, repository: str, tmp_path: Path
) -> None:
    first = push(client, repository, "one")
    small = (ROOT / "tests" / "golden" / "matrix.yaml").read_text("utf-8")
    text = small.replace(f"ubuntu:18.04@sha256:{'b' * 64}", f"{repository}:1@{first}")
    assert text != small
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text(text, "utf-8")
    # Without an engine the registry is asked directly.
    nowhere = {"DOCKER_HOST": f"unix://{tmp_path}/no.sock"}
    assert resolves(matrix) == resolves(matrix, **nowhere) == "yes"
    assert bases(matrix, "--update").stdout.endswith("  unchanged\n")

    second = push(client, repository, "two")
    assert second != first
    for environment in ({}, nowhere):
        matrix.write_text(text, "utf-8")
        result = bases(matrix, "--update", **environment)
        assert result.returncode == 0, result.stderr
        assert result.stdout.endswith(f"  {first[7:19]} -> {second[7:19]}\n")
        assert matrix.read_text("utf-8") == text.replace(first, second)
        assert resolves(matrix, **environment) == "yes"

    lost = f"sha256:{'0' * 64}"
    matrix.write_text(text.replace(first, lost), "utf-8")
    assert resolves(matrix) == resolves(matrix, **nowhere) == "no: not found"
