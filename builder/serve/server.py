"""Run an inference image the way SageMaker does, and ask it something."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from builder.engine.containers import created, failed, log, put, refused, start, text
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
    from docker.models.containers import Container

__all__ = ["Prediction", "Response", "Server", "run", "smoke"]

READY = ("python", "/usr/local/bin/dockerd-entrypoint.py", "ready")
QUESTION = json.dumps({"inputs": "I love this movie, it is great."}).encode()

POLL_SECONDS = 0.2
PING_SECONDS = 2.0
REASON_LENGTH = 500  # characters: a server's traceback would hide the rest


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """What the server answered to one request."""

    status: int
    body: bytes
    content_type: str
    request_id: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """An answer, decoded from JSON, and the seconds from the container's start."""

    answer: Any
    ready_seconds: float
    answer_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """A running container that serves a model at a URL."""

    image: str
    url: str
    container: Container
    started: float
    """When the container was started, in seconds of time.monotonic()."""

    @property
    def container_id(self) -> str:
        """The engine's full id of the container."""
        return str(self.container.id)

    def wait_ready(self, timeout: float) -> float:
        """Wait until every model can answer; the seconds from the container's start to then.

        ContainerError: the container has ended, or is not ready within timeout seconds of this
        call. Images that are not ours have no readiness command: there an answer to a request
        counts, even one that finds fault with the request.
        """
        deadline = time.monotonic() + timeout
        while True:
            missing = self._why_not_ready(deadline)
            seconds = time.monotonic() - self.started
            if not missing:
                return seconds
            self._check_running()
            if time.monotonic() > deadline:
                raise ContainerError(
                    f"{self.image} is not ready after {seconds:.0f} s: {missing}",
                    remedy=f"give it more time, or fix what its log says:\n{log(self.container)}",
                )
            time.sleep(POLL_SECONDS)

    def invoke(
        self,
        body: bytes,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        timeout: float = 60,
    ) -> Response:
        """Send one request to /invocations and return the answer, whatever its status.

        ContainerError: no answer within timeout seconds.
        """
        headers = {"Content-Type": content_type, "Accept": accept}
        return self.ask("POST", "/invocations", body=body, headers=headers, timeout=timeout)

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> Response:
        """Send one request of any kind and return the answer, whatever its status.

        ContainerError: no answer within timeout seconds.
        """
        try:
            return self._ask(path, timeout=timeout, method=method, body=body, headers=headers or {})
        except (OSError, HTTPException) as error:
            raise ContainerError(
                f"no answer from {self.url}{path}: {error}",
                remedy=f"see the end of the container's log:\n{log(self.container)}",
            ) from error

    def logs(self, tail: int) -> str:
        """The last lines that the container wrote, both streams."""
        return log(self.container, tail)

    def stop(self) -> int:
        """Stop the container as `docker stop` does, killing it after ten seconds; its exit code."""
        self.container.stop(timeout=10)
        return int(self.container.wait()["StatusCode"])

    def _why_not_ready(self, deadline: float) -> str:
        import docker.errors

        # A request costs far less than starting an interpreter next to a server that still starts.
        try:
            ping = self._ask("/ping", timeout=PING_SECONDS, method="GET", headers={})
        except (OSError, HTTPException) as error:
            return f"no answer from {self.url}/ping: {error}"
        if ping.status != 200:
            return f"{self.url}/ping answers {reason(ping)}"
        try:
            said = text(self.container.exec_run(list(READY)).output)
        except docker.errors.APIError as error:  # it has just ended
            return str(error)
        if said == "ready":
            return ""
        if said.startswith("not ready: "):
            return said.removeprefix("not ready: ")
        try:
            answer = self.invoke(QUESTION, timeout=max(PING_SECONDS, deadline - time.monotonic()))
        except ContainerError as error:
            return error.message
        return f"{self.url}/invocations answers {reason(answer)}" if answer.status >= 500 else ""

    def _check_running(self) -> None:
        with refused(f"the container of {self.image} is gone", "leave it to dlc to remove it"):
            self.container.reload()
        if self.container.status not in {"created", "running"}:
            code = self.container.attrs["State"]["ExitCode"]
            ended = f"the container of {self.image} ended with exit code {code} before it was ready"
            raise failed(ended, self.container)

    def _ask(
        self,
        path: str,
        *,
        timeout: float,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
    ) -> Response:
        # Without the caller's proxies: they cannot reach this machine's loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(  # noqa: S310 - http, and of this module's making
            self.url + path, data=body, headers=dict(headers), method=method
        )
        try:
            answer = opener.open(request, timeout=timeout)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            kind = answer.headers.get("Content-Type", "")
            return Response(
                status=answer.status,
                body=answer.read(),
                content_type=kind,
                request_id=answer.headers.get("X-Request-Id", ""),
            )


def reason(answer: Response) -> str:
    """The status of an answer that refuses, and on one line what it says of it.

    >>> reason(Response(status=503, body=b'{"message": "it is\\\\nloading"}', content_type=""))
    '503: it is loading'
    >>> reason(Response(status=500, body=b"", content_type="text/plain"))
    '500'
    """
    said: Any = text(answer.body)
    with suppress(ValueError):
        found = json.loads(answer.body)
        said = found.get("message", said) if isinstance(found, dict) else said
    line = " ".join(str(said).split())
    if len(line) > REASON_LENGTH:
        line = f"{line[:REASON_LENGTH]}..."
    return f"{answer.status}: {line}" if line else str(answer.status)


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
