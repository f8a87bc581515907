"""A stand-in for the Hub: `python hub_server.py DIRECTORY`.

Runs inside an image, so that the image needs nothing but itself: standard library only, Python 3.6
or later. It answers what huggingface_hub 0.0.8 to 0.36 ask in order to load a model, as the Hub
does: https://huggingface.co/docs/hub/api and the headers that huggingface_hub reads.

DIRECTORY has hub.json, server.pem (a key and its certificate) and, for every commit, a folder of
that name with the files. hub.json holds the one good token, the host that large files are on, and
the models: whether one is private, whether its small files are answered with a redirect, and its
branches and tags with their commits. Every request is a line of JSON on standard output.
"""

import hashlib
import http.server
import json
import re
import socketserver
import ssl
import sys
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

PORT = 443
# Stored outside of git: the Hub redirects to another host for these.
LARGE = (".bin", ".h5", ".msgpack", ".safetensors")

API = r"/api/models/(?P<name>[^/]+(?:/[^/]+)?)"
INFO = re.compile(API + r"(?:/revision/(?P<revision>[^/]+))?")
TREE = re.compile(API + r"/tree/(?P<revision>[^/]+)")
FILE = re.compile(r"/(?P<name>.+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
CACHED = re.compile(
    r"/api/resolve-cache/models/(?P<name>.+)/(?P<revision>[0-9a-f]{40})/(?P<file>.+)"
)


class Answer(NamedTuple):
    """What goes back to the client, but for the length of the body."""

    status: int
    headers: "dict[str, str]"
    body: bytes


class Refusal(Exception):  # noqa: N818 - not a mistake of anybody
    """An answer that is none: a status, and what the Hub's two headers say."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {"X-Error-Code": code, "X-Error-Message": message}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one connection; the server has what hub.json says, and its directory."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else an answer waits 40 ms to be acknowledged
    server: "Server"

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def answer(self) -> None:
        try:
            self.check_token()
            answer = self.find(unquote(urlsplit(self.path).path))
        except Refusal as refusal:
            answer = Answer(refusal.status, refusal.headers, str(refusal).encode())
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(answer.body)

    def token(self) -> str:
        """Which token came with the request: none, good or wrong."""
        authorization = self.headers.get("Authorization")
        if authorization is None:
            return "none"
        return "good" if authorization == "Bearer " + self.server.hub["token"] else "wrong"

    def check_token(self) -> None:
        if self.token() == "wrong":
            raise Refusal(401, "", "Invalid credentials in Authorization header")

    def find(self, path: str) -> Answer:
        """The status, headers and body for a path."""
        if self.headers.get("Host") == self.server.hub["large_files"]:
            return self.large_file(path)
        if path == "/api/whoami-v2":
            return self.who_am_i()
        for pattern, name in (
            (CACHED, "cached_file"),
            (TREE, "tree"),
            (INFO, "info"),
            (FILE, "file"),
        ):
            match = pattern.fullmatch(path)
            if match:
                answer: Answer = getattr(self, name)(**match.groupdict())
                return answer
        raise Refusal(404, "", "Not Found")

    def who_am_i(self) -> Answer:
        if self.token() == "none":
            raise Refusal(401, "", "Invalid username or password.")
        token = {"displayName": "test", "role": "read"}
        return as_json(
            {"type": "user", "name": "test", "auth": {"type": "access_token", "accessToken": token}}
        )

    def info(self, name: str, revision: "str | None") -> Answer:
        model, commit = self.model(name, revision or "main")
        files = [{"rfilename": file} for file in self.files(commit)]
        return as_json(
            {
                "id": name,
                "modelId": name,
                "sha": commit,
                "private": model["private"],
                "lastModified": "2021-03-22T00:00:00.000Z",
                "tags": [],
                "siblings": files,
            }
        )

    def tree(self, name: str, revision: str) -> Answer:
        _, commit = self.model(name, revision)
        return as_json(
            [
                {
                    "type": "file",
                    "path": file,
                    "size": len(self.content(commit, file)),
                    "oid": git_hash(self.content(commit, file)),
                }
                for file in self.files(commit)
            ]
        )

    def file(self, name: str, revision: str, file: str) -> Answer:
        model, commit = self.model(name, revision)
        body = self.content(commit, file)
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if file.endswith(LARGE):
            digest = hashlib.sha256(body).hexdigest()
            location = "https://{}/{}/{}".format(self.server.hub["large_files"], name, digest)
            headers["X-Linked-ETag"] = '"' + digest + '"'
            headers["X-Linked-Size"] = str(len(body))
            return Answer(302, dict(headers, Location=location), b"")
        if model["redirects"]:
            etag = '"' + git_hash(body) + '"'
            location = "/api/resolve-cache/models/{}/{}/{}?{}=&etag={}".format(
                name, commit, file, quote(self.path, safe=""), quote(etag)
            )
            headers["X-Linked-ETag"] = etag
            headers["X-Linked-Size"] = str(len(body))
            return Answer(307, dict(headers, Location=location), b"")
        return small_file(headers, body)

    def cached_file(self, name: str, revision: str, file: str) -> Answer:
        _, commit = self.model(name, revision)
        return small_file({"X-Repo-Commit": commit}, self.content(commit, file))

    def large_file(self, path: str) -> Answer:
        for file in sorted(self.server.directory.glob("*/**/*")):
            body = file.read_bytes() if file.name.endswith(LARGE) else b""
            if body and hashlib.sha256(body).hexdigest() == path.rpartition("/")[2]:
                return Answer(200, {}, body)
        raise Refusal(404, "", "Not Found")

    def model(self, name: str, revision: str) -> "tuple[dict[str, Any], str]":
        """A model and the commit of a revision, if whoever asks may know of them."""
        model = self.server.hub["models"].get(name)
        if model is None or (model["private"] and self.token() != "good"):
            # The Hub does not tell a stranger whether a model is private or does not exist.
            if self.token() == "none":
                raise Refusal(401, "RepoNotFound", "Invalid username or password.")
            raise Refusal(404, "RepoNotFound", "Repository not found")
        revisions = dict(model["revisions"])
        revisions.update((commit, commit) for commit in model["revisions"].values())
        commit = revisions.get(revision)
        if commit is None:
            raise Refusal(404, "RevisionNotFound", "Invalid rev id: " + revision)
        return model, commit

    def files(self, commit: str) -> "list[str]":
        """The files of a commit by their paths, those in its folders too."""
        folder = self.server.directory / commit
        return sorted(
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        )

    def content(self, commit: str, file: str) -> bytes:
        if file not in self.files(commit):
            raise Refusal(404, "EntryNotFound", "Entry not found")
        return (self.server.directory / commit / file).read_bytes()

    def log_request(self, code: "Any" = "-", size: "Any" = "-") -> None:  # noqa: ARG002
        request = {
            "host": self.headers.get("Host"),
            "method": self.command,
            "path": self.path,
            "status": int(code),
            "token": self.token(),
        }
        say(request)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """A thread for each connection; its first read does the handshake of TLS."""

    daemon_threads = True

    def __init__(self, directory: Path, address: "tuple[str, int]") -> None:
        super().__init__(address, Handler)
        self.directory = directory
        self.hub = json.loads((directory / "hub.json").read_text(encoding="utf-8"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(directory / "server.pem"))
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )


def git_hash(content: bytes) -> str:
    """The hash that git has for a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324


def as_json(value: "Any") -> Answer:
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(value).encode())


def small_file(headers: "dict[str, str]", body: bytes) -> Answer:
    return Answer(200, dict(headers, ETag='"' + git_hash(body) + '"'), body)


def say(message: "dict[str, Any]") -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main(directory: Path) -> None:
    server = Server(directory, ("", PORT))
    say({"listening": PORT})
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
