"""A small matrix with one release, whose inference image serves without a framework or Java."""

from __future__ import annotations

from pathlib import Path

from tests.images.small_matrix import write_small_matrix

__all__ = ["write_matrix"]

_RELEASES = """\
releases:
  - transformers: 4.57.1
    datasets: 24.1.0
    date: 2025-01-02
    training: {libraries: small, pytorch: [{version: 9.9.9, devices: [cpu], origin: own}]}
    inference: {libraries: small, pytorch: [{version: 9.9.9, devices: [cpu], origin: own}]}
"""
_JAVA = """\
FROM ${BASE} AS java
RUN mkdir /opt/java
"""
# What `dlc smoke` and `dlc serve` ask of an entrypoint.
_ENTRYPOINT = """\
import http.server
import json
import signal
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        length = int(self.headers.get("Content-Length", 0))
        body = json.dumps({"asked": self.rfile.read(length).decode()}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET


if sys.argv[1:] == ["ready"]:
    print("ready")
    sys.exit()
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


def write_matrix(folder: Path, index: str) -> Path:
    """Write the matrix, its templates, and the address of its index; it may be there already."""
    templates = folder / "templates"
    (templates / "stages").mkdir(parents=True, exist_ok=True)
    (templates / "files").mkdir(exist_ok=True)
    (templates / "stages/java.j2").write_text(_JAVA, "utf-8")
    (templates / "files/dockerd-entrypoint.py").write_text(_ENTRYPOINT, "utf-8")
    path = write_small_matrix(folder, index)
    text = path.read_text("utf-8")
    path.write_text(text[: text.index("releases:")] + _RELEASES, "utf-8")
    return path
