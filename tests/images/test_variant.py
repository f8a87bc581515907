"""A variant of one set of versions, built beside the other on a real engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import docker
import pytest

from builder.engine.namespace import local_name
from builder.matrix.target import Target
from tests.images.small_matrix import SmallMatrix

pytestmark = [pytest.mark.images, pytest.mark.slow]

ROW = "pytorch: [{version: 9.9.9, devices: [cpu], origin: own}]"
BOTH = (
    "pytorch: [{version: 9.9.9, devices: [cpu], origin: own}, "
    "{version: 9.9.9, devices: [cpu], origin: own, variant: lean, libraries: none, "
    "env: {TEAM: search}}]"
)
ASKED = (
    "import importlib.util, json, os; "
    "found = [importlib.util.find_spec(name) is not None "
    "for name in ('tiny_framework', 'tiny_library')]; "
    "print(json.dumps([*found, os.environ.get('TEAM')]))"
)


@pytest.fixture(scope="module")
def matrix(
    tmp_path_factory: pytest.TempPathFactory, write_small: Callable[[Path], SmallMatrix]
) -> SmallMatrix:
    """The small matrix, whose last release has a variant without the library."""
    found = write_small(tmp_path_factory.mktemp("variant"))
    before, row, after = found.path.read_text("utf-8").rpartition(ROW)
    assert row
    before = before.replace("\nlibraries:\n", "\nlibraries:\n  none: {requires: [setuptools]}\n")
    found.path.write_text(f"{before}{BOTH}{after}", "utf-8")
    return found


def asked(client: docker.DockerClient, target: Target) -> list[object]:
    """Whether the framework and the library are there, and the variable."""
    command = ["python", "-c", ASKED]
    name = local_name(target.name)
    out = client.containers.run(name, entrypoint=command, network_mode="none", remove=True)
    found: list[object] = json.loads(out)
    return found


def test_both_are_built_and_neither_is_the_other(
    matrix: SmallMatrix, client: docker.DockerClient
) -> None:
    plain, lean = matrix.targets[-2:]
    assert lean.name == f"{plain.name}-lean"
    for command in ("lock", "render", "build"):
        run = matrix.run(command, plain.name, lean.name)
        assert run.returncode == 0, run.stderr
    assert asked(client, plain) == [True, True, None]
    assert asked(client, lean) == [True, False, "search"]

    images = [client.images.get(local_name(each.name)) for each in (plain, lean)]
    labels = [image.labels for image in images]
    assert [each["org.opencontainers.image.version"] for each in labels] == [plain.tag, lean.tag]
    assert labels[0]["dlc.key"] != labels[1]["dlc.key"]
    # They share all layers up to the framework's.
    layers = [image.attrs["RootFS"]["Layers"] for image in images]
    shared = [one == other for one, other in zip(*layers, strict=False)].index(False)
    assert shared >= 3

    run = matrix.run("plan", plain.name, lean.name, "--format", "json")
    assert [row["state"] for row in json.loads(run.stdout)] == ["up to date"] * 2
