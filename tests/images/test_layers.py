"""What images share when they are built in one call, and what `dlc layers` tells of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import docker
import pytest

from builder.layers import from_engine
from builder.tagging import remove_image
from tests.images.conftest import ROOT, SMALL_NAMES, dlc, write_small_matrix

pytestmark = pytest.mark.images

LAYERS = ("framework", "libraries")


@pytest.fixture(scope="module")
def both(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Both rows, locked and built in one call; the folder of their matrix."""
    folder = tmp_path_factory.mktemp("both")
    write_small_matrix(folder)
    # A first step that no cache has, so that both really build what they share.
    stage = folder / "templates/stages/python.j2"
    stage.parent.mkdir(parents=True)
    python = ROOT / "templates/stages/python.j2"
    stage.write_text(python.read_text("utf-8") + f"ENV FOLDER={folder}\n", "utf-8")
    for command in (["lock"], ["build", "--jobs", "2"]):
        options = [
            "--matrix",
            str(folder / "matrix.yaml"),
            "--templates",
            str(folder / "templates"),
        ]
        result = dlc(*options, *command)
        assert result.returncode == 0, result.stderr
    yield folder
    for name in SMALL_NAMES:
        remove_image(client, name)


@pytest.mark.usefixtures("both")
def test_releases_on_one_framework_share_its_layer(client: docker.DockerClient) -> None:
    first, second = (
        {layer.step: layer.digest for layer in from_engine(client, name).layers}
        for name in SMALL_NAMES
    )
    assert first.keys() == second.keys()
    framework, libraries = (f"RUN /mnt/install.sh /opt/dlc/{name}.lock" for name in LAYERS)
    steps = list(first)
    below = steps[: steps.index(framework) + 1]
    assert [first[step] for step in below] == [second[step] for step in below]
    assert first[libraries] != second[libraries]


def test_layers_tells_who_shares_what(both: Path) -> None:
    picture = both / "layers.svg"
    matrix = ["--matrix", str(both / "matrix.yaml")]
    result = dlc(*matrix, "layers", "--format", "json", "--picture", str(picture))
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    users = {layer["step"]: layer["users"] for layer in told["layers"]}
    assert users["RUN /mnt/install.sh /opt/dlc/framework.lock"] == SMALL_NAMES
    assert told["total"] == sum(image["size"] for image in told["images"])
    assert told["unique"] < told["total"]
    ElementTree.parse(picture)  # noqa: S314 - we wrote it
    table = dlc(*matrix, "layers")
    assert "2 of 2" in table.stdout
    assert table.stdout.rstrip().splitlines()[-1].startswith("2 images: ")
