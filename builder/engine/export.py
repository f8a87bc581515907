"""An image's parts as an engine exports them: its configuration, and its layers one after another.

Engines write the same image in three ways: before 25 with a folder for each layer, since then as a
layout of OCI, and with containerd's store with layers compressed as it has them. A layer is known
by the digest of its tar; that is the same in all of them.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING

from builder.errors import EngineError

if TYPE_CHECKING:
    import docker

__all__ = ["BLOCK", "Chunks", "digest_of", "read_export"]

BLOCK = 1 << 20
_SMALL = 8 << 20  # of what may be a configuration
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"

# Takes the tar of a layer in blocks; its own name, by which an engine writes it, comes along.
Take = Callable[[str, Iterator[bytes]], None]


def read_export(
    client: docker.DockerClient,
    image: str,
    *,
    is_config: Callable[[bytes], bool],
    wanted: Callable[[str], bool],
    take: Take,
) -> bytes:
    """Give the layers of an image to `take`, but those whose name is not `wanted`.

    Returns the configuration: the JSON that `is_config` says is one. EngineError if there is none,
    docker's errors if the engine fails.
    """
    config = b""
    stream = Chunks(client.api.get_image(image, chunk_size=BLOCK))
    with tarfile.open(fileobj=stream, mode="r|", bufsize=BLOCK) as tar:
        for member in tar:
            # A layer that an image has twice is a link the second time.
            file = tar.extractfile(member) if member.isreg() else None
            if file is None:
                continue
            first = file.read(512)
            if first[:1] in (b"{", b"["):
                if member.size <= _SMALL and not config:
                    content = first + file.read()
                    config = content if is_config(content) else b""
            elif _is_layer(first) and wanted(member.name):
                take(member.name, _unpacked(first, file))
    if not config:
        raise EngineError(
            f"the engine exports {image} without its configuration", remedy="build it again"
        )
    return config


def _is_layer(first: bytes) -> bool:
    # An empty tar is nothing but zeros.
    packed = first.startswith((_GZIP, _ZSTD))
    return packed or first[257:262] == b"ustar" or (bool(first) and not first.strip(b"\0"))


def _unpacked(first: bytes, file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of a layer, without compression."""
    blocks = _blocks(first, file)
    if first.startswith(_GZIP):
        return _gunzipped(blocks)
    if first.startswith(_ZSTD):
        return _unzstd(blocks)
    return blocks


def _blocks(first: bytes, file: IO[bytes]) -> Iterator[bytes]:
    yield first + file.read(BLOCK - len(first))
    while block := file.read(BLOCK):
        yield block


def _gunzipped(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """What is in a file of gzip, which may have several members."""
    engine = zlib.decompressobj(zlib.MAX_WBITS | 16)
    for block in blocks:
        left = block
        while left:
            if engine.eof:
                engine = zlib.decompressobj(zlib.MAX_WBITS | 16)
            if content := engine.decompress(left):
                yield content
            left = engine.unused_data


def _unzstd(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """What is in a file of zstd, which may have several frames."""
    import zstandard

    engine = zstandard.ZstdDecompressor().decompressobj()
    for block in blocks:
        left = block
        while left:
            if engine.eof:
                engine = zstandard.ZstdDecompressor().decompressobj()
            if content := engine.decompress(left):
                yield content
            left = engine.unused_data


class Chunks(io.RawIOBase):
    """A file of what comes in parts."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        super().__init__()
        self._parts, self._left = iter(parts), b""

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """As many bytes as are wanted, fewer only at the end."""
        found, much = [self._left], len(self._left)
        while size is None or size < 0 or much < size:
            part = next(self._parts, b"")
            if not part:
                break
            found.append(part)
            much += len(part)
        content = b"".join(found)
        end = much if size is None or size < 0 else size
        self._left = content[end:]
        return content[:end]


def digest_of(content: bytes) -> str:
    """SHA-256 of some bytes, as references have it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
