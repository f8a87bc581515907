"""Pushes images to any registry that speaks the v2 protocol."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from builder.errors import PushError
from builder.target import STAND_IN_LABEL

if TYPE_CHECKING:
    import docker
    from docker.models.images import Image

    from builder.target import Target

__all__ = ["parse_registry", "push"]

# As Docker reads names: without a dot, a port or "localhost" the first word is no host, and the
# image would go to Docker Hub (distribution/reference, splitDockerDomain).
_REGISTRY = re.compile(
    r"(?P<host>(?=localhost(?:[:/]|$)|[^/]*[.:])[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d{1,5})?)"
    r"(?P<prefix>(?:/[a-z0-9]+(?:[._-][a-z0-9]+)*)*)/?"
)


def parse_registry(text: str) -> str:
    """HOST[:PORT][/PREFIX] without a closing slash; PushError if it is anything else."""
    match = _REGISTRY.fullmatch(text)
    if not match:
        raise PushError(
            f"{text!r} is not a registry",
            remedy="write HOST[:PORT]/PREFIX without https://, like registry.example.com/team; a "
            "host without a dot needs its port",
        )
    return match["host"] + match["prefix"]


def push(client: docker.DockerClient, target: Target, registry: str) -> tuple[str, str]:
    """Push a target's image; its reference there and its digest, as the registry has it.

    Credentials are those of the Docker configuration. PushError if there is no such image, if the
    registry refuses it, or if what it then serves under the tag is not what was pushed.
    """
    import docker.errors

    repository = f"{parse_registry(registry)}/{target.repository}"
    reference = f"{repository}:{target.tag}"
    try:
        image = client.images.get(target.name)
    except docker.errors.ImageNotFound as error:
        raise PushError(
            f"there is no image {target.name}", remedy=f"run `dlc build {target.name}`"
        ) from error
    if what := image.labels.get(STAND_IN_LABEL):
        raise PushError(
            f"{target.name} is an image for tests, with a stand-in for {what}",
            remedy="build the real one where its base and its wheels can be reached",
        )
    before = _local(client, reference)
    try:
        image.tag(repository, target.tag)
        try:
            digest = _stream(client, repository, target.tag)
            served = client.images.get_registry_data(reference).id
        finally:
            if before is None:
                client.images.remove(reference, noprune=True)
            else:  # the user's own tag: as it was
                before.tag(repository, target.tag)
    except docker.errors.APIError as error:
        raise PushError(f"{reference}: {error.explanation}", remedy="see the registry") from error
    if served != digest:
        raise PushError(
            f"{reference} was pushed as {digest}, but the registry serves {served}",
            remedy="somebody else pushed the same tag: push again, or agree on who does",
        )
    return reference, digest


def _local(client: docker.DockerClient, reference: str) -> Image | None:
    import docker.errors

    try:
        return client.images.get(reference)
    except docker.errors.ImageNotFound:
        return None


def _stream(client: docker.DockerClient, repository: str, tag: str) -> str:
    digest = ""
    for event in client.images.push(repository, tag=tag, stream=True, decode=True):
        if "error" in event:
            raise PushError(
                f"{repository}:{tag}: {event['error'].strip()}",
                remedy="check that the registry runs, and that `docker login` was done for it",
            )
        digest = event.get("aux", {}).get("Digest", digest)
    if not digest:
        raise PushError(f"{repository}:{tag}: the engine told no digest", remedy="push again")
    return digest
