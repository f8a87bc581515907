"""A server for tests that read what is said on stderr."""

from __future__ import annotations

from http.server import ThreadingHTTPServer

__all__ = ["QuietServer"]


class QuietServer(ThreadingHTTPServer):
    """Says nothing of a client that has gone, as uv does when it ends with answers under way."""

    def handle_error(self, request: object, client_address: object) -> None:
        pass
