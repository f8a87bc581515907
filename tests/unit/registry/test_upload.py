"""Uploads to a registry that breaks off, forgets, hangs and leads elsewhere, on demand."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from builder.errors import Interrupted, RegistryError
from builder.registry import upload
from builder.registry.auth import Login
from builder.registry.client import RegistryClient
from tests.quiet_server import QuietServer

BASIC = "Basic " + base64.b64encode(b"builder:secret").decode()
REPOSITORY = "team/image"
CHUNK = 1000


class Registry(QuietServer):
    """One upload, whose bytes are kept; `faults` go wrong, each with the next request of a kind."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.blobs: dict[str, bytes] = {}
        self.others: dict[str, set[str]] = {}  # blobs of other repositories
        self.upload = b""
        self.faults: list[str] = []  # "METHOD what"
        self.asked: list[tuple[str, str]] = []
        self.chunks: list[int] = []
        self.sent = 0
        self.stuck = 0  # what it says that it has of an upload, once it has more
        self.location = "/v2/team/image/blobs/uploads/1?state=x"
        self.token = ""  # without one, nobody is asked who it is
        self.over = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Registry
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        server, address = self.server, urlsplit(self.path)
        server.asked.append((self.command, self.headers.get("Authorization", "")))
        if address.path == "/token":
            server.token += "I"
            self.tell(200, b'{"token": "%s"}' % server.token.encode())
            return
        fault = ""
        if server.faults and server.faults[0].startswith(f"{self.command} "):
            fault = server.faults.pop(0).partition(" ")[2]
        body = self.body(500 if fault == "drop" else 1 << 40)
        server.sent += len(body)
        if fault == "drop":
            server.upload += body
            self.close_connection = True
        elif fault == "hang":
            server.over.wait()
            self.close_connection = True
        elif fault == "trickle":
            self.trickle()
        elif fault == "flood":
            self.flood()
        elif fault:
            self.tell(int(fault), b'{"errors": [{"code": "X", "detail": "a\\u001b[2Jb"}]}')
        elif server.token and self.headers.get("Authorization") != f"Bearer {server.token}":
            realm = f'Bearer realm="http://{server.host}/token"'
            self.tell(401, WWW_Authenticate=realm)
        else:
            self.serve(body, address.path, parse_qs(address.query))

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def serve(self, body: bytes, path: str, query: dict[str, list[str]]) -> None:
        server = self.server
        last = max(len(server.upload) - 1, 0)
        if self.command == "HEAD":
            self.tell(200 if path.rpartition("/")[2] in server.blobs else 404)
        elif self.command == "POST" and query.get("mount", [""])[0] in server.others.get(
            query.get("from", [""])[0], ()
        ):
            server.blobs[query["mount"][0]] = b""
            self.tell(201)
        elif self.command == "POST":
            server.upload = b""
            self.tell(202, Location=server.location)
        elif self.command == "GET":
            self.tell(204, Location=server.location, Range=f"0-{last}")
        elif self.command == "PATCH":
            start = int(self.headers["Content-Range"].partition("-")[0])
            if server.stuck and start != len(server.upload):
                self.tell(416)
                return
            assert start == len(server.upload)
            server.upload += body
            server.chunks.append(len(body))
            there = min(len(server.upload), server.stuck or len(server.upload))
            self.tell(202, Location=server.location, Range=f"0-{there - 1}")
        elif self.command == "PUT":
            server.blobs[query["digest"][0]] = server.upload + body
            self.tell(201)
        else:
            self.tell(204)

    def body(self, most: int) -> bytes:
        return self.rfile.read(min(int(self.headers.get("Content-Length", 0)), most))

    def tell(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def trickle(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not self.server.over.wait(0.05):
                self.wfile.write(b" ")

    def flood(self) -> None:
        """An error that has no end."""
        self.close_connection = True
        with suppress(OSError):
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            while True:
                self.wfile.write(b" " * (1 << 20))

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Registry]:
    with Registry() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serving() as found:
        yield found


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "CHUNK_BYTES", CHUNK)


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    path = tmp_path / "layer"
    path.write_bytes(os.urandom(3500))
    return path


def client_of(
    registry: Registry, patience: float = 60, **options: threading.Event
) -> RegistryClient:
    def logins(_host: str) -> Login:
        return Login(user="builder", password="secret")

    return RegistryClient(registry.host, logins=logins, pause=0.01, patience=patience, **options)


