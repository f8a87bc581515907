"""The names of a built image: its target's, and one by its build key.

The key's tag travels with the image, so that whoever has it under any name need not build it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from builder.engine.image import KEY_LABEL, key_tag
from builder.engine.namespace import local_name

if TYPE_CHECKING:
    import docker

    from builder.matrix.target import Target

__all__ = ["name_image", "remove_image"]


def name_image(
    client: docker.DockerClient,
    image_id: str,
    target: Target,
    key: str,
    *,
    keeps: Callable[[str], bool] = lambda _key: False,
    superseded: Iterable[str] = (),
) -> None:
    """Give an image its target's name, and the tag of its build key if it has one.

    The image that had the name loses the tag of its key, so that nothing keeps it alive, unless
    somebody else `keeps` it; those with `superseded` keys lose theirs. Raises
    docker.errors.APIError.
    """
    import docker.errors

    repository = local_name(target.repository)
    with suppress(docker.errors.ImageNotFound):
        before = client.images.get(f"{repository}:{target.tag}")
        old = before.labels.get(KEY_LABEL, "")
        former = f"{repository}:{key_tag(old)}"
        if old and old != key and former in before.tags and not keeps(old):
            client.images.remove(former, noprune=True)
    if key:
        # First, so that an interruption leaves an image that the next build takes.
        client.api.tag(image_id, repository, key_tag(key))
    client.api.tag(image_id, repository, target.tag)
    for old in superseded:
        with suppress(docker.errors.APIError):  # it is gone, or a container has it
            client.images.remove(f"{repository}:{key_tag(old)}", noprune=True)


def remove_image(client: docker.DockerClient, name: str) -> None:
    """Remove an image by all its names. Raises docker.errors.APIError."""
    client.images.remove(str(client.images.get(name).id), force=True)
