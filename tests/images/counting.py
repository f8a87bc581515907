"""A way to the engine that counts what is asked."""

from __future__ import annotations

import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["counted"]


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
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"unix://{path}", asked
        server.shutdown()


def _pass_on(source: socket.socket, target: socket.socket, asked: list[str] | None = None) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            if asked is not None:
                asked += re.findall(r"^((?:GET|HEAD|POST) \S+) HTTP/", data.decode("latin-1"), re.M)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
