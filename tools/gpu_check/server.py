"""The serving stack as a process: started, asked over the loopback, and stopped."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any

from builder.errors import DlcError
from tools.gpu_check.room import RUNTIME, Room

__all__ = ["Answer", "Server", "serving"]

START_SECONDS = 180
ANSWER_SECONDS = 180
_POLL_SECONDS = 0.2
_STOP_SECONDS = 15
_WORKER = b"mms/model_service_worker.py"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """An answer's status, and its body as JSON or else as text."""

    status: int
    body: Any


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, room: Room) -> None:
        self._process, self._port, self._room = process, port, room

    def wait(self) -> float:
        """Wait until the model can answer; the seconds since this was called.

        DlcError if the server ends, its model does not load, or that takes too long.
        """
        start = time.monotonic()
        reason = ""
        while time.monotonic() < start + START_SECONDS:
            if self._process.poll() is not None:
                break
            ready = subprocess.run(
                [self._room.python, RUNTIME / "dockerd-entrypoint.py", "ready"],
                env={**self._room.environment},
                capture_output=True,
                text=True,
                check=False,
            )
            reason = ready.stdout.strip()
            if ready.returncode == 0:
                return time.monotonic() - start
            if "did not load" in reason:
                break
            time.sleep(_POLL_SECONDS)
        raise DlcError(reason or "the server does not start", remedy="see its log")

    def ask(self, body: object) -> Answer:
        """Send a request to /invocations; DlcError if there is no answer."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/invocations",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        return _exchange(request)

    def workers(self, count: int) -> list[dict[str, Any]]:
        """The workers by the management interface, as soon as `count` of them are ready.

        After a while, those that are there.
        """
        port = (self._room.folder / "tmp" / "model-server" / "management-port").read_text("utf-8")
        request = urllib.request.Request(f"http://127.0.0.1:{port}/models/model")
        deadline = time.monotonic() + START_SECONDS
        while True:
            workers: list[dict[str, Any]] = _exchange(request).body["workers"]
            ready = [worker for worker in workers if worker["status"] == "READY"]
            if len(ready) >= count or time.monotonic() > deadline:
                return workers
            time.sleep(_POLL_SECONDS)

    def worker_processes(self) -> set[int]:
        """Process ids of the workers: of whoever runs the worker's program in this room."""
        folder = str(self._room.folder).encode()
        found = set()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                line = path.read_bytes()
                if _WORKER in line and folder in line:
                    found.add(int(path.parent.name))
        return found


@contextmanager
def serving(room: Room, model: str, settings: Mapping[str, str]) -> Iterator[Server]:
    """Serve one of the room's models for as long as this lasts."""
    port = _free_port()
    log = room.folder / f"{model}.log"
    values = {
        **room.environment,
        "SAGEMAKER_BASE_DIR": str(room.folder / model),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        **settings,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [room.python, RUNTIME / "dockerd-entrypoint.py", "serve"],
            env=values,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Server(process, port, room)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    """A port that is free on the loopback; multi-model-server takes none above 49151."""
    for port in range(28080, 49151):
        with closing(socket()) as found, suppress(OSError):
            found.bind(("127.0.0.1", port))
            return port
    raise DlcError("no port of the loopback is free", remedy="stop what listens there")


def _exchange(request: urllib.request.Request) -> Answer:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_SECONDS) as response:
            return _answer(response.status, response.read())
    except urllib.error.HTTPError as error:
        return _answer(error.code, error.read())
    except OSError as error:
        raise DlcError(f"no answer from {request.full_url}: {error}") from None


def _answer(status: int, body: bytes) -> Answer:
    try:
        return Answer(status=status, body=json.loads(body))
    except ValueError:
        return Answer(status=status, body=body.decode("utf-8", "replace"))
