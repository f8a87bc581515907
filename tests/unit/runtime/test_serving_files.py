"""What stands beside the entrypoint: the gate at /ping, and the toolkit's start."""

import importlib
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FILES = Path(__file__).parents[3] / "runtime"


@pytest.fixture
def ready(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FILES)
    return importlib.import_module("dlc_ready")


@pytest.fixture
def serving(ready: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The module, in a server's room."""
    monkeypatch.setattr(ready, "failure_directory", lambda: str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return importlib.import_module("dlc_serving")


# The gate


class Echo(socketserver.StreamRequestHandler):
    """A model server of sorts: it sends back what comes until no more comes, or a `Connection`."""

    def handle(self) -> None:
        while piece := self.request.recv(65536):
            self.request.sendall(piece)
            if b"Connection: close\r\n\r\n" in piece:
                return


class Echoes(socketserver.ThreadingTCPServer):
    """With room for all connections of a test at once."""

    request_queue_size = 64


@pytest.fixture
def echo() -> Iterator[int]:
    with Echoes(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


class Gate:
    """The gate as a process; it opens once a file is there."""

    def __init__(self, inner: int, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.sign = folder / "ready"
        code = f"""
import os, sys
sys.path.insert(0, {str(FILES)!r})
import dlc_ready
dlc_ready.POLL_SECONDS = 0.02
dlc_ready.models_loaded = lambda: ["model"]
sign = {str(self.sign)!r}
dlc_ready.reason_not_ready = lambda port: None if os.path.exists(sign) else "it is \\u00fcber"
dlc_ready.gate({self.port}, {inner}, 1)
"""
        self.process = subprocess.Popen([sys.executable, "-c", code])

    def ask(self, request: bytes, *, shut: bool = True) -> bytes:
        deadline = time.monotonic() + 60
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        with connection:
            sender = threading.Thread(target=self._send, args=(connection, request, shut))
            sender.start()
            pieces = []
            while piece := connection.recv(65536):
                pieces.append(piece)
            sender.join()
        return b"".join(pieces)

    def _send(self, connection: socket.socket, request: bytes, shut: bool) -> None:
        connection.sendall(request)
        if shut:
            connection.shutdown(socket.SHUT_WR)

    def open(self) -> None:
        self.sign.touch()
        deadline = time.monotonic() + 60
        while b"503" in self.ask(b"GET /ping HTTP/1.1\r\n\r\n"):
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture
def gate(echo: int, tmp_path: Path) -> Iterator[Gate]:
    made = Gate(echo, tmp_path)
    yield made
    made.process.kill()
    made.process.wait()


@pytest.mark.integration
def test_ping_is_refused_with_the_reason_until_ready(gate: Gate) -> None:
    for path in (b"/ping", b"/ping/", b"/ping?a=b"):
        head, _, body = gate.ask(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n").partition(
            b"\r\n\r\n"
        )
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
    deadline = time.monotonic() + 60
    while json.loads(body)["message"] != "it is \u00fcber":
        assert time.monotonic() < deadline
        body = gate.ask(b"GET /ping HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")[2]
    assert json.loads(body)["code"] == 503
    gate.open()
    request = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
    assert gate.ask(request) == request


@pytest.mark.integration
def test_other_requests_pass_one_by_one_until_ready(gate: Gate) -> None:
    request = b"POST /invocations HTTP/1.1\r\nconnection: keep-alive\r\nHost: a\r\n\r\n"
    # The server ends the connection, though the client would go on.
    answer = gate.ask(request, shut=False)
    assert answer == b"POST /invocations HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.mark.integration
def test_ready_gate_passes_everything(gate: Gate) -> None:
    gate.open()
    body = os.urandom(20_000_000)
    assert gate.ask(body) == body  # both ways at once, then the end of one direction
    answers: list[bytes] = []
    threads = [
        threading.Thread(target=lambda i=i: answers.append(gate.ask(b"%d" % i))) for i in range(30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, answers)) == list(range(30))


@pytest.mark.integration
def test_gate_says_that_nobody_listens_behind_it(tmp_path: Path) -> None:
    gate = Gate(9, tmp_path)
    try:
        assert b"the model server does not listen yet" in gate.ask(b"GET /x HTTP/1.1\r\n\r\n")
    finally:
        gate.process.kill()
        gate.process.wait()


def test_long_reason_is_one_line_and_cut(ready: Any) -> None:
    assert ready.one_line(ValueError("a\n  b")) == "ValueError: a b"
    assert len(ready.one_line(ValueError("a" * 1000))) == 500


def test_waiting_does_not_fill_the_log_of_the_server(
    ready: Any, serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    del serving  # it makes the folder
    asked: list[int] = []
    loaded: set[str] = set()
    monkeypatch.setattr(ready, "POLL_SECONDS", 0)
    monkeypatch.setattr(ready, "models_loaded", lambda: loaded)
    monkeypatch.setattr(ready, "reason_not_ready", asked.append)
    assert ready.wait_for_change("early", 8080) == "early"
    loaded.add("a")
    failure = Path(ready.failure_file("a", os.getpid()))
    failure.write_text("no weights")
    assert ready.wait_for_change("early", 8080) == "model a did not load: no weights"
    assert asked == []
    failure.unlink()
    assert ready.wait_for_change("early", 8080) is None
    assert asked == [8080]


# The server


def test_deferred_module_is_imported_when_it_is_called(
    serving: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "heavy_module.py").write_text("def double(x, plus=0): return 2 * x + plus")
    monkeypatch.syspath_prepend(tmp_path)
    serving.defer("heavy_module", functions=("double",), KNOWN="a")
    deferred = importlib.import_module("heavy_module")
    assert (deferred.KNOWN, hasattr(deferred, "__file__")) == ("a", False)
    assert deferred.double(3, plus=1) == 7
    assert importlib.import_module("heavy_module").double is not deferred.double
    del sys.modules["heavy_module"]


@pytest.mark.parametrize(
    ("version", "file", "starts"),
    [
        ("1.1.4", "log4j.properties", "log4j.rootLogger=WARN, console\n"),
        ("1.1.8", "log4j2.xml", "<Configuration>"),
        ("1.1.11", "log4j2.xml", "<Configuration>"),
    ],
)
def test_log_is_configured_as_the_server_understands(
    serving: Any, monkeypatch: pytest.MonkeyPatch, version: str, file: str, starts: str
) -> None:
    monkeypatch.setitem(sys.modules, "mms", types.ModuleType("mms"))
    module = types.ModuleType("mms.version")
    vars(module)["__version__"] = version
    monkeypatch.setitem(sys.modules, "mms.version", module)
    path = Path(serving.write_log_configuration())
    content = path.read_text()
    assert path.name == file
    assert content.startswith(starts)
    assert "ACCESS_LOG" in content
    assert "File" not in content


def test_management_is_on_the_loopback(serving: Any) -> None:
    assert serving.loopback_addresses({"DLC_MANAGEMENT_PORT": "18080"}).splitlines() == [
        "management_address=http://127.0.0.1:18080",
    ]
    both = {"DLC_INNER_PORT": "18080", "DLC_MANAGEMENT_PORT": "18081"}
    assert serving.loopback_addresses(both).splitlines() == [
        "inference_address=http://127.0.0.1:18080",
        "management_address=http://127.0.0.1:18081",
    ]


@pytest.mark.parametrize(
    ("trust", "left"),
    [
        ("", {"config.json", "code/notes.txt"}),
        ("false", {"config.json", "code/notes.txt"}),
        ("True", {"config.json", "code/notes.txt", "inference.py", "code/types.so", "json.pyc"}),
    ],
)
def test_code_of_the_hub_needs_trust(
    serving: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trust: str, left: set[str]
) -> None:
    (tmp_path / "code").mkdir()
    for name in ("config.json", "code/notes.txt", "inference.py", "code/types.so", "json.pyc"):
        (tmp_path / name).touch()
    monkeypatch.setenv("HF_TRUST_REMOTE_CODE", trust)
    server = types.SimpleNamespace(_load_model_from_hub=lambda **_: tmp_path)
    serving.guard_hub(server)
    assert server._load_model_from_hub(model_id="a/b") == tmp_path
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == left


def test_token_is_not_written(
    serving: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "hub_module.py").write_text(
        "def login(token): raise AssertionError(token)\n"
        "def load(token): login(token=token); return 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    serving.defer("hub_module", functions=("load",))
    assert importlib.import_module("hub_module").load("secret") == 1
    del sys.modules["hub_module"]
