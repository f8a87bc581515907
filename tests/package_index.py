"""A small package index on loopback, with packages that the tests make.

What resolves or installs in a test asks this and not the index of the day: files have upload dates
of their own (or none), may be yanked, come late or vanish, while the server runs.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import stat
import tarfile
import threading
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from urllib.parse import unquote

from builder.matrix.requirements import normalise
from tests.quiet_server import QuietServer

__all__ = ["IndexFile", "PackageIndex", "sdist", "wheel"]

# The earliest time that a zip file can tell.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, kw_only=True)
class IndexFile:
    """A file of a package. `uploaded` is a time as the simple API tells it, or None for none."""

    package: str
    version: str
    filename: str
    content: bytes
    metadata: bytes | None = None
    uploaded: str | None = "2025-01-01T00:00:00Z"
    yanked: bool | str = False
    python: str | None = None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def _metadata(name: str, version: str, requires: Sequence[str], python: str | None) -> bytes:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Python: {python}"] if python else []
    lines += [f"Requires-Dist: {text}" for text in requires]
    return ("\n".join(lines) + "\n").encode()


def wheel(
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    files: Mapping[str, bytes] = {},
    tag: str = "py3-none-any",
    python: str | None = None,
    uploaded: str | None = "2025-01-01T00:00:00Z",
    yanked: bool | str = False,
) -> IndexFile:
    """A wheel of a package, the same bytes each time; without `files` it has one empty module."""
    module = name.replace("-", "_").replace(".", "_")
    info = f"{module}-{version}.dist-info"
    metadata = _metadata(name, version, requires, python)
    contents = {
        **(files or {f"{module}.py": b""}),
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    record = "".join(f"{path},{_record(data)}\n" for path, data in contents.items())
    contents[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in contents.items():
            member = zipfile.ZipInfo(path, _ZIP_TIME)
            program = ".data/scripts/" in path
            member.external_attr = (stat.S_IFREG | (0o755 if program else 0o644)) << 16
            # A program may be large, and nobody keeps the wheel.
            member.compress_type = zipfile.ZIP_STORED if program else zipfile.ZIP_DEFLATED
            archive.writestr(member, data)
    return IndexFile(
        package=normalise(name),
        version=version,
        filename=f"{module}-{version}-{tag}.whl",
        content=buffer.getvalue(),
        metadata=metadata,
        uploaded=uploaded,
        yanked=yanked,
        python=python,
    )


def _record(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    return f"sha256={digest},{len(data)}"


def sdist(
    name: str,
    version: str,
    *,
    files: Mapping[str, bytes],
    python: str | None = None,
    uploaded: str | None = "2025-01-01T00:00:00Z",
    yanked: bool | str = False,
) -> IndexFile:
    """A source distribution of these files, a setup.py among them, the same bytes each time."""
    stem = f"{name}-{version}"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, data in {"PKG-INFO": _metadata(name, version, (), python), **files}.items():
            member = tarfile.TarInfo(f"{stem}/{path}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return IndexFile(
        package=normalise(name),
        version=version,
        filename=f"{stem}.tar.gz",
        content=gzip.compress(buffer.getvalue(), mtime=0),
        uploaded=uploaded,
        yanked=yanked,
        python=python,
    )


class PackageIndex:
    """The index while it runs: a context manager. `asked` are the paths of all requests.

    `host` is the address of this machine that it listens on. With a `login`, a user and a password,
    it answers nobody else.
    """

    def __init__(self, *files: IndexFile, host: str = "127.0.0.1") -> None:
        self._files: dict[str, IndexFile] = {}
        self.asked: list[str] = []
        self.login: tuple[str, str] | None = None
        for file in files:
            self.add(file)
        index = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else an answer waits 40 ms to be acknowledged

            def do_GET(self) -> None:
                index.asked.append(self.path)
                status, kind, body = index._answer(unquote(self.path))
                if not index._may(self.headers.get("Authorization", "")):
                    status, kind, body = 401, "text/plain", b"who are you?\n"
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-cache")
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = QuietServer((host, 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )

    @property
    def url(self) -> str:
        """Its address, as `--default-index` takes it."""
        return f"http://{self._server.server_address[0]!s}:{self._server.server_port}/simple"

    @property
    def environment(self) -> dict[str, str]:
        """What makes uv and pip use this index and no other."""
        return {"UV_DEFAULT_INDEX": self.url, "PIP_INDEX_URL": self.url}

    @property
    def files(self) -> tuple[IndexFile, ...]:
        """All that it offers."""
        return tuple(self._files.values())

    def add(self, file: IndexFile) -> IndexFile:
        """Offer one more file, or another under the same name."""
        self._files[file.filename] = file
        return file

    def remove(self, filename: str) -> None:
        """Let a file vanish."""
        del self._files[filename]

    def yank(self, filename: str, reason: str = "broken") -> None:
        """Yank a file (PEP 592)."""
        self._files[filename] = replace(self._files[filename], yanked=reason)

    def __enter__(self) -> PackageIndex:  # noqa: PYI034 - Python 3.10 has no Self
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _may(self, authorization: str) -> bool:
        told = base64.b64encode(":".join(self.login or ()).encode()).decode()
        return self.login is None or authorization == f"Basic {told}"

    def _answer(self, path: str) -> tuple[int, str, bytes]:
        parts = path.strip("/").split("/")
        if parts[0] == "files" and len(parts) == 2:
            name = parts[1]
            if name in self._files:
                return 200, "application/octet-stream", self._files[name].content
            file = self._files.get(name.removesuffix(".metadata"))
            if file and file.metadata is not None:
                return 200, "application/octet-stream", file.metadata
        elif parts[0] == "simple" and len(parts) == 2:
            found = [file for file in self._files.values() if file.package == normalise(parts[1])]
            if found:
                page = {
                    "meta": {"api-version": "1.1"},
                    "name": normalise(parts[1]),
                    "versions": sorted({file.version for file in found}),
                    "files": [self._told(file) for file in found],
                }
                return 200, "application/vnd.pypi.simple.v1+json", json.dumps(page).encode()
        return 404, "text/plain", b"not here\n"

    def _told(self, file: IndexFile) -> dict[str, object]:
        told: dict[str, object] = {
            "filename": file.filename,
            "url": f"/files/{file.filename}",
            "hashes": {"sha256": file.sha256},
            "size": len(file.content),
            "yanked": file.yanked,
        }
        if file.python:
            told["requires-python"] = file.python
        if file.uploaded:
            told["upload-time"] = file.uploaded
        if file.metadata is not None:
            told["core-metadata"] = {"sha256": hashlib.sha256(file.metadata).hexdigest()}
        return told
