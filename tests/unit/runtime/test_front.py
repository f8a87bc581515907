"""What stands at the port in multi-model mode: which requests pass, and in which form."""

import asyncio
import errno
import http.client
import importlib
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.quiet_server import QuietServer

FILES = Path(__file__).parents[3] / "runtime"
HEAD = b"POST /invocations HTTP/1.1\r\nHost: a\r\n"


class Inner(BaseHTTPRequestHandler):
    """A model server that answers with the request as it read it, or as the test wants."""

    protocol_version = "HTTP/1.1"
    connections = 0
    go_on = threading.Event()

    def setup(self) -> None:
        super().setup()
        Inner.connections += 1

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body == b"wait":
            self.go_on.wait(60)
        read = {
            "method": self.command,
            "path": self.path,
            "headers": sorted(name.lower() for name in self.headers),
            "body": body.decode("latin-1"),
            "message": "Worker died.",
        }
        answer = json.dumps(read).encode()
        self.send_response(int(body) if body in (b"500", b"503") else 200)
        self.send_header("X-Inner", "yes")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments: object) -> None: ...


class Front:
    """The front as a process before an Inner; `folder` is where failures are told."""

    def __init__(self, inner: int, models: Path, most: int, **environment: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = models.parent / f"front-{self.port}"
        (self.folder / "model-server" / "failed").mkdir(parents=True)
        code = f"""
import sys
sys.path.insert(0, {str(FILES)!r})
import dlc_front, dlc_http, dlc_ready, dlc_routes
dlc_front.WATCH_SECONDS = 0.02
dlc_routes.MODELS = ({str(models)!r},)
dlc_ready.models_loaded = set
dlc_front.wait_for_change = lambda reason, port: None
if "HELD" in dlc_front.os.environ:
    dlc_front.Memory = lambda most: dlc_http.Memory(int(dlc_front.os.environ["HELD"]))
dlc_front.main({self.port}, {inner}, 9, 0)
"""
        set_ = {"MMS_MAX_REQUEST_SIZE": str(most), "DLC_PING": "", "TMPDIR": str(self.folder)}
        environment = {**os.environ, "SAGEMAKER_MULTI_MODEL": "true", **set_, **environment}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=60).close()
                break
            except ConnectionRefusedError:
                assert self.process.poll() is None
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

    def raw(self, request: bytes, host: str = "127.0.0.1") -> bytes:
        with socket.create_connection((host, self.port), timeout=60) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return read_all(connection)

    def later(self, body: bytes, more: int = 0) -> socket.socket:
        """A connection on which an invocation was sent, but for some bytes of its body."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (len(body) + more) + body)
        return connection

    def record(self, name: str, *, loaded: bool, lines: Sequence[str] = ()) -> None:
        """A worker's death, as dlc_worker writes it."""
        path = self.folder / "model-server" / "failed" / f"{name}.death"
        record = {"why": "ended with exit code 3", "lines": lines, "loaded": loaded, "times": 1}
        path.with_suffix(".new").write_text(json.dumps(record))
        path.with_suffix(".new").rename(path)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def read_all(connection: socket.socket) -> bytes:
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
def inner() -> Iterator[int]:
    with QuietServer(("127.0.0.1", 0), Inner) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def front(inner: int, models: Path) -> Iterator[Front]:
    made = Front(inner, models, 1000)
    yield made
    made.end()


@pytest.fixture
def single(inner: int, models: Path) -> Iterator[Front]:
    """A front with one model, that holds 1000 bytes at most."""
    made = Front(inner, models, 1000, SAGEMAKER_MULTI_MODEL="")
    yield made
    made.end()


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
    assert {"x-own", "content-length"} <= set(read["headers"])


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
        b"GET ping HTTP/1.1\r\n\r\n",
        b"GET /ping?% HTTP/1.1\r\n\r\n",
        b"GET /" + b"x" * 4096 + b" HTTP/1.1\r\n\r\n",
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
        made.end()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/ping", 200),
        ("POST", "/models/model/invoke", 200),
        ("OPTIONS", "/", 405),
        ("GET", "/models", 404),
        ("GET", "/models/model", 404),
        ("POST", "/models", 404),
        ("DELETE", "/models/model", 404),
    ],
)
def test_a_single_model_is_not_managed(single: Front, method: str, path: str, status: int) -> None:
    assert single.ask(method, path)[0] == status


@pytest.mark.integration
def test_connections_to_the_server_are_kept(single: Front) -> None:
    before = Inner.connections
    for _ in range(5):
        assert single.ask("POST", "/invocations", b"x")[0] == 200
    assert Inner.connections == before + 1


@pytest.mark.integration
def test_slow_clients_occupy_nobody(single: Front) -> None:
    before = Inner.connections
    with socket.create_connection(("127.0.0.1", single.port), timeout=60) as slow:
        slow.sendall(HEAD + b"Content-Length: 2\r\nConnection: close\r\n\r\na")
        assert single.ask("POST", "/invocations", b"x")[0] == 200
        assert Inner.connections == before + 1
        slow.sendall(b"b")
        assert b'"body": "ab"' in read_all(slow)


