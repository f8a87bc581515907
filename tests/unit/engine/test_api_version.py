"""An engine that refuses old versions of its API, as Engine 29 does, is spoken to in its own."""

from __future__ import annotations

import json
import re
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from builder.engine import connection
from builder.engine.images import images_of
from builder.registry import digests

DIGEST = f"sha256:{'ab' * 32}"
IMAGE = {"Id": DIGEST, "RepoTags": ["a:1"], "Size": 7, "Labels": None}


class Strict(socketserver.ThreadingUnixStreamServer):
    """Takes versions 1.44 to 1.51 of the API, and keeps what was asked."""

    daemon_threads = True
    asked: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Strict

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        version, path = re.fullmatch(r"(?:/v1\.(\d+))?(/.*)", self.path).groups()  # type: ignore[union-attr]
        if version and not 44 <= int(version) <= 51:
            message = f"client version 1.{version} is too old. Minimum supported API version: 1.44"
            return self.say({"message": message}, 400)
        if path == "/version":
            return self.say({"Version": "29.0.0", "ApiVersion": "1.51", "Os": "linux"})
        if path.startswith("/distribution/"):
            return self.say({"Descriptor": {"digest": DIGEST}, "Platforms": []})
        return self.say([IMAGE] if path == "/images/json" else {})

    def say(self, answer: Any, status: int = 200) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass

    def address_string(self) -> str:
        return "test"


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> Iterator[Strict]:
    with tempfile.TemporaryDirectory(prefix="dlc-") as folder:
        path = Path(folder, "socket")
        with Strict(str(path), Handler) as server:
            server.asked = []
            threading.Thread(target=server.serve_forever, args=(0.01,)).start()
            monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
            monkeypatch.setenv("PATH", folder)
            yield server
            server.shutdown()


def test_all_that_is_asked_is_asked_in_its_own_version(strict: Strict) -> None:
    engine = connection.find()
    assert engine is not None
    assert (engine.version, engine.api) == ("29.0.0", "1.51")
    assert images_of(engine)["a:1"].id == DIGEST
    assert digests.ask(["debian:1"], engine)["debian:1"].digest == DIGEST
    with closing(engine.client()) as client:
        client.info()
    assert {path for path in strict.asked if path.startswith("/v")} == {
        "/version",
        "/v1.51/distribution/debian:1/json",
        "/v1.51/info",
    }


def test_engine_that_has_not_answered_yet_is_asked_for_its_version(strict: Strict) -> None:
    candidate, _ = next(connection.candidates())
    assert images_of(candidate)["a:1"].id == DIGEST
    assert strict.asked == ["/images/json"]
    with closing(candidate.client()) as client:
        client.info()
    assert strict.asked[1:] == ["/version", "/v1.51/info"]
