"""Requests of the grammar that the handler reads, with what an attacker would put in each place.

From a seed: the same seed always makes the same requests. None of them may run, open or fetch
anything, end a worker, or be answered with anything but 200, 400 or 413.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

from builder.contract.hostile import PARAMETERS
from builder.contract.samples import png, png_header, wav

__all__ = ["CANARY_HOST", "CANARY_MADE", "CANARY_READ", "Hostile", "requests"]

CANARY_HOST = "canary.dlc-test"
CANARY_MADE = "/tmp/canary-made"  # noqa: S108 - paths of the container
CANARY_READ = "/tmp/canary-read"  # noqa: S108

COMMAND = f"touch {CANARY_MADE}"
# Hand-written pickles: nothing here can load them.
PICKLES = (
    f"cos\nsystem\n(S'{COMMAND}'\ntR.".encode(),
    b"\x80\x04cposix\nsystem\n\x8c" + bytes([len(COMMAND)]) + COMMAND.encode() + b"\x85R.",
)
TEXTS = (
    "", "good", "I love this movie.", "é\u4e2d\U0001f600", "\ud83d", "\x00", "{}", "{{}}",
    "x" * 100_000,
    f"http://{CANARY_HOST}/x.png", f"https://{CANARY_HOST}/x.wav", f"ftp://{CANARY_HOST}/x",
    f"//{CANARY_HOST}/x", f"s3://{CANARY_HOST}/x", f"file://{CANARY_READ}", CANARY_READ,
    f"../../../../..{CANARY_READ}", f"concat:{CANARY_READ}|{CANARY_READ}", f"subfile:{CANARY_READ}",
    f"hf://{CANARY_HOST}/x", f"git+https://{CANARY_HOST}/x", f"$({COMMAND})", f"`{COMMAND}`",
    f"; {COMMAND}", f"| {COMMAND}", "{:>4000000000}", "{0.__class__.__mro__}", "%s%n%999999999d",
    f"{{{{ cycler.__init__.__globals__.os.popen('{COMMAND}').read() }}}}",
    f"__import__('os').system('{COMMAND}')", f"!!python/object/apply:os.system ['{COMMAND}']",
    "(a+)+$", "[[:alpha:]", f'<!DOCTYPE x [<!ENTITY e SYSTEM "file://{CANARY_READ}">]><x>&e;</x>',
    "=cmd|' /C calc'!A0", "\r\nX-Injected: 1\r\n\r\n", "data:text/plain;base64,eA==",
    base64.b64encode(PICKLES[0]).decode(), base64.b64encode(b"%!PS\n(x) run").decode(),
)  # fmt: skip
NAMES = (
    "inputs", "parameters", "text", "text_pair", "top_k", "function_to_apply", "truncation",
    "padding", "max_length", "return_all_scores", "add_special_tokens", "path", "url", "file",
    "raw", "array", "__class__", "__init__", "return_tensors", "tokenizer", "model", "pipeline",
    "cache_dir", "token", "chat_template", "candidate_labels", "hypothesis_template",
    "generate_kwargs", "code_revision", "auto_map", "timeout", "image", "question", "data",
    "instances", *PARAMETERS,
)  # fmt: skip
KINDS = (
    "application/json", "application/json", "application/JSON; charset=utf-8", "", "text/csv",
    "application/jsonlines", "application/x-npy", "application/x-npz", "image/png", "image/*",
    "audio/wave", "audio/*", "application/x-image", "application/octet-stream", "text/plain",
    "application/x-pickle", "application/python-pickle", "application/x-yaml", "text/xml",
    "application/vnd.api+json", "application/x-recordio-protobuf", "image/svg+xml", "video/mp4",
    "application/json; charset=utf-16", "application/json; charset=utf-7", "a/b", "\xe4/b", "*/*",
)  # fmt: skip
ACCEPTS = (
    "", "*/*", "application/json", "application/json; charset=utf-8", "text/csv",
    "application/x-npy", "image/png", "application/jsonlines", "x",
    "text/html,image/webp,*/*;q=0.1", "image/*;q=0,x/y", "," * 1000,
    "application/x-pickle", "text/pl\xe4in", "a/b;q=nan, application/json;q=1e9",
)  # fmt: skip
CODINGS = ("", "", "", "", "gzip", "gzip", "identity", "deflate", "br", "gzip, gzip", "x" * 1000)
IMAGES = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n",
    b"GIF89a\xff\xff\xff\xff\0\0\0",
    b"BM",
)


# What unpacks to more than a body may have.
BOMBS = (gzip.compress(bytes(20_000_000), 1, mtime=0), zlib.compress(bytes(20_000_000), 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class Hostile:
    """A request to /invocations, and what its body is called in a report."""

    name: str
    body: bytes
    headers: Mapping[str, str]


def requests(seed: int, count: int) -> Iterator[Hostile]:
    """So many requests, bodies of all kinds in turn.

    >>> list(requests(1, 20)) == list(requests(1, 20))
    True
    """
    random = Random(seed)  # noqa: S311 it must be the same every time
    for number in range(count):
        name, make, kinds = BODIES[number % len(BODIES)]
        body = make(random)
        # Mostly of its own type, so that its decoder reads it.
        kind = random.choice(kinds if random.random() < 0.7 else KINDS)
        coding = random.choice(CODINGS)
        if coding == "gzip" and random.random() < 0.9:
            body = gzip.compress(body, 1, mtime=0)
        headers = {"Content-Type": kind, "Accept": random.choice(ACCEPTS)}
        headers |= {"Content-Encoding": coding} if coding else {}
        yield Hostile(name=name, body=body, headers=headers)


def _value(random: Random, depth: int = 0) -> object:
    match random.randrange(12 if depth < 4 else 8):
        case 0:
            return random.choice([None, True, False, 0, -1, 10**30, 1e308, float("nan"), 2**63])
        case 8 | 9:
            return [_value(random, depth + 1) for _ in range(random.randrange(4))]
        case 10 | 11:
            return {
                random.choice((*NAMES, *TEXTS[:5])): _value(random, depth + 1)
                for _ in range(random.randrange(4))
            }
        case _:
            return random.choice(TEXTS)


def _asked(random: Random) -> object:
    if random.random() < 0.2:
        return _value(random)
    inputs = random.choice(TEXTS) if random.random() < 0.5 else _value(random)
    asked: dict[str, object] = {"inputs": inputs}
    if random.random() < 0.6:
        names = random.sample(NAMES, random.randrange(1, 4))
        asked["parameters"] = {
            name: PARAMETERS.get(name) if random.random() < 0.3 else _value(random)
            for name in names
        }
    if random.random() < 0.1:
        asked[random.choice(NAMES)] = _value(random)
    return asked


def _json(random: Random) -> bytes:
    text = json.dumps(_asked(random), ensure_ascii=random.random() < 0.8)
    data = text.encode("utf-8", "surrogatepass")
    return random.choice([b"", b"", b"", b"\xef\xbb\xbf"]) + data


def _lines(random: Random) -> bytes:
    end = random.choice([b"\n", b"\r\n"])
    return end.join(json.dumps(_asked(random)).encode() for _ in range(random.randrange(1, 6)))


def _csv(random: Random) -> bytes:
    header = random.choice(["inputs", "question,context", "inputs,parameters", "a,b", '"inputs\n"'])
    rows = [",".join(random.choice(TEXTS) for _ in range(random.randrange(1, 3))) for _ in "123"]
    return "\n".join([header, *rows]).encode("utf-8", "surrogatepass")


def _array(random: Random) -> bytes:
    kind = random.choice(["|O", "<f8", "<U4", "|V0", "<M8[ns]", "[('a', '|O')]", "|S0", "<f8"])
    shape = random.choice(["(1,)", "()", "(10**12,)", "(1000000000, 1000000000)", "(-1,)", "(0,)"])
    shown = kind if kind.startswith("[") else repr(kind)
    text = f"{{'descr': {shown}, 'fortran_order': False, 'shape': {shape}, }}"
    text = random.choice([text, text, text, f"__import__('os').system('{COMMAND}')", "(" * 5000])
    header = text.encode() + b"\n"
    start = b"\x93NUMPY" + bytes([random.choice([1, 1, 1, 2, 3, 9]), 0])
    return start + struct.pack("<H", len(header)) + header + random.choice([*PICKLES, bytes(8)])


def _zip(random: Random) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("format.npy", "data.npy", "../../tmp/canary-made"):
            # Not by its name alone: that would have the time of day.
            archive.writestr(zipfile.ZipInfo(name), _array(random), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _image(random: Random) -> bytes:
    sizes = [(1, 1), (13_300, 13_300), (2**31 - 1, 2**31 - 1), (0, 0)]
    images = [png(4, 3, (1, 2, 3)), *(png_header(*size) for size in sizes), *IMAGES]
    return _broken(random, random.choice(images))


def _sound(random: Random) -> bytes:
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://{CANARY_HOST}/\n".encode()
    return _broken(random, random.choice([wav(), playlist, b"ID3\x04\0\0\0\0\0\0" + playlist]))


def _bytes(random: Random) -> bytes:
    bodies = [b"", *PICKLES, *(text.encode("utf-8", "replace") for text in TEXTS)]
    return random.choice([*bodies, *BOMBS, random.randbytes(1000)])


def _broken(random: Random, content: bytes) -> bytes:
    """The same, or with a few other bytes, or cut off."""
    data = bytearray(content)
    for _ in range(random.choice([0, 0, 1, 5])):
        data[random.randrange(len(data))] = random.randrange(256)
    return bytes(data[: random.randrange(len(data))] if random.random() < 0.2 else data)


Make = Callable[[Random], bytes]
JSONS = KINDS[:4]
BODIES: tuple[tuple[str, Make, tuple[str, ...]], ...] = (
    ("JSON", _json, JSONS),
    ("JSON", _json, JSONS),
    ("JSON", _json, JSONS),
    ("JSON Lines", _lines, ("application/jsonlines", "application/x-ndjson")),
    ("CSV", _csv, ("text/csv", "application/csv")),
    ("array", _array, ("application/x-npy",)),
    ("archive of arrays", _zip, ("application/x-npz", "application/octet-stream")),
    ("image", _image, ("image/png", "image/*", "application/x-image", "image/tiff")),
    ("sound", _sound, ("audio/x-audio", "audio/wave", "audio/*")),
    ("bytes", _bytes, KINDS),
)
