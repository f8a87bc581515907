"""A model server in a container: whether it is ready, and what it answers."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

from builder.engine.containers import failed, log, refused, text
from builder.errors import ContainerError

if TYPE_CHECKING:
    from docker.models.containers import Container

__all__ = ["QUESTION", "Response", "Server", "reason"]

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
class Server:
    """A running container that serves a model at a URL."""

    image: str
    url: str
    container: Container
    started: float
    """When the container was started, in seconds of time.monotonic()."""

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
            state = text(self.container.exec_run(list(READY)).output)
        except docker.errors.APIError as error:  # it has just ended
            return str(error)
        if state == "ready":
            return ""
        if state.startswith("not ready: "):
            return state.removeprefix("not ready: ")
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
    message: Any = text(answer.body)
    with suppress(ValueError):
        found = json.loads(answer.body)
        message = found.get("message", message) if isinstance(found, dict) else message
    line = " ".join(str(message).split())
    if len(line) > REASON_LENGTH:
        line = f"{line[:REASON_LENGTH]}..."
    return f"{answer.status}: {line}" if line else str(answer.status)
