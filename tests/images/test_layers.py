"""What images share when they are built in one call, and what `dlc layers` tells of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import docker
import pytest

from builder.engine.layers import from_engine
from builder.engine.namespace import local_name
from builder.engine.tagging import remove_image
from tests.images.conftest import ROOT
from tests.images.small_matrix import SMALL_NAMES, SmallMatrix

pytestmark = pytest.mark.images

LAYERS = ("framework", "libraries")


@pytest.fixture(scope="module")
def both(
    client: docker.DockerClient,
    tmp_path_factory: pytest.TempPathFactory,
    write_small: Callable[[Path], SmallMatrix],
) -> Iterator[SmallMatrix]:
    """Both rows, locked and built in one call."""
    folder = tmp_path_factory.mktemp("both")
    small = write_small(folder)
    # A step that no cache has, so that both really build what they share.
    stage = folder / "templates/stages/framework.j2"
    stage.parent.mkdir(parents=True)
    framework = (ROOT / "templates/stages/framework.j2").read_text("utf-8")
    stage.write_text(f"ENV FOLDER={folder}\n{framework}", "utf-8")
    for command in (["lock"], ["build", "--all", "--jobs", "2"]):
        result = small.run(*command)
        assert result.returncode == 0, result.stderr
    yield small
    for name in SMALL_NAMES:
        remove_image(client, local_name(name))


@pytest.mark.usefixtures("both")
def test_releases_on_one_framework_share_its_layer(client: docker.DockerClient) -> None:
    first, second = (
        {layer.step: layer.digest for layer in from_engine(client, local_name(name)).layers}
        for name in SMALL_NAMES
    )
    assert first.keys() == second.keys()
    framework, libraries = (f"RUN /mnt/install.sh /opt/dlc/{name}.lock" for name in LAYERS)
    steps = list(first)
    below = steps[: steps.index(framework) + 1]
    assert [first[step] for step in below] == [second[step] for step in below]
    assert first[libraries] != second[libraries]


def test_layers_tells_who_shares_what(both: SmallMatrix) -> None:
    picture = both.folder / "layers.svg"
    result = both.run("layers", "--format", "json", "--picture", str(picture))
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    users = {layer["step"]: layer["users"] for layer in told["layers"]}
    assert users["RUN /mnt/install.sh /opt/dlc/framework.lock"] == SMALL_NAMES
    assert told["total"] == sum(image["size"] for image in told["images"])
    assert told["unique"] < told["total"]
    ElementTree.parse(picture)  # noqa: S314 - we wrote it
    table = both.run("layers")
    assert "2 of 2" in table.stdout
    assert table.stdout.rstrip().splitlines()[-1].startswith("2 images: ")
