"""Tiny models for all tasks, made by an image itself in one start of a container."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from builder.contract.media import picture, sound
from builder.engine.containers import created, failed, put, refused, start, text
from builder.serve.model_archive import TAR_END, TINY_MODEL, tar_header

if TYPE_CHECKING:
    import docker

__all__ = ["MEDIA", "Made", "Makings", "make"]

SECONDS = 600
PROGRAMS = ("tiny_model.py", "tiny_tasks.py", "tiny_media.py")
MEDIA: Mapping[str, bytes] = {"picture.png": picture(), "sound.wav": sound()}
"""Files that every model has in its folder."""

_TARGET = "/tmp/models"  # noqa: S108 - a path of the container


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A model as a model.tar.gz, and its configuration."""

    path: Path
    config: Mapping[str, Any]

    @property
    def labels(self) -> list[str]:
        """The labels that it knows, in the order of their ids."""
        return [self.config["id2label"][key] for key in sorted(self.config["id2label"], key=int)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Makings:
    """The models by name, why others could not be made, and the programs that the image has."""

    models: Mapping[str, Made]
    failed: Mapping[str, str]
    programs: frozenset[str]


def make(
    client: docker.DockerClient, image: str, folder: Path, only: Sequence[str] = ()
) -> Makings:
    """Make all models that the image can make, or `only` some, into `folder`.

    ContainerError if that cannot be tried.
    """
    files = {name: TINY_MODEL.with_name(name).read_bytes() for name in PROGRAMS} | dict(MEDIA)
    tar = b"".join(_file(name, content) for name, content in files.items()) + TAR_END
    command = ["python", "/tmp/tiny_tasks.py", _TARGET, *MEDIA]  # noqa: S108
    with created(
        client,
        image,
        # Not through the image's entrypoint: the official images' never ends.
        entrypoint=command,
        network_mode="none",
        environment={"TRANSFORMERS_OFFLINE": "1", "TINY_TASKS": " ".join(only)},
    ) as container:
        put(container, "/tmp", tar)  # noqa: S108
        start(container, image)
        with refused(f"{image} makes no models in {SECONDS} s", "see what keeps it"):
            code = container.wait(timeout=SECONDS)["StatusCode"]
        if code != 0:
            raise failed(f"{image} could not make models for the tasks", container)
        report = json.loads(text(container.logs(stdout=True, stderr=False)).splitlines()[-1])
        packed = b"".join(container.get_archive(_TARGET)[0])
    return Makings(
        models=_unpack(packed, folder),
        failed=report["failed"],
        programs=frozenset(report["programs"]),
    )


def _unpack(packed: bytes, folder: Path) -> dict[str, Made]:
    """Write every model of a tar into the folder, by name."""
    models = {}
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if not file or not member.name.endswith(".tar.gz"):
                continue
            path = folder / PurePosixPath(member.name).name
            path.write_bytes(file.read())
            models[path.name.removesuffix(".tar.gz")] = Made(path=path, config=_config(path))
    return models


def _config(path: Path) -> Mapping[str, Any]:
    with tarfile.open(path) as archive:
        file = archive.extractfile("config.json")
        config: Mapping[str, Any] = json.load(file) if file else {}
        return config


def _file(name: str, content: bytes) -> bytes:
    return tar_header(name, len(content)) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
