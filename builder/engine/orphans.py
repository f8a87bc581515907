"""Containers that outlived the process that made them, told by a label that names that process."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from builder.util.owner import alive

if TYPE_CHECKING:
    import docker

__all__ = ["OWNER_LABEL", "remove_orphans"]

OWNER_LABEL = "dlc.owner"


def remove_orphans(client: docker.DockerClient) -> None:
    """Remove the containers of processes of this machine that have ended.

    Those of other machines, which may share the engine, are theirs to remove. Raises
    docker.errors.DockerException.
    """
    import docker.errors

    for each in client.api.containers(all=True, filters={"label": OWNER_LABEL}):
        owner = str((each.get("Labels") or {}).get(OWNER_LABEL, ""))
        if not alive(owner):
            with suppress(docker.errors.APIError):  # another run removes it just now
                client.api.remove_container(each["Id"], force=True, v=True)
