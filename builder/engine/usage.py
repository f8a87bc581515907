"""What an engine holds on its disk, and how it comes to hold less."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterable, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.engine.failures import engine_errors
from builder.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker

    from builder.engine.connection import Engine

__all__ = ["Freed", "Usage", "free_bytes", "prune", "usage"]

# Adding up what layers and caches take can keep a large engine busy.
_SECONDS = 600
# An image has no name between its export and its tag; what is older than this waits for none.
_MINIMUM_AGE = "1m"


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What an engine holds, in bytes and numbers.

    `image_bytes` counts shared layers once, `cache_bytes` only what no image shares. `free` is
    that of the data root's disk, None if the disk is not this machine's.
    """

    images: int
    image_bytes: int
    untagged_images: int
    containers: int
    running_containers: int
    container_bytes: int
    volumes: int
    cache_records: int
    cache_bytes: int
    cache_reclaimable: int
    free: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Freed:
    """What `prune` removed, and the bytes that the engine says this freed."""

    images: int
    image_bytes: int
    cache_records: int
    cache_bytes: int

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.image_bytes + self.cache_bytes


def usage(engine: Engine) -> Usage:
    """Ask an engine what it holds; EngineError if it does not say."""
    with _client(engine) as client:
        disk, free = client.df(), free_bytes(engine, client.info())
        images, containers = _rows(disk, "Images"), _rows(disk, "Containers")
        cache = [row for row in _rows(disk, "BuildCache") if not row.get("Shared")]
        return Usage(
            images=len(images),
            image_bytes=int(disk.get("LayersSize") or 0),
            untagged_images=sum(_is_untagged(row) for row in images),
            containers=len(containers),
            running_containers=sum(row.get("State") == "running" for row in containers),
            container_bytes=_sum(containers, "SizeRw"),
            volumes=len(_rows(disk, "Volumes")),
            cache_records=len(cache),
            cache_bytes=_sum(cache, "Size"),
            cache_reclaimable=_sum((row for row in cache if not row.get("InUse")), "Size"),
            free=free,
        )


def free_bytes(engine: Engine, info: Mapping[str, Any]) -> int | None:
    """Free bytes on the disk of an engine's data, None if that disk is not this machine's.

    `info` is the engine's own. A socket may lead into a virtual machine or out of a container,
    whose engine has another host name.
    """
    root = Path(str(info.get("DockerRootDir") or "/nowhere"))
    here = engine.host.startswith("unix://") and info.get("Name") == socket.gethostname()
    try:
        return shutil.disk_usage(root).free if here else None
    except OSError:
        return None


def prune(engine: Engine, *, keep_storage: int) -> Freed:
    """Remove images without a name, and build cache until it takes no more than `keep_storage`.

    Images of containers stay, and cache that a tagged image shares, which takes nothing. What was
    used least lately goes first. EngineError if the engine refuses.
    """
    with _client(engine) as client:
        filters: Any = {"dangling": True, "until": _MINIMUM_AGE}  # the SDK's types know but some
        untagged = {image["Id"] for image in client.api.images(filters={"dangling": True})}
        images = client.images.prune(filters=filters)
        deleted = {row.get("Deleted") for row in images.get("ImagesDeleted") or ()}  # layers too
        cache = client.api.prune_builds(keep_storage=keep_storage)
        return Freed(
            images=len(untagged & deleted),
            image_bytes=int(images.get("SpaceReclaimed") or 0),
            cache_records=len(cache.get("CachesDeleted") or ()),
            cache_bytes=int(cache.get("SpaceReclaimed") or 0),
        )


@contextmanager
def _client(engine: Engine) -> Iterator[docker.DockerClient]:
    """A client with patience; what the engine refuses or garbles is an EngineError."""
    try:
        with engine_errors(), closing(engine.client(timeout=_SECONDS)) as client:
            yield client
    except (AttributeError, TypeError, ValueError) as error:
        raise EngineError(
            f"{engine.host} reports its disk usage in another form than Docker Engine",
            remedy="point DOCKER_HOST at Docker Engine 20.10 or newer",
        ) from error


def _rows(usage: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return list(usage.get(name) or ())


def _sum(rows: Iterable[Mapping[str, Any]], name: str) -> int:
    return sum(max(int(row.get(name) or 0), 0) for row in rows)


def _is_untagged(row: Mapping[str, Any]) -> bool:
    """Whether an image has no name; an engine before 25 says `<none>:<none>`."""
    return not [name for name in row.get("RepoTags") or () if not name.startswith("<none>")]
