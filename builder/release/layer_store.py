"""Compressed layers on their way to registries, and what is known of those that were sent.

A layer is compressed once. Its file stays until it has been pushed, so that a push that broke off
goes on with it; what is left of one that never went on is removed after a day. What it became (its
digest and size), and which repositories have it, is remembered.
"""

from __future__ import annotations

import fcntl
import json
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from builder.release.compress import Compressed, compress
from builder.util import atomic
from builder.util.state import state_directory

__all__ = ["LayerStore"]

_DAY = 24 * 60 * 60
_PLACES = 4  # of one layer that are remembered, the last ones


class LayerStore:
    """Layers of one profile: compressed by zstd, or by gzip. Several threads may use it."""

    def __init__(self, *, zstd: bool) -> None:
        self._zstd = zstd
        self._root = state_directory() / "push"
        self._kind = "zstd" if zstd else "gzip"
        self._used: set[Path] = set()
        self._lock = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}
        self.done = False
        # Compression keeps all processors busy, so images are read one at a time.
        self.reading = threading.Lock()

    @contextmanager
    def opened(self) -> Iterator[LayerStore]:
        """Keep the files while others push; with `done` set, those that were used go at the end."""
        self._blobs.mkdir(parents=True, exist_ok=True)
        with (self._root / "lock").open("a") as lock:
            if _alone(lock.fileno()):
                _remove_old(self._root / "blobs")
            fcntl.flock(lock, fcntl.LOCK_SH)
            try:
                yield self
            finally:
                if self.done and _alone(lock.fileno()):
                    for each in self._used:
                        each.unlink(missing_ok=True)

    def config(self, image: str) -> bytes:
        """The configuration of an image that was read before; empty if it was not."""
        with suppress(OSError):
            return (self._root / "images" / _name(image)).read_bytes()
        return b""

    def keep_config(self, image: str, content: bytes) -> None:
        """Remember an image's configuration."""
        self._keep(Path("images", _name(image)), content.decode())

    def known(self, diff_id: str) -> Compressed | None:
        """What a layer became when it was compressed; None if it never was."""
        with suppress(OSError, ValueError, TypeError):
            text = (self._root / "layers" / self._kind / _name(diff_id)).read_text("utf-8")
            return Compressed(**json.loads(text))
        return None

    def file(self, layer: Compressed) -> Path | None:
        """The compressed layer, if it is here."""
        path = self._blobs / _name(layer.digest)
        with suppress(OSError):
            if path.stat().st_size == layer.size:
                self._used.add(path)
                return path
        return None

    def compress(self, blocks: Iterable[bytes]) -> Compressed:
        """Compress a layer's tar, and keep it."""
        with tempfile.NamedTemporaryFile(dir=self._blobs, prefix=".", delete=False) as file:
            path = Path(file.name)
            try:
                found = compress(blocks, file, zstd=self._zstd)
                file.close()
                path.replace(self._blobs / _name(found.digest))
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        self._keep(Path("layers", self._kind, _name(found.diff_id)), json.dumps(asdict(found)))
        return found

    def diff_id(self, name: str) -> str:
        """The layer that an engine exports under a name, if it was read under it before."""
        with suppress(OSError):
            return (self._root / "names" / _name(name)).read_text("utf-8")
        return ""

    def keep_name(self, name: str, diff_id: str) -> None:
        """Remember the name that an engine has a layer under: a digest of it or of those below."""
        self._keep(Path("names", _name(name)), diff_id)

    def places(self, host: str, digest: str) -> list[str]:
        """Repositories of a registry that have a layer, the last one first."""
        with suppress(OSError, ValueError):
            rows = json.loads(self._places(digest).read_text("utf-8"))
            return [name for where, name in rows if where == host]
        return []

    def keep_place(self, host: str, digest: str, repository: str) -> None:
        """Remember that a repository has a layer."""
        path = self._places(digest)
        with self._lock:
            rows: list[list[str]] = []
            with suppress(OSError, ValueError):
                rows = [list(row) for row in json.loads(path.read_text("utf-8"))]
            row = [host, repository]
            if rows[:1] != [row]:
                rows = [row, *(each for each in rows if each != row)][:_PLACES]
                self._keep(path.relative_to(self._root), json.dumps(rows))

    def turn(self, digest: str) -> threading.Lock:
        """What only one thread may hold: who sends a layer, which others then mount."""
        with self._lock:
            return self._turns.setdefault(digest, threading.Lock())

    @property
    def _blobs(self) -> Path:
        return self._root / "blobs" / self._kind

    def _places(self, digest: str) -> Path:
        return self._root / "places" / _name(digest)

    def _keep(self, path: Path, text: str) -> None:
        whole = self._root / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(whole, text)


def _name(digest: str) -> str:
    return digest.removeprefix("sha256:").replace("/", "-")


def _alone(lock: int) -> bool:
    """Whether nobody else uses the files; then they are locked."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_old(folder: Path) -> None:
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file() and path.stat().st_mtime < time.time() - _DAY:
                path.unlink()
