"""Containers on a network of their own, which has no way out.

What stands in for a service of the internet is a container of the image under test, under the
service's own name: so nothing else is needed, and the engine may be on another machine.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from builder.engine.containers import LABELS, created, log, put, refused, start, text
from builder.engine.namespace import labels
from builder.errors import ContainerError
from builder.serve.model_archive import pack

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

__all__ = ["lines", "neighbour", "network"]

# Without it, packets leave with an address that nobody outside answers; published ports still work.
NO_WAY_OUT = {"com.docker.network.bridge.enable_ip_masquerade": "false"}

START_SECONDS = 60
POLL_SECONDS = 0.1


@contextmanager
def network(client: docker.DockerClient) -> Iterator[str]:
    """The name of a new network, which is removed at the end; ContainerError if there can be none.

    Its containers reach each other by name, and nothing else.
    """
    import docker.errors

    name = f"dlc-test-{uuid.uuid4().hex[:12]}"
    try:
        with refused("no network can be made", "see `dlc engine status`"):
            client.networks.create(
                name, driver="bridge", options=NO_WAY_OUT, labels={**LABELS, **labels()}
            )
        yield name
    finally:
        with suppress(docker.errors.NotFound):
            client.networks.get(name).remove()


@contextmanager
def neighbour(
    client: docker.DockerClient,
    image: str,
    network: str,
    *,
    names: Sequence[str],
    command: Sequence[str],
    files: Mapping[str, bytes],
) -> Iterator[Container]:
    """A container with files, by their paths, that runs a command and goes by names on a network.

    It is there once it has written its first line. ContainerError if it ends before.
    """
    config = {network: client.api.create_endpoint_config(aliases=list(names))}
    with created(
        client,
        image,
        entrypoint=list(command),
        network=network,
        networking_config=config,
        environment={"PYTHONUNBUFFERED": "1"},
    ) as container:
        put(container, "/", pack(files))
        start(container, image)
        deadline = time.monotonic() + START_SECONDS
        while not container.logs(tail=1):
            container.reload()
            if container.status not in {"created", "running"} or time.monotonic() > deadline:
                raise ContainerError(
                    f"{names[0]} does not start in a container of {image}",
                    remedy=f"fix what its log says:\n{log(container)}",
                )
            time.sleep(POLL_SECONDS)
        yield container


def lines(container: Container) -> list[dict[str, Any]]:
    """The lines of JSON that a container has written."""
    output = text(container.logs(stdout=True, stderr=False))
    return [json.loads(line) for line in output.splitlines()]
