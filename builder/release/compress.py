"""Layers compressed, always to the same bytes: by gzip in parallel blocks, or by zstd.

The library is part of the installation, not of the machine, so that the machine has no say in what
comes out, nor how many processors it has.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO

from zlib_ng import zlib_ng

__all__ = ["Compressed", "compress", "gzip_blocks", "zstd_blocks"]

_BLOCK = 1 << 20
_WINDOW = 1 << 15  # what deflate looks back
# Of zlib's levels the one that takes a third of the time of the usual one, for 3 % more bytes.
_GZIP_LEVEL = 4
_ZSTD_LEVEL = 3
# No name, no time, made on Unix.
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"


@dataclass(frozen=True, kw_only=True, slots=True)
class Compressed:
    """What became of a layer: the digests of its tar and of what is sent, and the bytes of that."""

    diff_id: str
    digest: str
    size: int


def compress(blocks: Iterable[bytes], into: IO[bytes], *, zstd: bool) -> Compressed:
    """Write a layer's tar into a file, compressed."""
    tar, sent, size = hashlib.sha256(), hashlib.sha256(), 0

    def read() -> Iterator[bytes]:
        for block in blocks:
            tar.update(block)
            yield block

    for part in (zstd_blocks if zstd else gzip_blocks)(read()):
        sent.update(part)
        size += len(part)
        into.write(part)
    digests = [f"sha256:{each.hexdigest()}" for each in (tar, sent)]
    return Compressed(diff_id=digests[0], digest=digests[1], size=size)


def gzip_blocks(content: Iterable[bytes]) -> Iterator[bytes]:
    """One member of gzip, whose blocks were compressed side by side, each after the one before.

    >>> import gzip
    >>> gzip.decompress(b"".join(gzip_blocks([b"ab", b"c"])))
    b'abc'
    """
    yield _HEADER
    checksum, size, window = 0, 0, b""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[bytes]] = deque()
        for block in _sized(content, _BLOCK):
            checksum, size = zlib_ng.crc32(block, checksum), size + len(block)
            waiting.append(pool.submit(_deflated, block, window))
            window = block[-_WINDOW:]
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        for each in waiting:
            yield each.result()
    yield b"\x03\x00"  # a last block, which is empty
    yield struct.pack("<II", checksum, size & 0xFFFFFFFF)


def _deflated(block: bytes, window: bytes) -> bytes:
    options = (_GZIP_LEVEL, zlib_ng.DEFLATED, -15, 8, zlib_ng.Z_DEFAULT_STRATEGY)
    engine = zlib_ng.compressobj(*options, window) if window else zlib_ng.compressobj(*options)
    return engine.compress(block) + engine.flush(zlib_ng.Z_SYNC_FLUSH)


def zstd_blocks(content: Iterable[bytes]) -> Iterator[bytes]:
    """One frame of zstd, whose bytes do not depend on how many threads made it."""
    import zstandard

    threads = os.cpu_count() or 1
    engine = zstandard.ZstdCompressor(
        level=_ZSTD_LEVEL, threads=threads, write_content_size=False
    ).compressobj()
    for block in _sized(content, _BLOCK):
        if part := engine.compress(block):
            yield part
    yield engine.flush()


def _sized(content: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same in blocks of one size, but the last, whatever the sizes it came in."""
    left = bytearray()
    for part in content:
        left += part
        while len(left) >= size:
            yield bytes(left[:size])
            del left[:size]
    if left:
        yield bytes(left)
