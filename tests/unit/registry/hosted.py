"""Stand-ins on loopback for registries that others run, with the ways that set them apart.

What they do is what is reported of them: docker/docs (content/manuals/docker-hub/usage/pulls.md),
docker/hub-feedback issue 2464 and oras-project/rust-oci-client issues 35 and 235 of Docker Hub and
GitHub's registry; renovatebot/renovate issue 11446, dotnet/sdk-container-builds issue 292 and
docker/build-push-action issues 463 and 806 of GitHub's.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from builder.registry.client import OCI_INDEX, OCI_MANIFEST, Manifest
from tests.quiet_server import QuietServer

LOGIN = "Basic " + base64.b64encode(b"builder:secret").decode()
REPOSITORY = "team/image"
IMAGE = Manifest(
    content=json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"digest": f"sha256:{'0' * 64}", "size": 1},
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar+zstd",
                    "digest": f"sha256:{'1' * 64}",
                    "size": 5,
                }
            ],
        }
    ).encode(),
    media_type=OCI_MANIFEST,
)
INDEX = Manifest(content=b'{"schemaVersion": 2, "manifests": []}', media_type=OCI_INDEX)


class Hosted(QuietServer, ABC):
    """A registry with a token server, at the same address; what is not public needs a login."""

    daemon_threads = True
    service = "hosted"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.manifests = {"1": IMAGE, IMAGE.digest: IMAGE, "index": INDEX}
        self.public = True
        self.blobs: dict[str, bytes] = {}
        self.uploads: dict[str, bytes] = {}
        self.scopes: list[list[str]] = []  # what each token was asked for
        self.asked: Counter[str] = Counter()
        self.chunks: list[int] = []

    @abstractmethod
    def answer(self, ask: Handler, path: str, query: dict[str, list[str]], body: bytes) -> bool:
        """Answer in a way of its own; whether it did."""

    @abstractmethod
    def token(self, ask: Handler, scopes: list[str], *, known: bool) -> None:
        """Give a token that says itself what it is good for."""


class Handler(BaseHTTPRequestHandler):
    server: Hosted
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        server, address = self.server, urlsplit(self.path)
        query, path = parse_qs(address.query), address.path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server.asked[f"{self.command} {path}"] += 1
        if path == "/token":
            server.scopes.append(query["scope"])
            known = self.headers.get("Authorization") == LOGIN
            server.token(self, query["scope"], known=known)
        elif not self.held():
            self.challenge(self.wanted(path))
        elif not server.answer(self, path, query, body):
            self.serve(path.removeprefix(f"/v2/{REPOSITORY}/"), query, body)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def wanted(self, path: str) -> str:
        """The scope that a request needs."""
        name = re.sub(r"^/v2/|/(?:manifests|blobs|tags)/.*", "", path)
        return f"repository:{name}:{'pull' if self.command in {'GET', 'HEAD'} else 'pull,push'}"

    def held(self) -> list[str]:
        """The scopes of the token that came along."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return base64.urlsafe_b64decode(token).decode().split() if token else []

    def challenge(self, *scopes: str) -> None:
        server = self.server
        told = f'realm="http://{server.host}/token",service="{server.service}"'
        body = error("UNAUTHORIZED", "authentication required")
        bearer = f'Bearer {told},scope="{" ".join(scopes)}"'
        self.tell(401, body, {"WWW-Authenticate": bearer})

    def give(self, scopes: list[str]) -> None:
        token = base64.urlsafe_b64encode(" ".join(scopes).encode()).decode()
        self.tell(200, json.dumps({"token": token}).encode())

    def serve(self, what: str, query: dict[str, list[str]], body: bytes) -> None:
        server = self.server
        kind, _, name = what.partition("/")
        if kind == "manifests" and self.command == "PUT":
            found = Manifest(content=body, media_type=self.headers["Content-Type"])
            server.manifests[name] = found
            self.tell(201, b"", {"Docker-Content-Digest": found.digest})
        elif kind == "manifests" and name in server.manifests:
            found = server.manifests[name]
            if found.media_type not in self.headers.get("Accept", ""):
                self.tell(404, error("MANIFEST_UNKNOWN", "Accept does not support OCI indexes"))
                return
            headers = {"Content-Type": found.media_type, "Docker-Content-Digest": found.digest}
            self.tell(200, found.content, headers)
        elif self.command == "POST":
            server.uploads["1"] = b""
            self.tell(202, b"", {"Location": self.location()})
        elif name.startswith("upload") and "1" not in server.uploads:
            self.tell(404, error("BLOB_UPLOAD_INVALID", "blob upload invalid"))
        elif self.command == "PATCH":
            self.chunk(body)
        elif self.command == "PUT":
            content = server.uploads.pop("1") + body
            digest = query["digest"][0]
            if digest != f"sha256:{hashlib.sha256(content).hexdigest()}":
                self.tell(400, error("DIGEST_INVALID", "provided digest did not match"))
                return
            server.blobs[digest] = content
            self.tell(201)
        else:
            self.tell(200 if name in server.blobs else 404)

    def chunk(self, body: bytes) -> None:
        server = self.server
        start = int(self.headers["Content-Range"].partition("-")[0])
        if start != len(server.uploads["1"]):
            self.tell(416)
            return
        server.uploads["1"] += body
        server.chunks.append(len(body))
        last = len(server.uploads["1"]) - 1
        self.tell(202, b"", {"Location": self.location(), "Range": f"0-{last}"})

    def location(self) -> str:
        """Relative, with more behind a question mark, as some have it."""
        return f"/v2/{REPOSITORY}/blobs/upload/1?state=a%2Fb"

    def tell(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response_only(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def error(code: str, message: str) -> bytes:
    """An error as registries write it."""
    document: Any = {"errors": [{"code": code, "message": message}]}
    return json.dumps(document).encode()


Server = TypeVar("Server", bound=Hosted)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """One of them while the test lasts."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
