"""What compression writes: it is the layer, and always the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import os

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from builder.release.compress import compress

TEXT = b"".join(b"%d of a layer, " % number for number in range(300_000))  # several blocks


def packed(blocks: list[bytes], *, zstd: bool) -> bytes:
    file = io.BytesIO()
    found = compress(blocks, file, zstd=zstd)
    content = file.getvalue()
    assert found.size == len(content)
    assert found.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert found.diff_id == f"sha256:{hashlib.sha256(b''.join(blocks)).hexdigest()}"
    return content


def unpacked(content: bytes, *, zstd: bool) -> bytes:
    return (
        zstandard.ZstdDecompressor().decompressobj().decompress(content)
        if zstd
        else (gzip.decompress(content))
    )


@given(blocks=st.lists(st.binary(max_size=300), max_size=6), zstd=st.booleans())
def test_it_is_the_layer(blocks: list[bytes], zstd: bool) -> None:
    assert unpacked(packed(blocks, zstd=zstd), zstd=zstd) == b"".join(blocks)


@pytest.mark.parametrize("zstd", [False, True])
def test_bytes_depend_neither_on_processors_nor_on_how_the_layer_comes(
    zstd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = packed([TEXT], zstd=zstd)
    assert unpacked(content, zstd=zstd) == TEXT
    assert len(content) < len(TEXT) / 4
    for processors, size in ((1, 70_001), (7, 3 << 20)):
        monkeypatch.setattr("os.cpu_count", lambda n=processors: n)
        blocks = [TEXT[at : at + size] for at in range(0, len(TEXT), size)]
        assert packed(blocks, zstd=zstd) == content


def test_nothing_is_a_file_too() -> None:
    assert gzip.GzipFile(fileobj=io.BytesIO(packed([], zstd=False))).read() == b""
    assert packed([], zstd=False).startswith(b"\x1f\x8b")


def test_what_cannot_be_made_smaller_hardly_grows() -> None:
    content = os.urandom(3 << 20)
    assert len(packed([content], zstd=False)) < len(content) * 1.001
