"""Requests that nobody should send: each is answered or closed, and the server goes on."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from builder.containers import Server
from builder.contract.fuzz import ABANDONED, CLOSED, KINDS, exchange, requests
from builder.contract.protocol import post, processes

pytestmark = pytest.mark.inference

Record = Callable[[str, object], None]

SEED = 20_260_101
COUNT = 500
EVERY = 25
"""After so many malformed requests a good one is sent."""
SECONDS = 10.0
"""Each request is answered or its connection closed within so many."""
STALLED = 100

GOOD = {"inputs": "I love this movie."}


def test_malformed_requests(server: Server, record_property: Record) -> None:
    """500 of them, and the same processes of Java and the workers are there before and after."""
    before = processes(server.container)
    assert before[0], before
    assert before[1]["model"], before
    address = _address(server)
    first = post(server, GOOD)
    assert first.status == 200, first
    told: Counter[str] = Counter()
    slowest, wrong = 0.0, []
    for number, fault in enumerate(requests(SEED, COUNT), 1):
        try:
            outcome = exchange(address, fault, seconds=SECONDS)
        except TimeoutError:
            wrong.append(f"{number}, {fault.kind}, had no answer: {fault.data[:300]!r}")
            continue
        told[_name(outcome.status)] += 1
        slowest = max(slowest, outcome.seconds)
        if outcome.status not in fault.right:
            said = f"{number}, {fault.kind}, was answered with {_name(outcome.status)}"
            wrong.append(f"{said}: {fault.data[:300]!r}")
        if number % EVERY == 0 or number == COUNT:
            assert post(server, GOOD) == first, f"after request {number}, {fault.kind}"
    counts = ", ".join(f"{status} x {times}" for status, times in sorted(told.items()))
    record_property(
        "detail",
        f"{COUNT} requests of {len(KINDS)} kinds: {counts}; slowest {slowest:.1f} s",
    )
    assert not wrong, "\n".join(wrong)
    assert processes(server.container) == before


def test_stalled_requests(server: Server, record_property: Record) -> None:
    """A hundred clients that stop in the middle of a request keep nobody else from an answer.

    multi-model-server has no time-out for them; in front of an endpoint SageMaker has.
    """
    half = b"POST /invocations HTTP/1.1\r\nContent-Length: 99\r\n\r\n{"
    with ExitStack() as stack:
        for _ in range(STALLED):
            connection = socket.create_connection(_address(server), timeout=SECONDS)
            stack.enter_context(connection).sendall(half)
        answer = server.ask("GET", "/ping", timeout=SECONDS)
        assert (answer.status, json.loads(answer.body)) == (200, {"status": "Healthy"})
        assert post(server, GOOD).status == 200
    record_property("detail", f"{STALLED} stalled, and a request is answered")


def _address(server: Server) -> tuple[str, int]:
    parts = urlsplit(server.url)
    return parts.hostname or "", parts.port or 0


def _name(status: int) -> str:
    return {CLOSED: "closed", ABANDONED: "abandoned"}.get(status, str(status))
