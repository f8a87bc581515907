"""Batch Transform's side of the protocol, against a small server on the loopback."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar

import pytest

from builder.contract.batch import (
    Job,
    Parameters,
    TransformError,
    parameters,
    payloads,
    transform,
)
from builder.serve.server import Response, Server
from tests.quiet_server import QuietServer

MEGABYTE = 1024 * 1024


class Upper(BaseHTTPRequestHandler):
    """Answers with its request in capitals, the first ones last; `bad` is answered with 400."""

    said: ClassVar[bytes] = b""
    status: ClassVar[int] = 404
    seen: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        self._answer(self.status, self.said)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.headers["Content-Type"], self.headers.get("Accept", "")))
        time.sleep(0.2 if b"slow" in body else 0)
        self._answer(400 if b"bad" in body else 200, body.strip().upper())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(Upper, "seen", [])
    listening = QuietServer(("127.0.0.1", 0), Upper)
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    nothing: Any = None
    url = f"http://127.0.0.1:{listening.server_port}"
    yield Server(image="none", url=url, container=nothing, started=0)
    listening.shutdown()
    thread.join()
    listening.server_close()


def cut(data: bytes, strategy: Any, megabytes: int = 6) -> list[bytes]:
    return list(payloads(data, split="Line", strategy=strategy, megabytes=megabytes))


def test_lines() -> None:
    assert cut(b"a\r\nb\n\nc", "SingleRecord") == [b"a\r\n", b"b\n", b"\n", b"c"]
    assert cut(b"a\rb\n", "SingleRecord") == [b"a\rb\n"]
    assert cut(b"", "SingleRecord") == cut(b"", "MultiRecord") == []


def test_many_records_fill_a_payload() -> None:
    line = b"x" * (MEGABYTE // 2 - 1) + b"\n"
    assert cut(line * 5, "MultiRecord", 1) == [line * 2, line * 2, line]
    assert cut(line * 5, "MultiRecord", 0) == [line * 5]
    assert cut(line * 2, "SingleRecord", 1) == [line, line]


def test_a_record_too_large() -> None:
    data = b"a\n" + b"x" * (MEGABYTE + 1)
    for strategy in ("SingleRecord", "MultiRecord"):
        with pytest.raises(TransformError, match="record 2 is larger than 1 MB"):
            cut(data, strategy, 1)
    assert len(cut(data, "SingleRecord", 0)) == 2


def test_no_split_is_one_record() -> None:
    found = payloads(b"a\nb\n", split="None", strategy="SingleRecord", megabytes=6)
    assert list(found) == [b"a\nb\n"]


def test_parameters(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parameters(server) == Parameters(concurrent=1, strategy="MultiRecord", megabytes=6)
    said = {"MaxConcurrentTransforms": 8, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 2}
    monkeypatch.setattr(Upper, "said", json.dumps(said).encode())
    monkeypatch.setattr(Upper, "status", 200)
    assert parameters(server) == Parameters(concurrent=8, strategy="SingleRecord", megabytes=2)
    monkeypatch.setattr(Upper, "said", b'{"BatchStrategy": "MultiRecord"}')
    assert parameters(server) == Parameters()
    monkeypatch.setattr(Upper, "status", 500)
    with pytest.raises(TransformError, match="answers 500"):
        parameters(server)


@pytest.mark.parametrize("concurrent", [1, 3])
def test_transform(server: Server, concurrent: int) -> None:
    job = transform(
        server,
        b"slow\nbc\nde",
        content_type="text/csv",
        accept="text/plain",
        split="Line",
        strategy="SingleRecord",
        concurrent=concurrent,
    )
    assert job.sent == [b"slow\n", b"bc\n", b"de"]
    assert job.output() == b"SLOWBCDE"
    assert job.output(assemble="Line") == b"SLOW\nBC\nDE\n"
    assert Upper.seen == [("text/csv", "text/plain")] * 3


def test_transform_as_the_container_wants(server: Server) -> None:
    job = transform(server, b"a\nb\n", content_type="text/csv", split="Line")
    assert (job.sent, job.output()) == ([b"a\nb\n"], b"A\nB")


def test_a_failed_record_leaves_no_output(server: Server) -> None:
    job = transform(server, b"a\nbad\nc\n", content_type="x", split="Line", strategy="SingleRecord")
    assert [answer.status for answer in job.answers] == [200, 400, 200]
    with pytest.raises(TransformError, match="request 2 was answered with 400: BAD"):
        job.output()


def test_nothing_to_transform() -> None:
    assert Job(sent=[], answers=list[Response]()).output(assemble="Line") == b""
