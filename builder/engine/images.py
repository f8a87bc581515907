"""The images that an engine has, by name: one of them, or all in one question."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

from builder.engine import connection as engines
from builder.engine.image import ImageInfo
from builder.engine.namespace import NAMESPACE_LABEL, local_name, prefix, visible
from builder.engine.unpacked import known_size
from builder.errors import ContainerError, EngineError
from builder.util.state import state_directory

if TYPE_CHECKING:
    import docker

    from builder.engine.connection import Engine
    from builder.matrix.target import Target

__all__ = ["find_image", "images_here", "images_of"]

# What an engine before 25 says of an image without a name: one that failed a check, perhaps.
_NONE = "<none>:<none>"


def images_of(engine: Engine) -> dict[str, ImageInfo]:
    """Every tagged image of the namespace, under each of its names without the namespace.

    The SDK's errors are passed on.

    EngineError if what answers is no engine.
    """
    # Without a version in the path; what is read of the answer is the same in all of them.
    with closing(engine.client(unasked=True)) as client:
        answer = client.api.get(f"{client.api.base_url}/images/json")
        engines.check_headers(answer.headers, host=engine.host)
        answer.raise_for_status()
        # Not client.images.list, which asks for every image once more.
        try:
            return {
                name.removeprefix(prefix()): ImageInfo(
                    id=each["Id"],
                    # What containerd's store tells here has its compressed bytes in it.
                    size=known_size(each["Id"]) or each["Size"],
                    labels=each["Labels"] or {},
                )
                for each in answer.json()
                for name in each["RepoTags"] or ()
                if name != _NONE
                if visible(name, (each["Labels"] or {}).get(NAMESPACE_LABEL, ""))
            }
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise EngineError(
                f"{engine.host} does not list its images as an engine does",
                remedy="point DOCKER_HOST at Docker Engine 20.10 or newer",
            ) from error


def images_here(*, up: Callable[[], Engine] | None = None) -> dict[str, ImageInfo]:
    """The images of the engine that `connection.find` finds, with nothing else asked of it.

    A private engine that was used and does not run is started by `up`; without that it is an
    EngineError, as its images are not known. None without an engine; EngineError as in `find`.
    """
    import docker.errors
    import requests

    for candidate, named_by in engines.candidates():
        if not engines.listens(candidate):
            if named_by:
                break
            continue
        try:
            return images_of(candidate)
        except (docker.errors.DockerException, requests.RequestException, OSError):
            break
    found = engines.find()  # which says what is wrong with the one that does not answer
    if found is None and (state_directory() / "engine" / "data").is_dir():
        if up is None:
            raise EngineError(
                "the private Docker Engine does not run, so its images are not known",
                remedy="start it: dlc engine up",
            )
        found = up()
    return images_of(found) if found else {}


def find_image(client: docker.DockerClient, target: Target, image: str | None = None) -> str:
    """The name of a target's image, or another's; ContainerError if the engine has it not."""
    import docker.errors

    remedy = f"pull {image}" if image else f"run `dlc build {target.name}`"
    image = image or local_name(target.name)
    try:
        client.images.get(image)
    except docker.errors.ImageNotFound as error:
        raise ContainerError(f"there is no image {image}", remedy=remedy) from error
    return image
