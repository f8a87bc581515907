"""Requests that nobody should send: each is answered or closed, and the server goes on."""

from __future__ import annotations

import io
import json
import os
import socket
import tarfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import docker
import pytest
from docker.models.containers import Container

from builder.contract import grammar
from builder.contract.conftest import Serve
from builder.contract.fuzz import ABANDONED, CLOSED, KINDS, exchange, requests
from builder.contract.grammar import CANARY_HOST, CANARY_MADE, CANARY_READ
from builder.contract.network import lines, neighbour, network
from builder.contract.protocol import READ_PAST_END, RESTART_SECONDS, died, post, processes, settled
from builder.contract.subject import Subject
from builder.engine.containers import put
from builder.serve.model_archive import pack
from builder.serve.programs import FILES
from builder.serve.server import Server
from builder.util.text import counted

pytestmark = pytest.mark.inference

Record = Callable[[str, object], None]

SEED = 20_260_101
COUNT = 500
COUNT_VARIABLE = "DLC_FUZZ_REQUESTS"
"""How many hostile requests to send, in the environment of `dlc test`."""
TWO_WORKERS = {"SAGEMAKER_MODEL_SERVER_WORKERS": "2"}
WATCH, WATCHED = "/tmp/fuzz_watch.py", "/tmp/watched"  # noqa: S108 - paths of the container
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
        yield start(environment=TWO_WORKERS)


def test_malformed_requests(server: Server, record_property: Record) -> None:
    """500 of them: Java is the same process before and after, and so are the workers.

    But for those that multi-model-server itself gave up, see READ_PAST_END: they are replaced.
    """
    java, before = processes(server.container)
    assert java, "there is no Java"
    assert before["model"], before
    first = post(server, GOOD)
    assert first.status == 200, first
    statuses: Counter[str] = Counter()
    slowest, wrong, deaths = 0.0, [], 0
    for number, fault in enumerate(requests(SEED, COUNT), 1):
        try:
            outcome = exchange(_address(server), fault, seconds=SECONDS)
        except TimeoutError:
            wrong.append(f"{number}, {fault.kind}: no answer to {fault.data[:300]!r}")
            continue
        statuses[_name(outcome.status)] += 1
        slowest = max(slowest, outcome.seconds)
        if outcome.status == 500 and b"Worker died." in outcome.body:
            deaths += 1
            server.wait_ready(RESTART_SECONDS)
        elif outcome.status not in fault.right:
            what = f"{_name(outcome.status)} {outcome.body!r} to {fault.data[:300]!r}"
            wrong.append(f"{number}, {fault.kind}: {what}")
        if number % EVERY == 0 or number == COUNT:
            assert post(server, GOOD) == first, f"after request {number}, {fault.kind}"
    log = server.logs(LOG_LINES)
    replaced, known = log.count("Retry worker: "), log.count(READ_PAST_END)
    counts = ", ".join(f"{status} x {times}" for status, times in sorted(statuses.items()))
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


@pytest.fixture
def watched(client: docker.DockerClient, subject: Subject) -> Iterator[tuple[Server, Container]]:
    """A server beside a host that nobody may ask, on a network that leads nowhere else."""
    with ExitStack() as stack:
        name = stack.enter_context(network(client))
        script = "/srv/host.py"
        host = stack.enter_context(
            neighbour(
                client,
                subject.image,
                name,
                names=(CANARY_HOST,),
                command=["python", script, "21", "80", "443", "8080"],
                files={script: (FILES / "fuzz_host.py").read_bytes()},
            )
        )
        start = Serve(client, subject.image, stack)
        yield start(environment=TWO_WORKERS, options={"network": name}), host


def test_hostile_requests(watched: tuple[Server, Container], record_property: Record) -> None:
    """None makes a file, reads one, calls out or starts a program, and each gets an answer."""
    server, host = watched
    secret = f"canary-{uuid.uuid4().hex}"
    first = post(server, GOOD)
    assert first.status == 200, first
    java, before = processes(server.container)
    _watch(server, secret.encode())
    count = int(os.environ.get(COUNT_VARIABLE) or COUNT)
    statuses: Counter[str] = Counter()
    slowest, wrong, deaths = 0.0, [], 0
    for number, asked in enumerate(grammar.requests(SEED, count), 1):
        started = time.monotonic()
        answer = server.ask(
            "POST", "/invocations", body=asked.body, headers=asked.headers, timeout=SECONDS
        )
        slowest = max(slowest, time.monotonic() - started)
        statuses[str(answer.status)] += 1
        what = f"{number}, {asked.name} {asked.headers}: {answer.status} {answer.body[:300]!r}"
        what += f" to {asked.body[:300]!r}"
        if died(answer):
            deaths += 1
            server.wait_ready(RESTART_SECONDS)
        elif answer.status not in (200, 400, 413):
            wrong.append(what)
        if secret.encode() in answer.body or (answer.status != 200 and b"/opt/" in answer.body):
            wrong.append(f"it tells of the container: {what}")
        if number % EVERY == 0 or number == count:
            assert post(server, GOOD) == first, f"after {what}"
    seen = _seen(server)
    asked_of_host = lines(host)[1:]
    counts = ", ".join(f"{status} x {times}" for status, times in sorted(statuses.items()))
    record_property(
        "detail",
        f"{counted(count, 'request')}: {counts}; slowest {slowest:.1f} s; workers that died: "
        f"{deaths}, calls to the canary host: {len(asked_of_host)}, files or programs: {len(seen)}",
    )
    assert not wrong, "\n".join(wrong[:50])
    assert deaths <= server.logs(LOG_LINES).count(READ_PAST_END)
    assert not asked_of_host
    assert deaths or not seen, seen  # a worker that starts again may look for its libraries
    assert server.container.exec_run(["test", "-e", CANARY_MADE]).exit_code == 1
    if not deaths:
        assert settled(server.container, len(before["model"])) == (java, before)


def test_the_watch_sees(watched: tuple[Server, Container]) -> None:
    """What the test before would find: a file that is read, a program and a call."""
    server, host = watched
    _watch(server, b"x")
    call = f"import socket; socket.create_connection(('{CANARY_HOST}', 80), 10).recv(1)"
    for command in (["cat", CANARY_READ], ["sh", "-c", "sleep 1"], ["python", "-c", call]):
        assert server.container.exec_run(command).exit_code == 0, command
    seen = _seen(server)
    assert f"opened {CANARY_READ}" in seen
    assert "opened /bin/sh" in seen
    assert "started sleep" in seen
    assert [line["asked"] for line in lines(host)[1:]] == ["80"]


def _watch(server: Server, secret: bytes) -> None:
    """Put the file there that nobody may read, and start to watch."""
    files = {CANARY_READ: secret, WATCH: (FILES / "fuzz_watch.py").read_bytes()}
    put(server.container, "/", pack(files))
    watch = server.container.exec_run(["python", WATCH, WATCHED, CANARY_READ])
    assert watch.exit_code == 0, watch.output


def _seen(server: Server) -> list[str]:
    """What the watch has seen. No program is started to tell it: the watch would see that one."""
    with tarfile.open(
        fileobj=io.BytesIO(b"".join(server.container.get_archive(WATCHED)[0]))
    ) as tar:
        [member] = tar.getmembers()
        file = tar.extractfile(member)
        assert file, f"{WATCHED} is no file"
        return file.read().decode().splitlines()


def test_stalled_requests(server: Server, record_property: Record) -> None:
    """A hundred clients that stop in the middle of a request keep nobody else from an answer."""
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
