"""Small images with the names and labels of targets, for tests of pushing."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import docker.errors

from builder.engine.image import INPUTS_LABEL, KEY_LABEL
from builder.engine.namespace import labels, local_name
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from tests.images.conftest import dlc
from tests.images.registries import build_small
from tests.images.small_matrix import write_small_matrix

RELEASES = """\
releases:
  - transformers: 5.0.0
    datasets: 24.1.0
    date: 2025-01-02
    training: {libraries: small, pytorch: [{version: 9.9.7, devices: [cpu]}]}
    inference: {libraries: small, pytorch: [{version: 9.9.7, devices: [cpu]}]}
  - transformers: 5.1.0
    datasets: 24.2.0
    date: 2025-03-04
    training: {libraries: small, pytorch: [{version: 9.9.7, devices: [cpu]}]}
"""


@dataclass
class Workshop:
    """A matrix of its own, images of its targets, and the command that pushes them."""

    client: docker.DockerClient
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.matrix = write_small_matrix(self.folder)
        text = self.matrix.read_text("utf-8").replace("9.9.9", "9.9.7")
        self.matrix.write_text(text[: text.index("releases:")] + RELEASES, "utf-8")
        self.targets = load_targets(self.matrix)
        self.old, self.serving, self.new = self.targets

    def image(
        self,
        target: Target,
        layers: Sequence[bytes],
        *,
        key: str = "",
        inputs: str = "",
        files: Mapping[str, bytes] | None = None,
    ) -> str:
        """Build a target's image of nothing but these layers and files; its id."""
        said = key or hashlib.sha256(b"".join([target.name.encode(), *layers])).hexdigest()
        told = {
            **target.labels(),
            **labels(),
            KEY_LABEL: said,
            INPUTS_LABEL: inputs or f"Dockerfile={said[:16]} base=0123456789abcdef",
        }
        self.made.append(
            build_small(self.client, local_name(target.name), list(layers), told, files or {})
        )
        return self.made[-1]

    def push(
        self, *arguments: str, registry: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `dlc push`."""
        said = self.command(*arguments, registry=registry)
        return dlc(*said, **{**self.environment, **environment})

    def begin(self, *arguments: str, registry: str) -> subprocess.Popen[str]:
        """The same, while it runs."""
        command = [sys.executable, "-m", "builder", *self.command(*arguments, registry=registry)]
        return subprocess.Popen(
            command,
            cwd="/",
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def command(self, *arguments: str, registry: str) -> list[str]:
        """What is said to `dlc`."""
        return [
            *("--matrix", str(self.matrix), "push", *arguments, "--registry", registry),
            *("--releases", str(self.folder / "releases"), "--date", "2026-11-21"),
        ]

    def released(self) -> dict[str, Mapping[str, Any]]:
        """What is recorded, by image and tag."""
        text = (self.folder / "releases" / "2026-11-21.json").read_text("utf-8")
        return {f"{row['image']}:{row['tag']}": row for row in json.loads(text)["images"]}

    def remove(self) -> None:
        """Remove the images."""
        for image in reversed(self.made):
            with suppress(docker.errors.ImageNotFound):
                self.client.images.remove(image, force=True)


def wait_for(happened: Callable[[], bool]) -> None:
    """Up to half a minute."""
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)
