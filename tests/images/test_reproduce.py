"""A second build of a target with no step from a cache, on a real engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import docker
import pytest

from builder.engine.namespace import local_name
from builder.engine.tagging import remove_image
from tests.images.small_matrix import SMALL_NAMES, SmallMatrix

pytestmark = [pytest.mark.images, pytest.mark.slow]

NAME = SMALL_NAMES[0]
# What no two builds have the same.
TEMPLATE = """\
RUN cat /proc/sys/kernel/random/uuid > /opt/dlc/chance
{% include "dlc/stages/labels.j2" %}
"""


def images(client: docker.DockerClient) -> set[str]:
    return {str(image.id) for image in client.images.list(all=True)}


def test_what_differs_is_told(
    client: docker.DockerClient, write_small: Callable[[Path], SmallMatrix], tmp_path: Path
) -> None:
    small = write_small(tmp_path)
    for command in (("lock",), ("build", NAME)):
        result = small.run(*command)
        assert result.returncode == 0, result.stderr
    try:
        there = client.images.get(local_name(NAME)).id
        before = images(client)
        result = small.run("verify", NAME, "--format", "json")
        assert result.returncode == 0, result.stdout
        [document] = json.loads(result.stdout)
        assert document["same"]
        assert document["layers"]["all"] > 5
        first, second = document["ids"]
        assert first == there
        # An engine before 23 dates images by itself, and leaves a time on /etc.
        assert (first == second) == document["created"] == (document["differences"] == [])
        assert images(client) == before, "the second one is gone"

        stage = tmp_path / "templates/stages/labels.j2"
        stage.parent.mkdir(parents=True)
        stage.write_text(TEMPLATE, "utf-8")
        result = small.run("verify", NAME)
        assert result.returncode == 13
        assert "that is up to date" in result.stderr
        assert small.run("build", NAME).returncode == 0
        result = small.run("verify", NAME, "--format", "json")
        assert result.returncode == 7
        [document] = json.loads(result.stdout)
        step = "RUN cat /proc/sys/kernel/random/uuid > /opt/dlc/chance"
        for row in (
            {"what": "layer", "name": step, "differs": "digest"},
            {"what": "file", "name": "/opt/dlc/chance", "differs": "content"},
        ):
            assert row in document["differences"]
    finally:
        remove_image(client, local_name(NAME))
