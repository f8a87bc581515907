"""Programs of ours that run inside images, and what they tell."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from builder.engine.containers import created, failed, put, refused, start, text
from builder.serve.model_archive import TINY_MODEL, pack

if TYPE_CHECKING:
    import docker

__all__ = ["FILES", "run_files", "run_report"]

FILES = TINY_MODEL.parent

_REPORT_SECONDS = 300


def run_files(
    client: docker.DockerClient, image: str, names: Iterable[str], command: str, seconds: int
) -> str:
    """What a command with some of our files in /tmp prints, in a container without a network."""
    with created(
        client,
        image,
        entrypoint=["sh", "-c", command],
        network_mode="none",
        environment={"HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"},
    ) as container:
        files = {name: (FILES / name).read_bytes() for name in names}
        put(container, "/tmp", pack(files))  # noqa: S108 - a path of the container
        start(container, image)
        with refused(f"{image}: {command} did not end in {seconds} s", "see what keeps it"):
            code = container.wait(timeout=seconds)["StatusCode"]
        if code != 0:
            raise failed(f"{image}: {command} ended with code {code}", container)
        return text(container.logs(stdout=True, stderr=False))


def run_report(client: docker.DockerClient, image: str, program: str, *arguments: str) -> Any:
    """The JSON that one of our programs prints last; ContainerError if it does not even end."""
    command = shlex.join(["python", f"/tmp/{program}", *arguments])  # noqa: S108
    output = run_files(client, image, [program], command, _REPORT_SECONDS)
    return json.loads(output.splitlines()[-1])
