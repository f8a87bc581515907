"""The malformed requests: the same every time, of every kind, and what becomes of one."""

from __future__ import annotations

import doctest
import hashlib
import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import pytest

from builder.contract import batch, fuzz, grammar, protocol, samples
from builder.contract.faults import broken_json, huge, huge_chunks, short_length, truncated
from builder.contract.fuzz import ABANDONED, CLOSED, KINDS, Fault, exchange, requests

ANSWER = b"HTTP/1.1 418 Short\r\nContent-Length: 2\r\n\r\nno"


@contextmanager
def listening(serve: Callable[[socket.socket], object]) -> Iterator[tuple[str, int]]:
    """A server of one connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            connection, _ = server.accept()
            with connection:
                serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        yield ("127.0.0.1", server.getsockname()[1])
        thread.join()


def fault(data: bytes = b"x", end: str = "wait") -> Fault:
    return Fault(kind="any", data=data, end=end, right=frozenset())


def test_examples() -> None:
    for module in (batch, fuzz, grammar, protocol, samples):
        found = doctest.testmod(module)
        assert found.failed == 0, module
    assert doctest.testmod(samples).attempted == 4


def test_the_same_every_time() -> None:
    def digest(seed: int) -> str:
        return hashlib.sha256(b"".join(r.data for r in requests(seed, 60))).hexdigest()

    assert digest(7) == digest(7)
    assert digest(7) != digest(8)


def test_hostile_requests_hold_every_attack() -> None:
    found = list(grammar.requests(1, 2_000))
    assert found == list(grammar.requests(1, 2_000))
    assert {name for name, _, _ in grammar.BODIES} == {each.name for each in found}
    bodies = b"".join(each.body for each in found)
    for attack in (grammar.COMMAND, grammar.CANARY_READ, grammar.CANARY_HOST, "trust_remote_code"):
        assert attack.encode() in bodies
    assert all(pickle in bodies for pickle in grammar.PICKLES)
    assert max(len(each.body) for each in found) < protocol.LIMIT
    kinds = {each.headers["Content-Type"] for each in found}
    assert set(grammar.KINDS) <= kinds
    for each in found:
        "".join(each.headers.values()).encode("latin-1")


def test_every_kind_by_its_weight() -> None:
    total = sum(kind.weight for kind in KINDS.values())
    found = Counter(request.kind for request in requests(1, 2 * total))
    assert found == {name: 2 * kind.weight for name, kind in KINDS.items()}


def test_faults_are_faults() -> None:
    random = Random(3)  # noqa: S311 no secret
    for _ in range(200):
        body = broken_json(random).partition(b"\r\n\r\n")[2]
        with pytest.raises(ValueError):
            json.loads(body.decode())
    for _ in range(50):
        head, _, body = short_length(random).partition(b"\r\n\r\n")
        said = int(head.rpartition(b"Content-Length: ")[2])
        assert said < len(body)
        with pytest.raises(ValueError):
            json.loads(body[:said].decode())
        head, _, body = truncated(random).partition(b"\r\n\r\n")
        assert not body or len(body) < int(head.rpartition(b"Content-Length: ")[2])
    assert len(huge(random).partition(b"\r\n\r\n")[2]) > protocol.LIMIT
    assert len(huge_chunks(random)) > protocol.LIMIT


def test_an_answer() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER)

    with listening(serve) as address:
        outcome = exchange(address, fault(), seconds=5)
    assert (outcome.status, outcome.body) == (418, b"no")
    assert 0 <= outcome.seconds < 5


def test_closed_or_reset() -> None:
    def reset(connection: socket.socket) -> None:
        connection.recv(1)  # by then the client knows that it is connected
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    for serve in (reset, lambda connection: connection.recv(100)):
        with listening(serve) as address:
            assert exchange(address, fault(), seconds=5).status == CLOSED


def test_the_end_of_the_client_is_seen() -> None:
    seen = []

    def serve(connection: socket.socket) -> None:
        while data := connection.recv(100):
            seen.append(data)
        connection.sendall(ANSWER)

    with listening(serve) as address:
        assert exchange(address, fault(b"half", end="end"), seconds=5).status == 418
    with listening(serve) as address:
        assert exchange(address, fault(b"left", end="leave"), seconds=5).status == ABANDONED
    assert seen == [b"half", b"left"]


def test_no_answer_in_time() -> None:
    with (
        listening(lambda connection: connection.recv(1) and connection.recv(1)) as address,
        pytest.raises(TimeoutError),
    ):
        exchange(address, fault(), seconds=0.2)


def test_an_early_answer_counts() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(1)
        connection.sendall(ANSWER)
        while connection.recv(1 << 16):
            pass

    with listening(serve) as address:
        assert exchange(address, fault(b"x" * 10_000_000, end="end"), seconds=5).status == 418
