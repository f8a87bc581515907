"""What images share when they are built in one call, and what `dlc layers` tells of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import docker
import pytest

from builder.layers import from_engine
from tests.images.conftest import dlc

pytestmark = pytest.mark.images

# Two releases on one framework, with a package in each layer that takes no time.
MATRIX = """\
tools: {base: debian12, uv: 0.13.8, build: [setuptools, wheel]}
bases:
  debian12:
    image: IMAGE
    bootstrap: bookworm
    end_of_life: 2028-06-30
    jdk: openjdk-17-jdk-headless
    pythons: {3.11: [python3.11]}
frameworks:
  pytorch:
    9.9.9:
      locked: 2025-01-02
      python: 3.11
      base: debian12
      builds: {cpu: {requires: [numpy]}}
libraries:
  small: {requires: ["packaging=={datasets}"]}
releases:
  - transformers: 1.0.0
    datasets: 24.1.0
    date: 2025-01-02
    training: {libraries: small, pytorch: [{version: 9.9.9, devices: [cpu], origin: own}]}
  - transformers: 2.0.0
    datasets: 24.2.0
    date: 2025-03-04
    training: {libraries: small, pytorch: [{version: 9.9.9, devices: [cpu], origin: own}]}
"""
LAYERS = ("framework", "libraries")
NAMES = [
    f"huggingface-pytorch-training:9.9.9-transformers{version}-cpu-py311-debian12"
    for version in ("1.0.0", "2.0.0")
]


@pytest.fixture(scope="module")
def both(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Both rows, locked and built in one call; the folder of their matrix."""
    folder = tmp_path_factory.mktemp("both")
    ours = Path(__file__).parents[2] / "matrix.yaml"
    lines = ours.read_text("utf-8").splitlines()
    [image] = [line.split("image: ")[1] for line in lines if "image: debian:bookworm@" in line]
    (folder / "matrix.yaml").write_text(MATRIX.replace("IMAGE", image), "utf-8")
    # A first step that no cache has, so that both really build what they share.
    stage = folder / "templates/stages/python.j2"
    stage.parent.mkdir(parents=True)
    python = ours.parent / "templates/stages/python.j2"
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
    for name in NAMES:
        client.images.remove(name, force=True)


@pytest.mark.usefixtures("both")
def test_releases_on_one_framework_share_its_layer(client: docker.DockerClient) -> None:
    first, second = (
        {layer.step: layer.digest for layer in from_engine(client, name).layers} for name in NAMES
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
    assert users["RUN /mnt/install.sh /opt/dlc/framework.lock"] == NAMES
    assert told["total"] == sum(image["size"] for image in told["images"])
    assert told["unique"] < told["total"]
    ElementTree.parse(picture)  # noqa: S314 - we wrote it
    table = dlc(*matrix, "layers")
    assert "2 of 2" in table.stdout
    assert table.stdout.rstrip().splitlines()[-1].startswith("2 images: ")
