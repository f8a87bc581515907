"""Malformed requests from a seed: the same seed always makes the same bytes.

Each kind of fault says which answers are right: statuses, or CLOSED for a connection that the
server ends without one. A fault that leaves the server waiting for more is followed by the end of
the client's side, as when a client dies: a server has no other way to know.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from random import Random

from builder.contract import faults

__all__ = ["ABANDONED", "CLOSED", "KINDS", "Fault", "Outcome", "exchange", "requests"]

CLOSED = 0
"""In place of a status: the server ended the connection without an answer."""
ABANDONED = -1
"""In place of a status: the client left before an answer could come."""

Make = Callable[[Random], bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A way to be wrong. `right` are the answers to it, `end` is what the client does after it."""

    make: Make
    right: frozenset[int]
    weight: int = 1
    end: str = "wait"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One malformed request: what is sent, and what the client does then: wait, end or leave."""

    kind: str
    data: bytes
    end: str
    right: frozenset[int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a request: a status, CLOSED or ABANDONED, after so many seconds."""

    status: int
    body: bytes
    seconds: float


def requests(seed: int, count: int) -> Iterator[Fault]:
    """So many malformed requests of all kinds by their weights, in an order that mixes them.

    >>> list(requests(1, 50)) == list(requests(1, 50))
    True
    """
    random = Random(seed)  # noqa: S311 it must be the same every time
    names = [name for name, kind in KINDS.items() for _ in range(kind.weight)]
    order = [names[index % len(names)] for index in range(count)]
    random.shuffle(order)
    for name in order:
        kind = KINDS[name]
        yield Fault(kind=name, data=kind.make(random), end=kind.end, right=kind.right)


def exchange(address: tuple[str, int], fault: Fault, *, seconds: float) -> Outcome:
    """Send a request over a connection of its own. TimeoutError: the server does neither answer
    nor close within so many seconds; OSError: it cannot even be reached.
    """
    started = time.monotonic()
    with socket.create_connection(address, timeout=seconds) as connection:
        # A server that refuses early may reset what is still being sent: its answer counts.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(fault.data)
            if fault.end == "end":
                connection.shutdown(socket.SHUT_WR)
        status, body = (ABANDONED, b"") if fault.end == "leave" else _answer(connection)
    return Outcome(status=status, body=body, seconds=time.monotonic() - started)


def _answer(connection: socket.socket) -> tuple[int, bytes]:
    response = HTTPResponse(connection)
    try:
        response.begin()
        return response.status, response.read()
    except (ConnectionError, HTTPException):
        return CLOSED, b""
    finally:
        response.close()


def _right(*statuses: int) -> frozenset[int]:
    return frozenset(statuses)


KINDS: Mapping[str, Kind] = {
    "broken JSON": Kind(make=faults.broken_json, right=_right(400), weight=8),
    "JSON of the wrong types": Kind(make=faults.wrong_types, right=_right(200, 400), weight=8),
    "deeply nested JSON": Kind(make=faults.deep, right=_right(400), weight=2),
    "no body": Kind(make=faults.no_body, right=_right(400)),
    "binary body": Kind(make=faults.binary, right=_right(400), weight=3),
    "bad CSV": Kind(make=faults.bad_csv, right=_right(400), weight=2),
    "unsupported types": Kind(make=faults.bad_types, right=_right(400), weight=3),
    "huge body": Kind(make=faults.huge, right=_right(413, CLOSED)),
    "huge body announced": Kind(make=faults.said_huge, right=_right(413)),
    "huge body in chunks": Kind(make=faults.huge_chunks, right=_right(413, CLOSED)),
    "truncated": Kind(make=faults.truncated, right=_right(CLOSED, 400), weight=3, end="end"),
    "client left": Kind(make=faults.truncated, right=_right(ABANDONED), weight=2, end="leave"),
    "client left before the answer": Kind(make=faults.left, right=_right(ABANDONED), end="leave"),
    "chunks of odd sizes": Kind(make=faults.odd_chunks, right=_right(200)),
    "bad sizes of chunks": Kind(make=faults.bad_chunks, right=_right(400, CLOSED), weight=2),
    "chunks cut off": Kind(make=faults.cut_chunks, right=_right(CLOSED, 400), end="end"),
    "wrong method": Kind(make=faults.method, right=_right(200, 400, 404, 405), weight=2),
    "wrong path": Kind(make=faults.path, right=_right(404, 405), weight=3),
    "path that is none": Kind(make=faults.unroutable, right=_right(400, 404)),
    "bad request line": Kind(make=faults.bad_line, right=_right(400), weight=2),
    "bad header": Kind(make=faults.bad_header, right=_right(400), weight=2),
    "long request line": Kind(make=faults.long_line, right=_right(400)),
    "bad length": Kind(make=faults.bad_length, right=_right(400), weight=2),
    "body longer than said": Kind(make=faults.short_length, right=_right(400)),
    "unknown expectation": Kind(make=faults.expect, right=_right(417)),
    "bad form": Kind(make=faults.form, right=_right(400, 500)),
    "not HTTP": Kind(make=faults.garbage, right=_right(CLOSED, 400), weight=2, end="end"),
}
