"""All files of an image, and an engine without images."""

from __future__ import annotations

import hashlib
import tarfile
from typing import Any

import docker

from builder.engine.export import BLOCK, Chunks

__all__ = ["contents", "pull", "remove_all"]

# What the engine itself puts into a container.
_ENGINES = {".dockerenv", "dev", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf"}


def contents(client: docker.DockerClient, image: str) -> dict[str, list[Any]]:
    """What each path of an image is: kind, mode, owner, target, bytes and their digest."""
    found: dict[str, list[Any]] = {}
    container = client.containers.create(image)
    try:
        blocks: Any = container.export(chunk_size=BLOCK)  # the SDK's types have text there
        stream = Chunks(blocks)
        with tarfile.open(fileobj=stream, mode="r|", bufsize=BLOCK) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isreg() else None
                content = hashlib.sha256(file.read()).hexdigest() if file else ""
                # Engines before 25 put the kind of a file into its mode, too.
                row = [member.mode & 0o7777, member.uid, member.gid, member.size, member.linkname]
                found[member.name] = [member.type.decode(), *row, content]
    finally:
        container.remove()
    return {
        name: row
        for name, row in found.items()
        if name not in _ENGINES and not name.startswith("dev/")
    }


def remove_all(client: docker.DockerClient) -> None:
    """Remove all images and the whole build cache."""
    for image in client.images.list(all=True):
        client.images.remove(str(image.id), force=True)
    client.api.prune_builds(all=True)


def pull(client: docker.DockerClient, name: str) -> str:
    """Pull an image by digest; why the engine could not, which the SDK itself does not tell."""
    repository, digest = name.split("@")
    told = client.api.pull(repository, tag=digest, stream=True, decode=True)
    return next((str(each["error"]) for each in told if "error" in each), "")
