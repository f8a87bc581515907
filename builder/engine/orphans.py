"""Containers that outlived the process that made them, told by a label that names that process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from builder.util.owner import alive

if TYPE_CHECKING:
    import docker

__all__ = ["OWNER_LABEL", "remove_orphans"]

OWNER_LABEL = "dlc.owner"
TRIES = 10
POLL_SECONDS = 0.2


def remove_orphans(client: docker.DockerClient) -> None:
    """Remove the containers of processes of this machine that have ended.

    Those of other machines, which may share the engine, are theirs to remove. Raises
    docker.errors.DockerException.
    """
    for each in client.api.containers(all=True, filters={"label": OWNER_LABEL}):
        owner = str((each.get("Labels") or {}).get(OWNER_LABEL, ""))
        if not alive(owner):
            _remove(client, each["Id"])


def _remove(client: docker.DockerClient, container: str) -> None:
    """Remove a container, which the engine may still be making, or another run be removing."""
    import docker.errors

    for _ in range(TRIES):
        try:
            client.api.remove_container(container, force=True, v=True)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError:
            time.sleep(POLL_SECONDS)
        else:
            return
