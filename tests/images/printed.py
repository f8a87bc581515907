"""What a command in a container prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import docker

__all__ = ["printed"]


def printed(client: docker.DockerClient, image: str, command: Sequence[str], **how: Any) -> bytes:
    """The standard output of a command in a container of an image, which is removed.

    Read once the container has ended: docker-py's own `run` follows the log, and the engine
    at times ends such a stream before the first line of a container that is soon over.
    """
    container = client.containers.run(image, list(command), detach=True, **how)
    try:
        code = container.wait(timeout=300)["StatusCode"]
        assert code == 0, container.logs().decode()
        output: bytes = container.logs(stdout=True, stderr=False)
        return output
    finally:
        container.remove(force=True)
