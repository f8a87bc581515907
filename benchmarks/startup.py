"""The Debian 12 inference image from its start to its first answer, beside the toolkit's own start.

The others have the same packages: once with bytecode as ours has it, once without any. They are
started in turn with the same tiny model, and the medians compared: of the time until the first
answer, and of the processors' time until then, which says more on a busy machine.
"""

from __future__ import annotations

import io
import os
import statistics
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.engine.containers import log, refused
from builder.engine.namespace import labels, local_name
from builder.errors import ContainerError
from builder.serve.run import run
from builder.serve.server import QUESTION, Server
from builder.util.console import say

if TYPE_CHECKING:
    import docker

    from tests.own_namespace import Shared

__all__ = ["OTHERS", "TAGS", "TARGET", "answered", "build", "first_answer", "measure"]

DOCKERFILE = Path(__file__).parent / "dockerfiles" / "serve.Dockerfile"
TARGET = "huggingface-pytorch-inference:2.13.0-transformers5.23.0-cpu-py311-debian12"
ROUNDS = 5
ANSWER_SECONDS = 300
OTHERS: Mapping[str, Mapping[str, str]] = {
    "toolkit's serve": {"BYTECODE": "yes"},
    "the same, no bytecode": {},
}
TAGS = {
    "toolkit's serve": "dlc-bench:serve-bytecode",
    "the same, no bytecode": "dlc-bench:serve-plain",
}


def measure(shared: Shared) -> None:
    """Start all in turn, and print medians and ratios; DLC_BENCH_IMAGE names another of ours."""
    ours = os.environ.get("DLC_BENCH_IMAGE", TARGET)
    images = {"ours": ours} | {name: local_name(tag) for name, tag in TAGS.items()}
    with closing(shared.engine.client(timeout=600)) as client:
        for name, arguments in OTHERS.items():
            build(client, images[name], {"IMAGE": ours, **arguments})
        rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in images}
        for number in range(ROUNDS + 1):
            for name, found in rounds.items():
                found.append(first_answer(client, images[name]))
                wall, cpu = found[-1]
                say(f"round {number} of {ROUNDS}: {name} {wall:.1f} s, CPU {cpu:.1f} s")
    # The first round has read the image from the disk; it does not count.
    medians = {
        name: [statistics.median(column) for column in zip(*found[1:], strict=True)]
        for name, found in rounds.items()
    }
    for name, (wall, cpu) in medians.items():
        ratios = [mine / other for mine, other in zip(medians["ours"], (wall, cpu), strict=True)]
        print(
            f"{name:24} first answer {wall:6.1f} s  ours / it {ratios[0]:.2f}"
            f"   CPU until then {cpu:6.1f} s  ours / it {ratios[1]:.2f}"
        )


def first_answer(client: docker.DockerClient, image: str) -> tuple[float, float]:
    """Seconds from a container's start to its first answer, and those of the processors in it.

    ContainerError: no answer in time.
    """
    with run(client, image) as server:
        wall = answered(server)
        stats: Any = server.container.stats(stream=False)
        return wall, stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9


def answered(server: Server) -> float:
    """Wait until a server has answered: the seconds from its start. ContainerError: not in time."""
    while not _answers(server):
        if time.monotonic() - server.started > ANSWER_SECONDS:
            raise ContainerError(
                f"{server.image} does not answer in {ANSWER_SECONDS} s",
                remedy=f"fix what its log says:\n{log(server.container)}",
            )
        time.sleep(0.05)
    return time.monotonic() - server.started


def _answers(server: Server) -> bool:
    try:
        return server.invoke(QUESTION, timeout=ANSWER_SECONDS).status == 200
    except ContainerError:
        return False


def build(client: docker.DockerClient, tag: str, arguments: Mapping[str, str]) -> None:
    """Build the image that one of the others is."""
    say(f"building {tag}")
    with refused(f"{tag} does not build", f"build {arguments['IMAGE']} first"):
        client.images.build(
            fileobj=io.BytesIO(DOCKERFILE.read_bytes()),
            tag=tag,
            buildargs=dict(arguments),
            labels=labels(),
            rm=True,
        )
