"""Run an inference image the way SageMaker does, and ask it something."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from builder.engine.containers import created, log, put, start, text
from builder.errors import ContainerError
from builder.serve.model_archive import (
    TAR_END,
    archive,
    check_model,
    make_tiny_model,
    pack,
    tar_header,
)

if TYPE_CHECKING:
    import docker

from builder.serve.server import QUESTION, Server

__all__ = ["Prediction", "run", "smoke"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """An answer, decoded from JSON, and the seconds from the container's start."""

    answer: Any
    ready_seconds: float
    answer_seconds: float


@contextmanager
def run(
    client: docker.DockerClient,
    image: str,
    *,
    model: Path | None = None,
    environment: Mapping[str, str] | None = None,
    port: int | None = None,
    command: Sequence[str] = ("serve",),
    files: Mapping[str, bytes] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Iterator[Server]:
    """Start a container of the image and remove it at the end, however that comes.

    The model is a directory or a model.tar.gz; without one, and without HF_MODEL_ID in the
    environment, a tiny model with random weights is made by the image itself. It is copied and not
    mounted, so the engine may be on another machine. The port is one of this machine, by default a
    free one. `files` are more files for the container, by their paths; `options` more of what the
    Docker SDK's `create` takes.

    ContainerError: no such image or model, or the container does not start.
    """
    environment = dict(environment or {})
    tiny = b""
    if model:
        check_model(model)
    elif not environment.get("HF_MODEL_ID"):
        environment.setdefault("HF_TASK", "text-classification")
        tiny = make_tiny_model(client, image)
    inside = environment.get("SAGEMAKER_BIND_TO_PORT") or "8080"
    host = engine_host(client.api.base_url)
    address = "127.0.0.1" if host in {"127.0.0.1", "localhost"} else "0.0.0.0"  # noqa: S104
    with created(
        client,
        image,
        command=list(command),
        environment=environment,
        ports={f"{inside}/tcp": (address, port)},
        **(options or {}),
    ) as container:
        put(container, "/", tar_header("opt/ml") + tar_header("opt/ml/model") + TAR_END)
        if tiny:
            put(container, "/opt/ml", tiny)
        elif model and model.is_dir():
            put(container, "/opt/ml/model", archive(model))
        elif model:
            with model.open("rb") as file:
                put(container, "/opt/ml/model", file)
        if files:
            put(container, "/", pack(files))
        started = time.monotonic()
        start(container, image)
        container.reload()
        # A container that has ended already has no ports; wait_ready tells of it.
        bindings = container.ports.get(f"{inside}/tcp") or [{"HostPort": "0"}]
        url = f"http://{host}:{bindings[0]['HostPort']}"
        yield Server(image=image, url=url, container=container, started=started)


def smoke(
    client: docker.DockerClient,
    image: str,
    *,
    model: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 300,
    say: Callable[[str], None] = lambda _: None,
) -> Prediction:
    """Start the image, wait until it is ready, and ask it for one prediction.

    The timeout, in seconds, holds for becoming ready and for the answer, each.

    ContainerError: it did not become ready, or answered with another status than 200 or not JSON.
    """
    say(f"starting {image}")
    with run(client, image, model=model, environment=environment) as server:
        ready_seconds = server.wait_ready(timeout)
        say(f"ready after {ready_seconds:.1f} s")
        response = server.invoke(QUESTION, timeout=timeout)
        answer_seconds = time.monotonic() - server.started
        body = text(response.body)
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        if response.status != 200 or answer is None:
            raise ContainerError(
                f"{image} answered with status {response.status}: {body}",
                remedy=f"fix what its log says:\n{log(server.container)}",
            )
        say(f"answer after {answer_seconds:.1f} s: {body}")
        return Prediction(answer=answer, ready_seconds=ready_seconds, answer_seconds=answer_seconds)


def engine_host(base_url: str) -> str:
    """The name at which the engine's published ports are reached.

    >>> engine_host("https://engine.example:2376"), engine_host("http+docker://localhost")
    ('engine.example', '127.0.0.1')
    """
    parts = urlsplit(base_url)
    remote = parts.hostname if parts.scheme in {"http", "https"} else None
    return remote or "127.0.0.1"
