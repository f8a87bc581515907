"""Uploads of blobs: in chunks, from where the last attempt got to.

A chunk that the registry has answered is there; one that breaks off is asked for, and where the
registry does not know what it has, the blob begins again. Where it takes no chunks, the blob goes
in one request; before that, where they are too large for it, in smaller ones.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.parse import urljoin

from builder.errors import Interrupted, RegistryError
from builder.registry.exchange import Answer, NoAnswerError
from builder.registry.http import Connection
from builder.util.http import BUSY

__all__ = ["CHUNK_BYTES", "Upload"]

# ECR takes parts of 5 MiB and more. The larger, the fewer questions; the smaller, the less is sent
# twice.
CHUNK_BYTES = 32 << 20
# What GitHub's registry takes in one PATCH: for more it answers 416, "the request body is too large
# and exceeds the maximum permissible limit of 4.00MiB" (oras-project/rust-oci-client issue 35).
SMALL_CHUNK_BYTES = 4 << 20
_TOO_LARGE = re.compile(r"too large|exceeds", re.IGNORECASE)
_LONGEST_PAUSE = 16.0
# What registries say that want a blob in one request.
_NO_CHUNKS = frozenset({400, 405, 411, 413, 415, 501})
# What may go well from the start: the upload is unknown or elsewhere than we think.
_ANEW = frozenset({404, 408, 409, 416}) | BUSY
_REMEDY = "see that the registry runs and has room, then push again: what is there stays"
_BINARY = {"Content-Type": "application/octet-stream"}


class Part:
    """Some bytes of a file, as a request's body."""

    def __init__(
        self, file: IO[bytes], start: int, length: int, progress: Callable[[int], None]
    ) -> None:
        """`told` gets how far in the file it is."""
        self.moved = time.monotonic()
        self._file, self._start, self._length, self._progress = file, start, length, progress
        self.seek(0)

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes of the part."""
        left = self._length - self.tell()
        content = self._file.read(left if size < 0 else min(size, left))
        self.moved = time.monotonic()
        self._progress(self._file.tell())
        return content

    def tell(self) -> int:
        """Where in the part it is."""
        return self._file.tell() - self._start

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go elsewhere in the part."""
        base = {0: 0, 1: self.tell() if whence == 1 else 0, 2: self._length}[whence]
        self._file.seek(self._start + base + offset)
        return base + offset


