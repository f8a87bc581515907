"""Small files of the formats that a model may be sent, made by hand and the same every time."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from collections.abc import Sequence

__all__ = ["npy", "png", "png_header", "wav"]


def npy(values: Sequence[float], shape: tuple[int, ...]) -> bytes:
    r"""A matrix of doubles as numpy saves it.

    >>> npy([1.0], (1,))[:8]
    b'\x93NUMPY\x01\x00'
    """
    description = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    # Magic, version and length take ten bytes; all before the values is a multiple of 64.
    header = description.ljust(-(len(description) + 11) % 64 + len(description)) + "\n"
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
    return start + struct.pack(f"<{len(values)}d", *values)


def png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    r"""A picture of one colour.

    >>> png(1, 1, (0, 0, 0))[:4]
    b'\x89PNG'
    """
    rows = (b"\0" + bytes(colour) * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def png_header(width: int, height: int) -> bytes:
    """A picture of this size, without its pixels.

    >>> len(png_header(1, 1))
    45
    """
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return png(1, 1, (0, 0, 0))[:8] + _chunk(b"IHDR", head) + _chunk(b"IDAT", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def wav(samples: int = 160, rate: int = 16_000) -> bytes:
    """Silence, in one channel of 16 bits, `rate` samples a second.

    >>> wav()[:4]
    b'RIFF'
    """
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(2 * samples))
    return made.getvalue()
