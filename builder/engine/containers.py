"""The life of a container: created, filled, started, heard and, whatever happens, removed.

What the engine refuses on the way is a ContainerError.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from builder.engine.failures import DISK_FULL, MAKE_ROOM, failure
from builder.engine.namespace import labels
from builder.engine.orphans import OWNER_LABEL, remove_orphans
from builder.errors import ContainerError
from builder.util.owner import owner

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

__all__ = ["created", "failed", "log", "put", "refused", "start", "text"]

LABELS = {"dlc.role": "serve"}

POLL_SECONDS = 0.2
LATE_SECONDS = 5.0
LOG_LINES = 30


@contextmanager
def created(client: docker.DockerClient, image: str, **options: Any) -> Iterator[Container]:
    """A container that is created, not started, and removed at the end with its volumes.

    Those that a killed process has left are removed first.
    """
    import docker.errors

    name = f"dlc-serve-{uuid.uuid4().hex[:12]}"
    try:
        with refused(f"no container of {image} can be made", "build or pull the image first"):
            remove_orphans(client)
            container = client.containers.create(
                image, name=name, labels={**LABELS, **labels(), OWNER_LABEL: owner()}, **options
            )
    except KeyboardInterrupt:
        remove_late(client, name)
        raise
    try:
        yield container
    finally:
        with suppress(docker.errors.NotFound):
            container.remove(force=True, v=True)


def remove_late(client: docker.DockerClient, name: str) -> None:
    """Remove a container that the engine may still be making, although nobody waits for it."""
    import docker.errors

    deadline = time.monotonic() + LATE_SECONDS
    while time.monotonic() < deadline:
        with suppress(docker.errors.NotFound):
            client.containers.get(name).remove(force=True, v=True)
            return
        time.sleep(POLL_SECONDS)


def start(container: Container, image: str) -> None:
    """ContainerError: the container does not start, for example because the port is taken."""
    with refused(f"no container of {image} can be started", "if the port is taken, choose another"):
        container.start()


def put(container: Container, path: str, tar: Any) -> None:
    """Unpack a tar, compressed or not, into a directory of the container."""
    remedy = "check that the model is whole and can be read, and that the engine has disk space"
    with refused(f"the model cannot be copied to {path} of the container", remedy):
        container.put_archive(path, tar)


def log(container: Container, tail: int = LOG_LINES) -> str:
    """The last lines that the container wrote, both streams."""
    return text(container.logs(tail=tail))


def failed(what: str, container: Container) -> ContainerError:
    """The error of a container that has ended and should not have ended so: what, and why.

    The reason is that memory or disk ran out, else the last line that it wrote, else its exit code.
    """
    import docker.errors

    written = ""
    with suppress(docker.errors.APIError):  # on a full disk the engine may have kept no log
        written = log(container)
    container.reload()
    state = container.attrs["State"]
    if DISK_FULL.search(written):
        reason, remedy = "the disk is full", f"{MAKE_ROOM}; its log ends:\n{written}"
    elif state["OOMKilled"]:
        reason, remedy = "the memory ran out", "run it where there is more memory"
    elif written:
        reason, remedy = written.rpartition("\n")[2], f"fix what its log says:\n{written}"
    else:
        reason = f"it ended with exit code {state['ExitCode']} and wrote nothing"
        remedy = "check that the engine has disk space and memory left"
    return ContainerError(f"{what}: {reason}", remedy=remedy)


def text(output: Any) -> str:
    """What a program wrote, as a text."""
    return bytes(output).decode("utf-8", "replace").strip()


@contextmanager
def refused(message: str, remedy: str) -> Iterator[None]:
    """Turn what the engine refuses, and a lost connection, into a ContainerError."""
    import docker.errors

    try:
        yield
    except (docker.errors.APIError, OSError) as error:
        raise failure(error, message, kind=ContainerError, remedy=remedy) from error
