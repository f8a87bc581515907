"""`dlc init` with the wheel: a team's repository builds with it alone.

That its files are ours is shown by tests/unit/project/test_wheel.py.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import docker.errors
import pytest

from tests.images.conftest import INFERENCE, OWN, Image
from tests.images.printed import printed
from tests.wheel import run, unpacked_wheel

pytestmark = pytest.mark.images


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked_wheel(tmp_path_factory.mktemp("unpacked"))


@pytest.fixture(scope="module")
def started(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository as `dlc init` writes it, rendered: its locks come with it."""
    folder = tmp_path_factory.mktemp("started")
    for arguments in (["init"], ["render"]):
        ran = run(unpacked, folder, *arguments)
        assert ran.returncode == 0, ran.stderr
    return folder


def test_it_builds(unpacked: Path, started: Path, inference_image: Image) -> None:
    """Ours is built, and of the same: it is up to date."""
    built = run(unpacked, started, "build", "--format", "json", environment=OWN)
    assert built.returncode == 0, built.stderr
    [told] = json.loads(built.stdout)
    assert told["image"] == INFERENCE
    assert told["id"] == inference_image.inspected["Id"]
    assert told["seconds"] is None


@pytest.mark.slow
def test_a_step_of_its_own(unpacked: Path, started: Path, inference_image: Image) -> None:
    """One layer more, on those of ours."""
    (started / "templates" / "files").mkdir()
    (started / "templates" / "files" / "team.cfg").write_text("a = b\n")
    template = started / "templates" / "Dockerfile.j2"
    template.write_text(
        '{% extends "dlc/Dockerfile.j2" %}\n{% block labels %}\n{{ super() }}\n'
        "COPY team.cfg /opt/team/\n{% endblock %}\n"
    )
    before, client = inference_image.inspected, inference_image.client
    built = run(unpacked, started, "build", "--format", "json", environment=OWN)
    # The name belongs to the image that the other tests ask.
    client.images.get(before["Id"]).tag(*inference_image.tag.split(":"))
    assert built.returncode == 0, built.stderr
    [told] = json.loads(built.stdout)
    layers = client.images.get(told["id"]).attrs["RootFS"]["Layers"]
    assert layers[:-1] == before["RootFS"]["Layers"]
    output = printed(client, told["id"], ["cat", "/opt/team/team.cfg"])
    assert output == b"a = b\n"
    with suppress(docker.errors.APIError):  # the engine may be shared, and somebody use it
        client.images.remove(told["id"])
