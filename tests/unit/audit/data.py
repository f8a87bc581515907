"""Advisories and packages for tests, and a service with OSV's API on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from builder.audit.advisory import Database
from builder.audit.osv import advisory
from builder.inventory.model import Package
from tests.quiet_server import QuietServer

# The package itself can be imported in its own folder only.
SAFETY = Path(str(distribution("safety-db").locate_file("safety_db")))


def python(name: str, version: str, **more: Any) -> Package:
    return Package(kind="python", name=name, version=version, layer="libraries", **more)


def events(*bounds: str) -> list[dict[str, str]]:
    """`introduced 0`, `fixed 1.2` and so on."""
    return [dict([tuple(bound.split(" ", 1))]) for bound in bounds]  # type: ignore[list-item]


def entry(
    identifier: str,
    name: str,
    *bounds: str,
    ecosystem: str = "PyPI",
    versions: Sequence[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """An advisory of OSV's format, for one range of one package."""
    affected: dict[str, Any] = {"package": {"ecosystem": ecosystem, "name": name}}
    if bounds:
        affected["ranges"] = [{"type": "ECOSYSTEM", "events": events(*bounds)}]
    if versions:
        affected["versions"] = list(versions)
    return {"id": identifier, "modified": "2026-01-01T00:00:00Z", "affected": [affected], **more}


def database(*entries: Mapping[str, Any]) -> Database:
    found = Database()
    found.add(each for value in entries if (each := advisory(value, "test.json")))
    return found


Answer = Callable[[str, Any], tuple[int, Any]]


class Service:
    """Answers as OSV does, two advisories on a page, by names and versions that are told to it."""

    def __init__(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self.entries = {each["id"]: each for each in entries}
        self.affected: dict[tuple[str, str, str], list[str]] = {}
        self.asked: list[str] = []

    def __call__(self, path: str, body: Any) -> tuple[int, Any]:
        self.asked.append(path)
        if path == "/v1/querybatch":
            return 200, {"results": [self._result(each) for each in body["queries"]]}
        name = path.rpartition("/")[2]
        return (200, self.entries[name]) if name in self.entries else (404, {"code": 5})

    def _result(self, query: Any) -> dict[str, Any]:
        package = query["package"]
        names = self.affected.get((package["ecosystem"], package["name"], query["version"]), [])
        start = int(query.get("page_token", "0"))
        page: dict[str, Any] = {}
        if names[start : start + 2]:
            page["vulns"] = [{"id": name} for name in names[start : start + 2]]
        if names[start + 2 :]:
            page["next_page_token"] = str(start + 2)
        return page


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """The address of a server on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(None)

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            self._reply(json.loads(self.rfile.read(length)))

        def _reply(self, body: Any) -> None:
            status, value = answer(self.path, body)
            content = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = QuietServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
