"""A real registry on loopback, a server of tokens for it, and what stands in its way on demand."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import re
import socket
import subprocess
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import docker

from builder.registry.client import RegistryClient

# bcrypt of `secret` for builder, and of what moto gives to account 123456789012 for AWS.
START_SECONDS = 60
HTPASSWD = """\
builder:$2y$05$ZvRwTdfckd1viW7EOUnN6OJSn0sCb6kRzdubzI8AoSIj/U7phT0zu
AWS:$2y$05$hEHtbGNMLUAt4BRvK6RsfO9p6NsyxlJ7OAVXO6CQ2P8IFjR8qCahe
"""
CONFIGURATION = """
version: 0.1
log: {{level: info}}
storage:
  filesystem: {{rootdirectory: {folder}}}
http: {{addr: "127.0.0.1:{port}"}}
{auth}
"""


_LISTENING = re.compile(r'msg="listening on 127\.0\.0\.1:(\d+)"')


@dataclass
class Registry:
    """Debian's docker-registry, on a port that it finds itself when it is first started.

    Killed and started again it has that port, and what was pushed.
    """

    program: str
    folder: Path
    auth: str = ""
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """Where it answers."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        configuration = self.folder / "config.yml"
        data = self.folder / "data"
        text = CONFIGURATION.format(folder=data, port=self.port, auth=self.auth)
        configuration.write_text(text)
        path = self.folder / "log"
        with path.open("wb") as log:
            self.process = subprocess.Popen(
                [self.program, "serve", str(configuration)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while not (listening := _LISTENING.search(path.read_text("utf-8"))):
            assert self.process.poll() is None, path.read_text("utf-8")
            assert time.monotonic() < deadline, f"{path} names no port"
            time.sleep(0.02)
        self.port = int(listening[1])

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass
class Fault:
    """What goes wrong with requests whose "METHOD path" the pattern fits, `times` times.

    `how` is a status, which is answered with `body`; "drop" (after so many bytes of what comes);
    "slow" (so many bytes in a second); or "lost", where only the answer does not come back.
    """

    pattern: str
    how: str
    times: int = 1
    bytes: int = 0
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class Proxy(ThreadingHTTPServer):
    """Stands before a registry, passes on what is asked, and lets go wrong what it is told to."""

    daemon_threads = True

    def __init__(self, registry: Registry) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.registry = registry
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.faults: list[Fault] = []
        self.asked: Counter[str] = Counter()
        self.uploaded: Counter[str] = Counter()  # bytes of layers, by repository
        self.most = 0
        self.lock = threading.Lock()

    def fault(self, request: str) -> Fault | None:
        """What goes wrong with this request."""
        with self.lock:
            for each in self.faults:
                if each.times and re.search(each.pattern, request):
                    each.times -= 1
                    return each
        return None

    def handle_error(self, request: object, client_address: object) -> None:
        """Broken connections are what this is for."""


class _Dropped(Exception):  # noqa: N818 - done on purpose
    """The connection is to break off now."""


class _Passing(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else an answer waits 40 ms to be acknowledged

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        request = f"{self.command} {path}"
        with self.server.lock:
            self.server.asked[request] += 1
        fault = self.server.fault(request)
        if fault and fault.how.isdigit():
            self.drain()
            body = fault.body.encode()
            self.answer(int(fault.how), {**fault.headers, "Content-Length": str(len(body))}, body)
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.registry.port, timeout=60)
        try:
            self.forward(upstream, fault)
        except (_Dropped, OSError, http.client.HTTPException):
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
        finally:
            upstream.close()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def forward(self, upstream: http.client.HTTPConnection, fault: Fault | None) -> None:
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for key, value in self.headers.items():
            upstream.putheader(key, value)
        upstream.endheaders()
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "")
        repository = self.path.split("/blobs/")[0].removeprefix("/v2/")
        seen = 0
        for part in self.body():
            seen += len(part)
            upstream.send(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
            if self.command in {"PATCH", "PUT"} and "/blobs/" in self.path:
                with self.server.lock:
                    self.server.uploaded[repository] += len(part)
            if fault and fault.how == "drop" and seen > fault.bytes:
                raise _Dropped
            if fault and fault.how == "slow":
                time.sleep(len(part) / fault.bytes)
        if chunked:
            upstream.send(b"0\r\n\r\n")
        told = upstream.getresponse()
        content = told.read()
        if fault and fault.how == "lost":
            raise _Dropped
        headers = {
            key: value
            for key, value in told.getheaders()
            if key.lower() not in {"transfer-encoding", "connection"}
        }
        headers.setdefault("Content-Length", str(len(content)))
        self.answer(told.status, headers, content)

    def body(self) -> Iterator[bytes]:
        """What the client sends, in parts of 64 KiB at most."""
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                left = size
                while left:
                    part = self.rfile.read(min(left, 1 << 16))
                    if not part:
                        raise _Dropped
                    left -= len(part)
                    yield part
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            part = self.rfile.read(min(left, 1 << 16))
            if not part:
                raise _Dropped
            left -= len(part)
            yield part

    def drain(self) -> None:
        with suppress(_Dropped):
            for _ in self.body():
                pass

    def answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def running(registry: Registry) -> Iterator[Registry]:
    """A registry while the test lasts."""
    registry.start()
    try:
        yield registry
    finally:
        registry.kill()


Server = TypeVar("Server", bound=ThreadingHTTPServer)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """A server of this process while the test lasts."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    with server:
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def build_small(
    client: docker.DockerClient,
    name: str,
    layers: list[bytes],
    labels: Mapping[str, str],
    files: Mapping[str, bytes],
) -> str:
    """An image with a layer for each of the contents, and one of files by path; its id."""
    context = io.BytesIO()
    lines = ["FROM scratch", *(f"COPY {number} /{number}" for number in range(len(layers)))]
    lines += ["COPY root /"] if files else []
    with tarfile.open(fileobj=context, mode="w") as tar:
        context_files = {
            "Dockerfile": "\n".join(lines).encode(),
            **{str(number): content for number, content in enumerate(layers)},
            **{f"root/{path}": content for path, content in files.items()},
        }
        for file, content in context_files.items():
            info = tarfile.TarInfo(file)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    context.seek(0)
    image, _ = client.images.build(
        fileobj=context, custom_context=True, tag=name, labels=dict(labels), rm=True
    )
    return str(image.id)


def noise(size: int) -> bytes:
    """Bytes that no compression makes fewer, and that no other test has."""
    return os.urandom(size)


def write_login(folder: Path, host: str, user: str = "builder", password: str = "secret") -> Path:
    """A Docker configuration with a credential helper that knows a login; its folder."""
    told = json.dumps({"ServerURL": host, "Username": user, "Secret": password})
    helper = folder / "docker-credential-of-the-test"
    helper.write_text(f"#!/bin/sh\ncat > /dev/null\necho '{told}'\n")
    helper.chmod(0o755)
    configuration = {"credHelpers": {host: "of-the-test"}}
    (folder / "config.json").write_text(json.dumps(configuration))
    return folder


def held(client: RegistryClient, repository: str) -> dict[str, str]:
    """What each tag of a repository is, after every blob of it was compared with its digest."""
    found = {}
    for tag in client.tags(repository):
        manifest = client.manifest(repository, tag)
        assert manifest is not None
        found[tag] = manifest.digest
        waiting = [manifest]
        while waiting:
            each = waiting.pop()
            document: Any = each.document
            for part in (*document.get("layers", ()), *filter(None, [document.get("config")])):
                content = client.blob(repository, part["digest"])
                assert len(content) == part["size"]
                assert f"sha256:{hashlib.sha256(content).hexdigest()}" == part["digest"]
            for entry in document.get("manifests", ()):
                inner = client.manifest(repository, entry["digest"])
                assert inner is not None
                waiting.append(inner)
    return found
