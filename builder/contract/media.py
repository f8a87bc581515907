"""A picture and a sound to ask with, and masks read back, by the standard library alone."""

from __future__ import annotations

import io
import math
import struct
import wave
import zlib

__all__ = ["HEIGHT", "WIDTH", "picture", "pixels", "sound"]

WIDTH, HEIGHT = 48, 40

RATE = 16000
SECONDS = 0.5

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB = 0, 2


def picture() -> bytes:
    """A PNG of WIDTH by HEIGHT pixels in many colours."""
    rows = b"".join(
        b"\0" + bytes(value for x in range(WIDTH) for value in (x * 5, y * 6, (x * y) % 256))
        for y in range(HEIGHT)
    )
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, _RGB, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return _SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def sound() -> bytes:
    """A WAV: half a second of a tone, one channel of 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE)
        tone = (math.sin(2 * math.pi * 440 * n / RATE) for n in range(int(RATE * SECONDS)))
        writer.writeframes(b"".join(struct.pack("<h", int(12000 * value)) for value in tone))
    return file.getvalue()


def pixels(png: bytes) -> list[bytes]:
    """The rows of a PNG with 8 bits of grey; ValueError if it is anything else.

    >>> pixels(picture())
    Traceback (most recent call last):
    ...
    ValueError: a PNG with 8 bits of colour type 2
    """
    if not png.startswith(_SIGNATURE):
        raise ValueError("not a PNG")
    header, data, place = b"", b"", len(_SIGNATURE)
    while place < len(png):
        (size,) = struct.unpack_from(">I", png, place)
        kind, content = png[place + 4 : place + 8], png[place + 8 : place + 8 + size]
        header = content if kind == b"IHDR" else header
        data += content if kind == b"IDAT" else b""
        place += size + 12
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if (depth, colour, interlaced) != (8, _GREY, 0):
        raise ValueError(f"a PNG with {depth} bits of colour type {colour}")
    try:
        raw = zlib.decompress(data)
    except zlib.error as error:
        raise ValueError(f"a PNG whose pixels are broken: {error}") from error
    if len(raw) != height * (width + 1):
        raise ValueError(f"a PNG of {width} by {height} pixels with {len(raw)} bytes")
    rows, above = [], bytes(width)
    for start in range(0, len(raw), width + 1):
        above = _row(raw[start], raw[start + 1 : start + 1 + width], above)
        rows.append(above)
    return rows


def _row(kind: int, line: bytes, above: bytes) -> bytes:
    """A row as it was before PNG's filter of a kind."""
    row = bytearray()
    for x, value in enumerate(line):
        left, up = (row[x - 1] if x else 0), above[x]
        corner = above[x - 1] if x else 0
        guess = (0, left, up, (left + up) // 2, _paeth(left, up, corner))[kind]
        row.append((value + guess) % 256)
    return bytes(row)


def _paeth(left: int, up: int, corner: int) -> int:
    near = left + up - corner
    return min((left, up, corner), key=lambda value: abs(near - value))
