"""Requests that nobody should send: each is answered or closed, and the server goes on."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import docker
import pytest

from builder.contract.conftest import Serve
from builder.contract.fuzz import ABANDONED, CLOSED, KINDS, exchange, requests
from builder.contract.protocol import READ_PAST_END, RESTART_SECONDS, post, processes, settled
from builder.contract.subject import Subject
from builder.serve.server import Server

pytestmark = pytest.mark.inference

Record = Callable[[str, object], None]

SEED = 20_260_101
COUNT = 500
EVERY = 25
"""After so many malformed requests a good one is sent."""
SECONDS = 30.0
"""Each request is answered or its connection closed within so many, a worker's start included."""
LOG_LINES = 50_000
STALLED = 100

GOOD = {"inputs": "I love this movie."}


@pytest.fixture(scope="module")
def server(client: docker.DockerClient, subject: Subject) -> Iterator[Server]:
    """Two workers from the start: by default the second one follows when the first has loaded."""
    with ExitStack() as stack:
        start = Serve(client, subject.image, stack)
        yield start(environment={"SAGEMAKER_MODEL_SERVER_WORKERS": "2"})


def test_malformed_requests(server: Server, record_property: Record) -> None:
    """500 of them: Java is the same process before and after, and so are the workers.

    But for those that multi-model-server itself gave up, see READ_PAST_END: they are replaced.
    """
    java, before = processes(server.container)
    assert java, "there is no Java"
    assert before["model"], before
    first = post(server, GOOD)
    assert first.status == 200, first
    told: Counter[str] = Counter()
    slowest, wrong, deaths = 0.0, [], 0
    for number, fault in enumerate(requests(SEED, COUNT), 1):
        try:
            outcome = exchange(_address(server), fault, seconds=SECONDS)
        except TimeoutError:
            wrong.append(f"{number}, {fault.kind}: no answer to {fault.data[:300]!r}")
            continue
        told[_name(outcome.status)] += 1
        slowest = max(slowest, outcome.seconds)
        if outcome.status == 500 and b"Worker died." in outcome.body:
            deaths += 1
            server.wait_ready(RESTART_SECONDS)
        elif outcome.status not in fault.right:
            said = f"{_name(outcome.status)} {outcome.body!r} to {fault.data[:300]!r}"
            wrong.append(f"{number}, {fault.kind}: {said}")
        if number % EVERY == 0 or number == COUNT:
            assert post(server, GOOD) == first, f"after request {number}, {fault.kind}"
    log = server.logs(LOG_LINES)
    replaced, known = log.count("Retry worker: "), log.count(READ_PAST_END)
    counts = ", ".join(f"{status} x {times}" for status, times in sorted(told.items()))
    record_property(
        "detail",
        f"{COUNT} requests of {len(KINDS)} kinds: {counts}; slowest {slowest:.1f} s; "
        f"{replaced} workers replaced",
    )
    assert not wrong, "\n".join(wrong)
    assert deaths <= replaced <= known, (deaths, replaced, known)
    after = settled(server.container, len(before["model"]))
    assert after[0] == java
    assert replaced or after[1] == before


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
