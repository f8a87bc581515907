"""Programs of ours that run inside images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from builder.engine.containers import created, failed, put, refused, start, text
from builder.serve.model_archive import TAR_END, TINY_MODEL, tar_header

if TYPE_CHECKING:
    import docker

__all__ = ["FILES", "REPORT_SECONDS", "run_files"]

FILES = TINY_MODEL.parent

REPORT_SECONDS = 300


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
        tar = b"".join(_file(FILES / name) for name in names) + TAR_END
        put(container, "/tmp", tar)  # noqa: S108 - a path of the container
        start(container, image)
        with refused(f"{image}: {command} did not end in {seconds} s", "see what keeps it"):
            code = container.wait(timeout=seconds)["StatusCode"]
        if code != 0:
            raise failed(f"{image}: {command} ended with code {code}", container)
        return text(container.logs(stdout=True, stderr=False))


def _file(path: Path) -> bytes:
    content = path.read_bytes()
    return tar_header(path.name, len(content)) + content + bytes(-len(content) % 512)