class Upload:
    """One blob on its way into a repository: a file, or content in memory."""

    def __init__(
        self,
        http: Connection,
        repository: str,
        digest: str,
        source: Path | bytes,
        moved: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`moved` is told how many bytes are on their way or there."""
        self._http, self._repository, self._digest = http, repository, digest
        self._source, self._moved = source, moved
        self._size = len(source) if isinstance(source, bytes) else source.stat().st_size
        self._place = ""  # where it goes on; empty before it has begun
        self._there = 0  # bytes that the registry said it has
        self._sent = 0  # bytes of the chunks that it took
        self._best = 0
        self._whole = self._lost = False

    def run(self) -> None:
        """Upload it. RegistryError if nothing of it got through within the patience."""
        since, attempt = time.monotonic(), 0
        while True:
            best = self._best
            try:
                if attempt and self._is_there():
                    return
                self._attempt()
                return
            except RegistryError as error:
                progressed = self._best > best
                if self._otherwise(error, progressed):
                    continue
                if progressed:
                    since, attempt = time.monotonic(), 0
                # An upload that is unknown begins again; a repository that is, stays so.
                passing = isinstance(error, NoAnswerError) or error.status in _ANEW
                final = not passing or (error.status == 404 and not self._place)
                pause = min(2 * self._http.pause * 2**attempt, _LONGEST_PAUSE)
                if final:
                    raise
                if time.monotonic() + pause - since > self._http.patience:
                    raise RegistryError(
                        error.message, remedy=_REMEDY, status=error.status, code=error.code
                    ) from error
            attempt += 1
            if self._http.stop.wait(pause):
                raise Interrupted("interrupted")
            self._lost = True

    @property
    def _chunk(self) -> int:
        return min(CHUNK_BYTES, self._http.largest_chunk or CHUNK_BYTES)

    def _otherwise(self, error: RegistryError, progressed: bool) -> bool:
        """Whether there is another way to send it, which is the next to be tried."""
        if not self._place or self._whole:
            return False
        too_large = error.status == 413 or (
            error.status == 416 and _TOO_LARGE.search(error.message) is not None
        )
        if too_large and self._chunk > SMALL_CHUNK_BYTES:
            self._http.largest_chunk, self._place = SMALL_CHUNK_BYTES, ""
            return True
        if error.status == 416 and self._there < self._sent:
            # It has more than it told, as ECR does: aws/containers-roadmap issue 2831.
            self._http.counts_bytes, self._there = False, self._sent
            return True
        guessed = self._sent > 0 and not self._http.counts_bytes
        if too_large or (error.status in _NO_CHUNKS and (guessed or not progressed)):
            self._whole, self._place = True, ""
            return True
        return False

    def _attempt(self) -> None:
        if self._lost and self._place:
            self._resume()
        if not self._place:
            self._begin()
        self._lost = False
        with _opened(self._source) as file:
            # A small blob goes with the request that ends the upload.
            single = self._whole or (self._size <= self._chunk and not self._there)
            while not single and self._there < self._size:
                self._send_chunk(file)
            mark = "&" if "?" in self._place else "?"
            answer = self._http.ask(
                "PUT",
                f"{self._place}{mark}digest={self._digest}",
                self._repository,
                data=Part(file, 0, self._size, self._moved) if single and self._size else b"",
                headers=_BINARY,
                once=True,
            )
        self._http.refuse(answer, self._what)
        self._moved(self._size)

    @property
    def _what(self) -> str:
        return f"{self._repository}@{self._digest}"

    def _send_chunk(self, file: IO[bytes]) -> None:
        start, length = self._there, min(self._chunk, self._size - self._there)
        body = Part(file, start, length, self._moved)
        span = f"{start}-{start + length - 1}"
        answer = self._http.ask(
            "PATCH",
            self._place,
            self._repository,
            data=body,
            headers={**_BINARY, "Content-Range": span},
            once=True,
        )
        self._http.refuse(answer, self._what)
        self._take(answer, default=start + length)
        self._sent = start + length
        # What took a chunk has more than before, whatever it says.
        if self._there <= start or not self._http.counts_bytes:
            self._http.counts_bytes, self._there = False, self._sent
        self._best = max(self._best, self._there)

    def _begin(self) -> None:
        self._place, self._there, self._sent = "", 0, 0
        answer = self._http.ask("POST", f"{self._repository}/blobs/uploads/", self._repository)
        self._http.refuse(answer, self._repository)
        self._take(answer, default=0)

    def _take(self, answer: Answer, *, default: int) -> None:
        """Where to go on and what is there, as an answer tells."""
        location = answer.headers.get("Location", "") or self._place
        try:
            self._place = urljoin(answer.url, location)
        except ValueError as error:
            raise self._http.error(
                f"{location[:80]!r} is no address", "see the registry"
            ) from error
        there = answer.headers.get("Range", "")
        received = re.fullmatch(r"(?:bytes=)?0-(\d{1,18})", there, re.ASCII)
        # Nothing and one byte are written alike.
        last = int(received[1]) if received else 0
        self._there = last + 1 if last else default
        self._best = max(self._best, self._there)

    def _is_there(self) -> bool:
        """Whether the registry has the blob, as when the last answer was lost."""
        path = f"{self._repository}/blobs/{self._digest}"
        answer = self._http.ask("HEAD", path, self._repository)
        return answer.status < 300

    def _resume(self) -> None:
        """Ask the registry what it has of the upload; forget it where that is not known."""
        place, self._place, self._there = self._place, "", 0
        if not self._whole:
            answer = self._http.ask("GET", place, self._repository)
            if answer.status < 300:
                self._place = place
                self._take(answer, default=0)
                if self._there > self._size:
                    self._place = ""
        self._moved(self._there if self._place else 0)


def _opened(source: Path | bytes) -> IO[bytes]:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
