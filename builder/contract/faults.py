"""What malformed requests look like: each function makes one, of its kind, from a Random."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random

from builder.contract.protocol import JSON, LIMIT

__all__ = [
    "bad_chunks",
    "bad_csv",
    "bad_header",
    "bad_length",
    "bad_line",
    "bad_types",
    "binary",
    "broken_json",
    "cut_chunks",
    "deep",
    "expect",
    "form",
    "garbage",
    "huge",
    "huge_chunks",
    "left",
    "long_line",
    "method",
    "no_body",
    "odd_chunks",
    "path",
    "said_huge",
    "short_length",
    "truncated",
    "unroutable",
    "wrong_types",
]

TYPES = (JSON, "text/csv", "application/x-npy", "image/png", "text/plain", "", "x", "*/*", "a/b;c")
METHODS = ("GET", "PUT", "DELETE", "PATCH", "TRACE", "get", "BREW", "M-SEARCH")
# None that changes anything: the management API listens on the same port.
PATHS = (
    "/", "//", "/pin", "/invocation", "/INVOCATIONS", "/invocations.php", "/predict",
    "/models/none", "/models/none/invoke", "/predictions/none", "/../../etc/passwd", "/%2e%2e/x",
    "/ping%00", "/?", "/#", "/.", "/favicon.ico", "/invocations%20",
)  # fmt: skip
UNROUTABLE = ("/%zz", "/%", "*", "ping", "/invocations?%")


def _request(
    body: bytes = b"",
    *,
    method: str = "POST",
    path: str = "/invocations",
    headers: Mapping[str, str] | None = None,
    length: str | None = None,
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in (headers or {"Content-Type": JSON}).items()]
    lines += [f"Content-Length: {len(body) if length is None else length}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def _good(random: Random) -> bytes:
    words = " ".join(random.choice(["good", "bad", "film", "é", "\\", '"']) for _ in range(5))
    return json.dumps({"inputs": words}, ensure_ascii=random.random() < 0.5).encode()


def broken_json(random: Random) -> bytes:
    """JSON with a character too many, too few or wrong."""
    while True:
        body = bytearray(_good(random))
        place = random.randrange(len(body))
        match random.randrange(4):
            case 0:
                del body[place:]
            case 1:
                del body[place]
            case 2:
                body[place] = random.choice(b"{}[]:,\"'\\\x00\xff\xc3")
            case _:
                body += random.choice([b"}", b"{}", b"\n{}", b",", b"\xff"])
        try:
            json.loads(body.decode())
        except ValueError:
            return _request(bytes(body))


def _value(random: Random, depth: int = 0) -> object:
    simple: list[object] = [None, True, 0, -1, 1e308, float("nan"), "", "x", "\x00", "\ud800"]
    match random.randrange(8 if depth < 3 else 5):
        case 5:
            return [_value(random, depth + 1) for _ in range(random.randrange(4))]
        case 6:
            return {f"k{n}": _value(random, depth + 1) for n in range(random.randrange(3))}
        case 7:
            return {"inputs": _value(random, depth + 1), "parameters": _value(random, depth + 1)}
        case _:
            return random.choice(simple)


def wrong_types(random: Random) -> bytes:
    """JSON of any shape but the right one, or nearly."""
    value = _value(random)
    if random.random() < 0.6:
        value = {"inputs": value} | (
            {"parameters": _value(random)} if random.random() < 0.5 else {}
        )
    return _request(json.dumps(value).encode())


def deep(random: Random) -> bytes:
    """JSON nested deeper than any parser recurses."""
    depth = random.choice([1_000, 10_000, 100_000])
    opened, closed = random.choice([(b"[", b"]"), (b'{"inputs":', b"}")])
    return _request(opened * depth + b"0" + closed * depth)


def binary(random: Random) -> bytes:
    """Random bytes, said to be anything."""
    body = random.randbytes(random.choice([1, 10, 1_000, 100_000]))
    return _request(body, headers={"Content-Type": random.choice(TYPES)})


def bad_csv(random: Random) -> bytes:
    """CSV without the columns, the rows or the letters."""
    body = random.choice(
        [
            b"",
            b"\n",
            b"inputs",
            b"inputs\n",
            b"a,b\n1,2\n",
            b"\xff\xfei",
            b'"inputs\n"x',
            b"\x00\n1",
        ]
    )
    return _request(body, headers={"Content-Type": "text/csv"})


def bad_types(random: Random) -> bytes:
    """A good body, with a type that the toolkit has never heard of; an empty one is JSON."""
    kind, accept = random.choice([kind for kind in TYPES[4:] if kind]), random.choice(TYPES)
    if random.random() < 0.5:
        kind, accept = JSON, random.choice(["text/html", "application/xml", "x", "a/b;c"])
    return _request(_good(random), headers={"Content-Type": kind, "Accept": accept})


def huge(random: Random) -> bytes:
    """A body above the limit."""
    return _request(b'{"inputs":"' + b"a" * (LIMIT + random.randrange(1_000_000)) + b'"}')


def said_huge(random: Random) -> bytes:
    """A small body said to be above the limit."""
    headers = {"Content-Type": JSON} | ({"Expect": "100-continue"} if random.random() < 0.5 else {})
    length = str(LIMIT + random.randrange(1, 10**12))
    return _request(_good(random), headers=headers, length=length)


def huge_chunks(random: Random) -> bytes:
    """A body above the limit, in chunks."""
    chunk = b"%x\r\n" % 1_000_000 + random.choice([b"a", b"\x00"]) * 1_000_000 + b"\r\n"
    return _chunked(chunk * (LIMIT // 1_000_000 + 2) + b"0\r\n\r\n")


def truncated(random: Random) -> bytes:
    """The beginning of a good request."""
    whole = _request(_good(random))
    return whole[: random.randrange(1, len(whole))]


def no_body(random: Random) -> bytes:  # noqa: ARG001
    """Nothing at all."""
    return _request()


def left(random: Random) -> bytes:
    """A good request."""
    return _request(_good(random))


def _chunked(body: bytes) -> bytes:
    lines = ["POST /invocations HTTP/1.1", "Host: localhost", f"Content-Type: {JSON}"]
    return "\r\n".join([*lines, "Transfer-Encoding: chunked", "", ""]).encode() + body


def odd_chunks(random: Random) -> bytes:
    """A good request in chunks, with extensions and trailers."""
    body, chunks = _good(random), b""
    while body:
        size = random.randrange(1, len(body) + 1)
        chunks += b"%x%s\r\n%s\r\n" % (size, random.choice([b"", b";a=b"]), body[:size])
        body = body[size:]
    return _chunked(chunks + b"0\r\n" + random.choice([b"", b"X-Late: 1\r\n"]) + b"\r\n")


def bad_chunks(random: Random) -> bytes:
    """A chunk whose size is none."""
    size = random.choice([b"zz", b"-1", b"0x5", b"1 2", b"\xff", b"99999999999999999999"])
    return _chunked(size + b"\r\n" + _good(random) + b"\r\n0\r\n\r\n")


def cut_chunks(random: Random) -> bytes:
    """The beginning of a good request in chunks."""
    whole = odd_chunks(random)
    return whole[: random.randrange(len(_chunked(b"")), len(whole) - 8)]


def method(random: Random) -> bytes:
    """A method that does not fit the path."""
    path = random.choice(["/ping", "/invocations", "/execution-parameters", "/models/none"])
    return _request(_good(random), method=random.choice(METHODS), path=path)


def path(random: Random) -> bytes:
    """A path that is not served."""
    return _request(_good(random), method=random.choice(["GET", "POST"]), path=random.choice(PATHS))


def unroutable(random: Random) -> bytes:
    """A path that cannot be decoded."""
    return _request(_good(random), path=random.choice(UNROUTABLE))


def bad_line(random: Random) -> bytes:
    """A first line that is not one of HTTP."""
    line = random.choice(
        [
            b"",
            b"POST",
            b"POST /invocations",
            b"POST /invocations HTTP",
            b"\x00\x01",
            b"HTTP/1.1 200 OK",
        ]
    )
    return line.ljust(1, b"?") + b"\r\nHost: localhost\r\n\r\n"


def bad_header(random: Random) -> bytes:
    """A header that is not one of HTTP, or too long."""
    header = random.choice(
        [b"no colon", b": no name", b"a b: c", b"X: a\x01b", b"X: " + b"x" * 9_000, b"X\x00: y"]
    )
    return b"GET /ping HTTP/1.1\r\nHost: localhost\r\n" + header + b"\r\n\r\n"


def long_line(random: Random) -> bytes:
    """A path longer than a line may be."""
    return _request(path="/" + "x" * random.randrange(4_100, 50_000))


def bad_length(random: Random) -> bytes:
    """A Content-Length that is none."""
    length = random.choice(["-1", "abc", "1e3", "5\r\nContent-Length: 6", "", "9" * 30])
    return _request(_good(random), length=length)


def short_length(random: Random) -> bytes:
    """A Content-Length smaller than the body."""
    body = _good(random)
    return _request(body, length=str(random.randrange(len(body) - 1)))


def expect(random: Random) -> bytes:
    """An expectation that nobody can meet."""
    headers = {"Content-Type": JSON, "Expect": random.choice(["nothing", "200-ok", "x" * 100])}
    return _request(_good(random), headers=headers)


def form(random: Random) -> bytes:
    """A broken form."""
    kind = random.choice(["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
    body = random.choice(
        [
            b"",
            b"a=%zz",
            b"=&=&",
            b"body=%",
            b"--x",
            b"--x\r\n\r\n--x--",
            b"--y\r\n",
            b"--x\r\nA\r\n",
        ]
    )
    return _request(body, headers={"Content-Type": kind})


def garbage(random: Random) -> bytes:
    """What is not HTTP at all: TLS, or random bytes."""
    tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    return random.choice([b"", tls]) + random.randbytes(random.choice([1, 50, 5_000, 50_000]))