def digest(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def put(registry: Registry, layer: Path, patience: float = 60) -> list[int]:
    """Upload it; how far that was, in the order in which it was told."""
    told: list[int] = []
    client_of(registry, patience).put_file(REPOSITORY, digest(layer), layer, told.append)
    assert registry.blobs[digest(layer)] == layer.read_bytes()
    return told


def test_chunks(registry: Registry, layer: Path) -> None:
    told = put(registry, layer)
    assert registry.chunks == [1000, 1000, 1000, 500]
    assert told == sorted(told)
    assert told[-1] == 3500


@pytest.mark.parametrize(
    ("faults", "sent"),
    [
        (["PATCH drop"], 3500),  # goes on in the middle of a chunk
        (["PATCH 503", "PATCH 429"], 3500 + 2 * 1000),
        (["PATCH 404"], 3500 + 1000),  # the registry has forgotten it
        (["PATCH 500", "GET 404"], 3500 + 1000),
        (["POST 503", "PUT 502"], 3500),
        (["PATCH drop", "HEAD 500", "GET 503"], 3500),
    ],
)
def test_upload_goes_on(registry: Registry, layer: Path, faults: list[str], sent: int) -> None:
    registry.faults = list(faults)
    put(registry, layer)
    assert registry.faults == []
    assert registry.sent == sent


def test_last_answer_that_is_lost(registry: Registry, layer: Path) -> None:
    registry.faults = ["PUT drop"]
    registry.blobs[digest(layer)] = layer.read_bytes()
    put(registry, layer)
    assert [method for method, _ in registry.asked].count("PATCH") == 4


@pytest.mark.parametrize("status", [405, 411, 413, 416])
def test_registry_that_takes_no_chunks(registry: Registry, layer: Path, status: int) -> None:
    registry.faults = [f"PATCH {status}"] if status != 416 else ["PATCH 400"]
    put(registry, layer)
    assert registry.chunks == []


@pytest.mark.parametrize(
    ("stuck", "refused"),
    [(1000, 0), (1500, 1), (600, 1)],
    ids=["at a chunk", "in the second chunk", "in the first chunk"],
)
def test_registry_that_has_more_than_it_says(
    registry: Registry, layer: Path, stuck: int, refused: int
) -> None:
    """As ECR, which says of every chunk that it has the first (aws/containers-roadmap 2831)."""
    registry.stuck = stuck
    client = client_of(registry)
    client.put_file(REPOSITORY, digest(layer), layer, lambda _: None)
    assert registry.blobs[digest(layer)] == layer.read_bytes()
    assert registry.chunks == [1000, 1000, 1000, 500]
    assert [method for method, _ in registry.asked].count("PATCH") == 4 + refused
    # From then on it is not listened to.
    registry.asked.clear()
    layer.write_bytes(os.urandom(2100))
    client.put_file(REPOSITORY, digest(layer), layer, lambda _: None)
    assert registry.blobs[digest(layer)] == layer.read_bytes()
    assert [method for method, _ in registry.asked] == ["POST", "PATCH", "PATCH", "PATCH", "PUT"]


def test_registry_that_took_less_than_it_should(registry: Registry, layer: Path) -> None:
    """What was sent twice, or not at all, is found by the digest; then all goes in one request."""
    registry.stuck = 1000
    registry.faults = ["PUT 400"]
    put(registry, layer)
    assert registry.sent == 3500 + 3500


def test_token_that_ends_in_mid_upload(registry: Registry, layer: Path) -> None:
    registry.token = "I"  # noqa: S105
    registry.faults = ["POST 401", "PATCH 401"]
    with pytest.raises(RegistryError, match="authentication required"):
        put(registry, layer)  # a registry that does not say what it wants
    registry.faults = []
    client = client_of(registry)
    assert not client.has_blob(REPOSITORY, digest(layer))
    before = registry.token
    registry.token = f"{before}I"  # what was taken so far is taken no more
    client.put_file(REPOSITORY, digest(layer), layer, lambda _: None)
    assert registry.token > f"{before}I"
    assert registry.blobs[digest(layer)] == layer.read_bytes()


def test_mount(registry: Registry, layer: Path) -> None:
    client = client_of(registry)
    registry.others = {"team/other": {digest(layer)}}
    assert not client.mount(REPOSITORY, digest(layer), ["team/none"])
    # The upload that the registry began instead is ended.
    assert [method for method, _ in registry.asked] == ["POST", "DELETE"]
    assert client.mount(REPOSITORY, digest(layer), ["team/none", "team/other"])
    assert client.has_blob(REPOSITORY, digest(layer))
    registry.faults = ["POST 403"]
    assert not client.mount(REPOSITORY, digest(layer), ["team/none"])


def test_credentials_go_to_no_other_host(registry: Registry, layer: Path) -> None:
    """Another port is another host. This one speaks no TLS, so nothing at all goes there."""
    with serving() as other:
        registry.token = "I"  # noqa: S105
        registry.location = f"http://{other.host}/v2/team/image/blobs/uploads/1"
        with pytest.raises(RegistryError, match="it leads to 'http://127"):
            put(registry, layer)
        assert other.asked == []
        assert any(sent.startswith("Bearer ") for _, sent in registry.asked)


@pytest.mark.parametrize("fault", ["GET hang", "GET trickle"])
def test_answer_that_does_not_end(registry: Registry, fault: str) -> None:
    registry.faults = [fault]
    with pytest.raises(RegistryError, match=r"no whole answer within 0\.3 seconds"):
        client_of(registry, patience=0.3).manifest(REPOSITORY, "1")


@pytest.mark.parametrize("fault", ["PATCH hang", "PATCH trickle", "POST hang", "PUT hang"])
def test_upload_that_hangs(registry: Registry, layer: Path, fault: str) -> None:
    registry.faults = [fault] * 9
    with pytest.raises(RegistryError, match=r"no whole answer within 0\.3 seconds"):
        put(registry, layer, patience=0.3)


def test_hanging_upload_is_interrupted(registry: Registry, layer: Path) -> None:
    stop = threading.Event()
    registry.faults = ["PATCH hang"]
    client = client_of(registry, stop=stop)
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(Interrupted):
        client.put_file(REPOSITORY, digest(layer), layer, lambda _: None)


def test_error_without_an_end_is_read_to_a_limit(registry: Registry) -> None:
    registry.faults = ["GET flood", "PUT flood"]
    client = client_of(registry)
    for do in (client.tags, lambda name: client.put_blob(name, b"{}")):
        with pytest.raises(RegistryError, match="403 forbidden"):
            do(REPOSITORY)
    assert registry.faults == []


def test_what_steers_a_terminal_is_not_printed(registry: Registry) -> None:
    registry.faults = ["GET 403"]
    with pytest.raises(RegistryError) as told:
        client_of(registry).tags(REPOSITORY)
    assert "403 a [2Jb" in told.value.message
    assert told.value.message.isprintable()
