"""What stands at the port in multi-model mode: which requests pass, and in which form."""

import http.client
import importlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.quiet_server import QuietServer

FILES = Path(__file__).parents[3] / "runtime"


class Inner(BaseHTTPRequestHandler):
    """A model server that answers with the request as it read it."""

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            return
        size = self.headers["Content-Length"]
        body = self.rfile.read(int(size))
        read = {
            "method": self.command,
            "path": self.path,
            "headers": sorted(name.lower() for name in self.headers),
            "body": body.decode("latin-1"),
        }
        answer = json.dumps(read).encode()
        self.send_response(200)
        self.send_header("X-Inner", "yes")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        self.close_connection = True

    def log_message(self, *arguments: object) -> None: ...


class Front:
    """The front as a process before an Inner."""

    def __init__(self, inner: int, models: Path, most: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        code = f"import dlc_front; dlc_front.MODELS = ({str(models)!r},); "
        code += f"dlc_front.main({self.port}, {inner})"
        environment = {
            **os.environ,
            "PYTHONPATH": str(FILES),
            "MMS_MAX_REQUEST_SIZE": str(most),
            "DLC_PING": "",
        }
        self.process = subprocess.Popen([sys.executable, "-c", code], env=environment)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=60).close()
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def ask(
        self, method: str, path: str, body: bytes | None = None, own: str = ""
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, {"X-Own": own})
        answer = connection.getresponse()
        content = json.loads(answer.read() or b"null")
        connection.close()
        return answer.status, content

    def raw(self, request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            pieces = []
            while piece := connection.recv(65536):
                pieces.append(piece)
        return b"".join(pieces)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    (folder / "one" / "model").mkdir(parents=True)
    (folder / "archive.mar").touch()
    (folder / "outside").symlink_to("/etc")
    return folder


@pytest.fixture(scope="module")
def front(models: Path) -> Iterator[Front]:
    with QuietServer(("127.0.0.1", 0), Inner) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        made = Front(server.server_address[1], models, 1000)
        yield made
        made.process.kill()
        made.process.wait()
        server.shutdown()
        thread.join()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("method", "path", "passed"),
    [
        ("GET", "/ping", "/ping"),
        ("POST", "/invocations?a=b", "/invocations?a=b"),
        ("GET", "/execution-parameters", "/execution-parameters"),
        ("POST", "/predictions/a%20b", "/predictions/a%20b"),
        ("POST", "/models/a/invoke", "/models/a/invoke"),
        ("POST", "/%6dodels/a/invoke", "/models/a/invoke"),
        ("GET", "/models", "/models"),
        ("GET", "/models?next_page_token=2&x=1", "/models?next_page_token=2"),
        ("GET", "/models/a?b=c", "/models/a"),
        ("DELETE", "/models/a", "/models/a"),
        ("DELETE", "http://host/models/a", "/models/a"),
    ],
)
def test_what_passes(front: Front, method: str, path: str, passed: str) -> None:
    status, read = front.ask(method, path, own="a")
    assert (status, read["method"], read["path"]) == (200, method, passed)
    assert {"x-own", "content-length", "connection"} <= set(read["headers"])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("OPTIONS", "/", 405),
        ("OPTIONS", "/models", 405),
        ("OPTIONS", "/predictions/a", 405),
        ("GET", "/", 405),
        ("PUT", "/models/a?min_worker=9", 405),
        ("POST", "/models/a", 405),
        ("DELETE", "/models", 405),
        ("PUT", "/%6dodels/a", 405),
        ("GET", "/api-description", 404),
        ("GET", "/models/a/b/c", 404),
        ("POST", "/models/../models/x/y", 404),
        ("GET", "/%ff", 400),
    ],
)
def test_what_does_not(front: Front, method: str, path: str, status: int) -> None:
    got, error = front.ask(method, path)
    assert (got, error["code"]) == (status, status)
    assert error.keys() == {"code", "type", "message"}


def test_models_are_loaded_by_path_alone(front: Front, models: Path) -> None:
    good = {"model_name": "one", "url": f"{models}/one/model"}
    status, read = front.ask("POST", "/models", json.dumps(good).encode())
    assert status == 200
    assert json.loads(read["body"]) == good
    query = f"/models?model_name=one&url={models}/one/model"
    status, read = front.ask("POST", query)
    assert (status, read["path"], json.loads(read["body"])) == (200, "/models", good)
    for wrong in (
        {"url": "http://127.0.0.1/evil.mar"},
        {"url": "file:///etc"},
        {"url": "s3://bucket/key"},
        {"url": "/etc"},
        {"url": "etc"},
        {"url": str(models)},
        {"url": f"{models}/../x"},
        {"url": f"{models}/outside"},
        {"url": f"{models}/archive.mar"},
        {"url": f"{models}/one\0"},
        {"url": 5},
        {"handler": "os:system"},
        {"runtime": "python"},
        {"initial_workers": 1000},
        {"model_name": "team/sentiment"},
        {"model_name": ".."},
        {"model_name": ""},
    ):
        status, error = front.ask("POST", "/models", json.dumps({**good, **wrong}).encode())
        assert (status, error["type"]) == (400, "BadRequestException"), wrong
    for body in (b"[]", b"{", b"[" * 900, b"\xff"):
        assert front.ask("POST", "/models", body)[0] == 400
    assert front.ask("POST", f"{query}&handler=os:system")[0] == 400


HEAD = b"POST /invocations HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: +1\r\n\r\na",
        HEAD + b"Content-Length : 1\r\n\r\na",
        HEAD + b"X: a\r\n folded\r\n\r\n",
        HEAD + b"X: a\nContent-Length: 1\r\n\r\na",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc0\r\n\r\n",
        b"GET /ping\r\n\r\n",
        b"GET  /ping HTTP/1.1\r\n\r\n",
        b"GET /ping HTTP/2\r\n\r\n",
        b"GET /ping HTTP/1.1\r\n",
        b"\x16\x03\x01\r\n\r\n",
    ],
)
def test_requests_that_two_could_read_differently(front: Front, request_: bytes) -> None:
    assert front.raw(request_).startswith(b"HTTP/1.1 400 "), front.raw(request_)


def test_bodies(front: Front) -> None:
    body = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\nT: x\r\n\r\n"
    answer = front.raw(body + b"GET /ping HTTP/1.0\r\n\r\n")
    first, second = answer.split(b"HTTP/1.1 200")[1:]
    assert b'"body": "abc"' in first
    assert b'"path": "/ping"' in second
    assert b"Connection: close" in second
    expect = HEAD + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\na"
    assert front.raw(expect).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")
    for large in (b"Content-Length: 1001\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n"):
        assert front.raw(HEAD + large).startswith(b"HTTP/1.1 413 "), large
    assert front.ask("POST", "/invocations", b"x" * 1000)[0] == 200


@pytest.mark.integration
def test_nobody_behind_it(models: Path) -> None:
    made = Front(9, models, 1000)
    try:
        assert made.ask("GET", "/ping")[0] == 503
    finally:
        made.process.kill()
        made.process.wait()


def test_limits_come_from_the_server_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FILES)
    most_bytes = importlib.import_module("dlc_front").most_bytes
    assert most_bytes({}) == 6_553_500
    assert most_bytes({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "2"}) == 2 * 1024 * 1024
    assert most_bytes({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "", "MMS_MAX_REQUEST_SIZE": "5"}) == 5
