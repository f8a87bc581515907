"""A proxy by which builds in a network without a way out reach the distribution's archive."""

from __future__ import annotations

import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from tests.quiet_server import QuietServer

__all__ = ["forwarding"]

_HEADERS = ("If-Modified-Since", "Range", "User-Agent")
_ANSWERED = ("Accept-Ranges", "Content-Length", "Content-Range", "Content-Type", "Last-Modified")


class _Forward(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        wanted = {name: value for name in _HEADERS if (value := self.headers.get(name))}
        try:
            request = urllib.request.Request(self.path, headers=wanted)  # noqa: S310 - apt's
            answer = urllib.request.urlopen(request, timeout=60)  # noqa: S310
        except urllib.error.HTTPError as error:
            answer = error
        except (OSError, ValueError) as error:
            self.send_error(502, str(error))
            return
        with answer:
            self.send_response(answer.status)
            for name in _ANSWERED:
                if value := answer.headers.get(name):
                    self.send_header(name, value)
            self.end_headers()
            shutil.copyfileobj(answer, self.wfile)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def forwarding(
    within: Callable[[Callable[[], QuietServer]], QuietServer], host: str
) -> Iterator[str]:
    """The proxy's address while it runs: it listens in one network, and asks from this one."""
    server = within(lambda: QuietServer((host, 0), _Forward))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
