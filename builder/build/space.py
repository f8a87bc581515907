"""Whether builds fit on the engine's disk, estimated before they start.

An image takes its size unpacked, and its wheels about as much again in the cache that they are
installed from. Where an image on the same framework layer is there, or comes before in the same
call, half an image remains: the libraries, twice. By the rows of docs/proof.json that is rather too
little than too much.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING

from builder.engine.failures import engine_errors
from builder.engine.image import inputs_of
from builder.engine.usage import free_bytes
from builder.errors import BuildError
from builder.util.text import counted, human_size

if TYPE_CHECKING:
    from builder.build.build_times import BuildTime
    from builder.build.plan import Inputs
    from builder.engine.connection import Engine
    from builder.engine.image import ImageInfo
    from builder.matrix.target import Target

__all__ = ["expected_bytes", "expected_size", "require_space"]

# No row of docs/proof.json is smaller than 1.1 GB.
_SMALLEST = 1_000_000_000


def require_space(
    engine: Engine,
    builds: Iterable[Inputs],
    images: Iterable[ImageInfo],
    past: Mapping[str, BuildTime],
) -> None:
    """BuildError if the engine's disk has less free than `builds` take.

    `images` are those of the engine, `past` the sizes of earlier builds. Nothing is required of a
    disk that is not this machine's.
    """
    builds = list(builds)
    if not builds:
        return
    with engine_errors(kind=BuildError), closing(engine.client()) as client:
        info = client.info()
    free, needed = free_bytes(engine, info), expected_bytes(builds, images, past)
    if free is None or needed <= free:
        return
    what = builds[0].target.name if len(builds) == 1 else counted(len(builds), "target")
    raise BuildError(
        f"not enough disk space to build {what}: about {human_size(needed)} needed, "
        f"{human_size(free)} free in {info['DockerRootDir']}",
        remedy="free some with `dlc engine prune`, or build all the same: --skip-space-check",
    )


def expected_bytes(
    builds: Iterable[Inputs], images: Iterable[ImageInfo], past: Mapping[str, BuildTime]
) -> int:
    """What builds add to the engine's disk, about."""
    known = {_framework(image.inputs) for image in images}
    total = 0
    for each in builds:
        size, framework = expected_size(each.target, past), _framework(inputs_of(each.labels()))
        total += size // 2 if framework in known else 2 * size
        known.add(framework)
    return total


def expected_size(target: Target, past: Mapping[str, BuildTime]) -> int:
    """An image's size, unpacked: its last one, or the median of its repository and device.

    Without either it is that of the smallest there are.
    """
    if target.name in past:
        return past[target.name].size
    repository, device = f"{target.repository}:", f"-{target.device}-"
    near = [
        each.size
        for name, each in past.items()
        if name.startswith(repository) and device in name.removeprefix(repository)
    ]
    return round(statistics.median(near)) if near else _SMALLEST


def _framework(digests: Mapping[str, str]) -> tuple[str, str]:
    """What tells framework layers apart, of the digests of what an image is made from."""
    return digests.get("base", ""), digests.get("framework.lock", "")