@pytest.mark.integration
def test_a_refused_client_holds_nothing(inner: int, models: Path) -> None:
    """Not even while it goes on sending: others are served meanwhile."""
    size = 600_000
    made = Front(inner, models, size, SAGEMAKER_MULTI_MODEL="", HELD=str(size))
    try:
        clients = [made.later(b"x" * (size // 2), more=size // 2) for _ in range(2)]
        for client in clients:
            client.sendall(b"x" * (size // 2 - 1))
        refused = next(iter(select.select(clients, [], [], 60)[0]))
        assert refused.recv(100).startswith(b"HTTP/1.1 503 ")
        [other] = [client for client in clients if client is not refused]
        other.sendall(b"x")
        assert other.recv(100).startswith(b"HTTP/1.1 200 ")
        for client in clients:
            client.close()
    finally:
        made.end()


@pytest.mark.integration
def test_what_there_is_no_memory_for_is_refused(inner: int, models: Path) -> None:
    made = Front(inner, models, 1 << 40, SAGEMAKER_MULTI_MODEL="")
    try:
        with socket.create_connection(("127.0.0.1", made.port), timeout=60) as connection:
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (1 << 40))
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
    finally:
        made.end()


def test_held_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FILES)
    dlc_http = importlib.import_module("dlc_http")
    memory = dlc_http.Memory(100)
    first, second = dlc_http.Body(memory, 80), dlc_http.Body(memory, 80)

    async def read(body: Any, size: int) -> bytes:
        reader = asyncio.StreamReader()
        reading = asyncio.ensure_future(body.read(reader, size))
        for _ in range(2):
            reader.feed_data(b"x" * (size // 2))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return bytes(await reading)

    assert len(asyncio.run(read(first, 60))) == 60
    with pytest.raises(dlc_http.RefusedError) as refused:
        asyncio.run(read(second, 60))
    assert b"\r\nRetry-After: 1\r\n" in refused.value.encoded()
    # What a refused one held is free before anybody else asks, so not all are refused at once.
    assert memory.held == 60
    first.turn_into(b"answer")
    assert memory.held == 6
    assert len(asyncio.run(read(second, 60))) == 60
    first.leave()
    second.leave()
    assert memory.held == 0


def test_share_lets_in_who_came_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FILES)
    share_class = importlib.import_module("dlc_front").Share

    async def scene() -> list[str]:
        share, order = share_class(10), []

        async def use(name: str, count: int) -> None:
            await share.take(count)
            order.append(name)

        tasks = []
        for name, count in (("a", 8), ("gone", 5), ("b", 9), ("c", 1)):
            tasks.append(asyncio.ensure_future(use(name, count)))
            await asyncio.sleep(0)
        assert order == ["a"]
        tasks[1].cancel()
        await asyncio.sleep(0)
        share.leave(8)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return order

    assert asyncio.run(scene()) == ["a", "b", "c"]


@pytest.mark.integration
def test_full_queue_says_when_to_come_again(single: Front) -> None:
    with single.later(b"503") as connection:
        assert b"\r\nRetry-After: 1\r\n" in connection.recv(1000)


def test_refusals_have_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FILES)
    error = importlib.import_module("dlc_http").RefusedError
    first, second = error(400, "a"), error(400, "a")
    assert first.name != second.name
    assert f"\r\nx-request-id: {first.name}\r\n".encode() in first.encoded()


@pytest.mark.integration
def test_requests_are_answered_while_no_worker_can_be_had(single: Front) -> None:
    Inner.go_on.clear()
    waiting = single.later(b"wait")
    single.record("model", loaded=False, lines=["its last line"])
    head = waiting.recv(1000)
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 10\r\n" in head
    waiting.close()
    status, error = single.ask("POST", "/invocations", b"x")
    assert status == 503
    assert error["message"] == "The model did not load: its worker ended with exit code 3."
    status, error = single.ask("GET", "/ping")
    assert status == 503
    assert error["message"].endswith("its worker ended with exit code 3: its last line")
    (single.folder / "model-server" / "failed" / "model.death").unlink()
    deadline = time.monotonic() + 60
    while single.ask("GET", "/ping")[0] != 200:
        assert time.monotonic() < deadline
    assert single.ask("POST", "/invocations", b"x")[0] == 200
    Inner.go_on.set()


@pytest.mark.integration
def test_how_a_worker_died_at_work_is_told(single: Front) -> None:
    single.record("model", loaded=True)
    status, error = single.ask("POST", "/invocations", b"500")
    assert status == 500
    assert error["message"] == "Worker died: it ended with exit code 3."
    assert single.ask("GET", "/ping")[0] == 200


@pytest.mark.integration
def test_what_is_in_flight_is_answered_before_the_end(single: Front) -> None:
    Inner.go_on.clear()
    waiting = single.later(b"wait")
    deadline = time.monotonic() + 60
    idle = socket.create_connection(("127.0.0.1", single.port), timeout=60)
    idle.sendall(b"GET /ping HTTP/1.1\r\n\r\n")
    assert idle.recv(1000).startswith(b"HTTP/1.1 200 ")
    single.process.terminate()
    while single.ask("GET", "/ping") != (503, STOPPING):
        assert time.monotonic() < deadline
    # A connection that was kept is not cut: its next request may be on its way.
    idle.sendall(b"GET /ping HTTP/1.1\r\n\r\n")
    assert b"The server is stopping." in idle.recv(1000)
    idle.close()
    assert single.process.poll() is None
    Inner.go_on.set()
    answer = read_all(waiting)
    waiting.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert single.process.wait(60) == 0


STOPPING = {
    "code": 503,
    "type": "ServiceUnavailableException",
    "message": "The server is stopping.",
}


@pytest.mark.integration
@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
def test_ipv6(single: Front) -> None:
    try:
        answer = single.raw(b"GET /ping HTTP/1.0\r\n\r\n", host="::1")
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            pytest.skip("this machine has no IPv6")
        raise
    assert answer.startswith(b"HTTP/1.1 200 ")
