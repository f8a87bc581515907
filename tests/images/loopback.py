"""A real registry on loopback, and a way to the engine that counts what is asked."""

from __future__ import annotations

import re
import socket
import socketserver
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["counted", "serving_registry"]

CONFIGURATION = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@contextmanager
def serving_registry(program: str, folder: Path) -> Iterator[str]:
    """HOST:PORT of a registry that keeps its data below a folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = folder / "config.yml"
    configuration.write_text(CONFIGURATION.format(folder=folder / "data", port=port), "utf-8")
    with subprocess.Popen([program, "serve", str(configuration)]) as process:
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5).close()
                    break
                except (urllib.error.URLError, OSError):
                    assert time.monotonic() < deadline, "the registry does not start"
                    time.sleep(0.1)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


@contextmanager
def counted(socket_path: str, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A DOCKER_HOST that passes all on to an engine's socket, and the requests that it saw."""
    asked: list[str] = []

    class Passing(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as engine:
                engine.connect(socket_path)
                back = threading.Thread(target=_pass_on, args=(engine, self.request))
                back.start()
                _pass_on(self.request, engine, asked)
                back.join()

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True

    path = folder / "counted.sock"
    with Server(str(path), Passing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"unix://{path}", asked
        server.shutdown()


def _pass_on(source: socket.socket, target: socket.socket, asked: list[str] | None = None) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            if asked is not None:
                asked += re.findall(r"^((?:GET|HEAD|POST) \S+) HTTP/", data.decode("latin-1"), re.M)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
