"""What goes in and out over HTTP: types, codes, limits and the variables that change them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from builder.contract.protocol import (
    CSV,
    CSV_COLUMNS,
    HANDLER,
    JSON,
    LIMIT,
    UNSUPPORTED,
    check_limit,
    error,
    logged,
    post,
    settled,
)
from builder.contract.subject import Subject
from builder.serve.server import Server

pytestmark = pytest.mark.inference

Record = Callable[[str, object], None]

GOOD = {"inputs": "I love this movie."}


def test_ping(server: Server) -> None:
    """GET /ping says that the server is there, in JSON."""
    answer = server.ask("GET", "/ping")
    assert (answer.status, answer.content_type) == (200, JSON)
    assert json.loads(answer.body) == {"status": "Healthy"}


@pytest.mark.parametrize("accept", [None, "", "*/*", JSON])
def test_json(server: Server, accept: str | None) -> None:
    """JSON in and out: without an Accept, with an empty one, with any, and by name."""
    answer = post(server, GOOD, accept=accept)
    assert (answer.status, answer.content_type) == (200, JSON), answer
    [found] = json.loads(answer.body)
    assert found.keys() == {"label", "score"}


def test_json_shapes(server: Server) -> None:
    """A list of inputs gives a list in its order; a body without `inputs` goes in as it is."""
    texts = ["I love this movie.", "hate", "a very long film"]
    one_by_one = [_predict(server, {"inputs": text})[0] for text in texts]
    together = _predict(server, {"inputs": texts})
    assert [row["label"] for row in together] == [row["label"] for row in one_by_one]
    for row, single in zip(together, one_by_one, strict=True):
        assert row["score"] == pytest.approx(single["score"], abs=1e-4)
    letters = post(server, '{"inputs": "Ça va? 你好 \\ud83d\\ude00"}'.encode())
    assert letters.status == 200, letters


def test_aliases(server: Server) -> None:
    """The same model at multi-model-server's own paths."""
    wanted = post(server, GOOD)
    assert post(server, GOOD, path="/predictions/model") == wanted
    assert post(server, GOOD, path="/models/model/invoke") == wanted


def test_csv(server: Server, subject: Subject, record_property: Record) -> None:
    """CSV with a header in, a row for each answer out."""
    body = b'inputs\nI love this movie.\n"a, ""b"""\n'
    answer = post(server, body, kind=CSV, accept=CSV)
    if not CSV_COLUMNS.holds(subject):
        record_property("detail", CSV_COLUMNS.before)
        error(answer, 400, HANDLER)
        out = post(server, GOOD, accept=CSV)
        assert (out.status, out.content_type) == (200, CSV), out
        assert b"'label'" in out.body, out
        return
    assert (answer.status, answer.content_type) == (200, CSV), answer
    header, *rows = answer.body.decode().splitlines()
    assert (header, len(rows)) == ("label,score", 2)
    as_json = post(server, body, kind=CSV)
    assert [f"{row['label']},{row['score']}" for row in json.loads(as_json.body)] == rows


@pytest.mark.parametrize("body", [b"text\nabc\n", b"", b"inputs", b"\xff\n"])
def test_csv_without_columns(server: Server, body: bytes) -> None:
    """CSV without a header that names inputs, or without a row, is refused."""
    error(post(server, body, kind=CSV), 400, HANDLER)


@pytest.mark.parametrize("accept", ["application/xml", "text/html", "text/*"])
def test_unsupported_accept(server: Server, accept: str) -> None:
    """An Accept of nothing that can be answered is refused."""
    assert f"{accept} {UNSUPPORTED}" in error(post(server, GOOD, accept=accept), 400, HANDLER)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (f"{JSON};q=0.9", JSON),
        ("text/html, application/xml;q=0.9, */*;q=0.8", JSON),
        ("image/avif,image/webp,image/*;q=0.9,*/*;q=0.8", JSON),
        (f"{JSON};q=0.1, {CSV}", CSV),
        ("", JSON),
    ],
)
def test_accept_list(server: Server, accept: str, kind: str) -> None:
    """The best type of a list is the answer's."""
    answer = post(server, GOOD, accept=accept)
    assert (answer.status, answer.content_type) == (200, kind), answer


@pytest.mark.parametrize("kind", ["text/plain", "x"])
def test_unsupported_content_type(server: Server, kind: str) -> None:
    """A Content-Type that nothing reads is refused."""
    assert UNSUPPORTED in error(post(server, GOOD, kind=kind), 400, HANDLER)


@pytest.mark.parametrize(
    "kind", ["", f"{JSON}; charset=utf-8", "Application/JSON", f"{JSON};charset=iso-8859-1"]
)
def test_content_type(server: Server, kind: str) -> None:
    """A Content-Type may have parameters and be in any case; none is JSON."""
    assert post(server, GOOD, kind=kind).status == 200
    marked = b"\xef\xbb\xbf" + json.dumps(GOOD).encode()
    assert post(server, marked, kind=JSON).status == 200


def test_byte_order_mark(server: Server, subject: Subject) -> None:
    """JSON and CSV from programs that begin a file with one."""
    mark = b"\xef\xbb\xbf"
    plain = post(server, GOOD)
    assert post(server, mark + json.dumps(GOOD).encode()) == plain
    if CSV_COLUMNS.holds(subject):
        assert post(server, mark + b"inputs\nI love this movie.\n", kind=CSV) == plain


def test_json_lines(server: Server) -> None:
    """A line for each input, as one list."""
    one = _predict(server, GOOD)
    lines = (json.dumps(GOOD) + "\n").encode() * 3
    answer = post(server, lines, kind="application/jsonlines")
    assert (answer.status, len(json.loads(answer.body))) == (200, 3 * len(one)), answer
    out = post(server, lines, kind="application/x-ndjson", accept="application/jsonlines")
    assert out.content_type == "application/jsonlines"
    assert [json.loads(line) for line in out.body.splitlines()] == json.loads(answer.body)


def test_without_a_content_type(server: Server) -> None:
    """JSON; also in chunks, and where the client first asks whether it may send it."""
    parts = urlsplit(server.url)
    body = json.dumps(GOOD).encode()
    wanted = post(server, GOOD).body
    chunked: Sequence[Mapping[str, str]] = ({}, {"Expect": "100-continue"})
    for headers, chunks in [({}, [body]), *((each, [body[:5], body[5:]]) for each in chunked)]:
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        sent = chunks[0] if len(chunks) == 1 else iter(chunks)
        connection.request("POST", "/invocations", sent, dict(headers))
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, wanted)
        connection.close()


def test_a_form(server: Server) -> None:
    """What curl sends by itself is told what to send instead."""
    answer = post(server, b'{"inputs": "x"}', kind="application/x-www-form-urlencoded")
    assert "Content-Type: application/json" in error(answer, 400, HANDLER)


def test_errors_have_an_id(server: Server) -> None:
    """The log has what was wrong, with its traceback, under the id of the answer."""
    answer = post(server, {"inputs": 5})
    message = error(answer, 400, HANDLER)
    assert "/opt/" not in message
    logged(server, f"Request {answer.request_id} refused: ", "Traceback (most recent call last)")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b'{"inputs": 5}',
        b'{"inputs": "a"}{"inputs": "b"}',
        b"\xff",
    ],
)
def test_bad_body(server: Server, body: bytes) -> None:
    """What is not JSON, or not what a pipeline takes, is an error of code 400 that says why."""
    error(post(server, body), 400, HANDLER)


def test_paths_and_methods(server: Server) -> None:
    """A wrong path is 404. A wrong method is 405 at /; the others take any."""
    for method, path in [
        ("GET", "/nothing"),
        ("POST", "/invocation"),
        ("GET", "/execution-parameters"),
        ("GET", "/models/model"),
    ]:
        error(server.ask(method, path), 404, "ResourceNotFoundException")
    error(post(server, GOOD, path="/predictions/nothing"), 404, "ModelNotFoundException")
    for method, path in [("GET", "/"), ("DELETE", "/")]:
        error(server.ask(method, path), 405, "MethodNotAllowedException")
    assert server.ask("POST", "/ping").status == 200
    body = json.dumps(GOOD).encode()
    assert (
        server.ask("PUT", "/invocations", body=body, headers={"Content-Type": JSON}).status == 200
    )


def test_request_limit(server: Server, record_property: Record) -> None:
    """A request of 6,553,500 bytes is served; one of a byte more is 413, and names the limit."""
    record_property("detail", check_limit(server, LIMIT))


def test_workers_by_default(server: Server, record_property: Record) -> None:
    """Without it there are as many as the container sees processors."""
    output: Any = server.container.exec_run(
        ["python", "-c", "import os; print(len(os.sched_getaffinity(0)))"]
    )
    _, workers = settled(server.container, int(output.output))
    record_property("detail", f"{len(workers['model'])} workers")


def test_keep_alive(server: Server) -> None:
    """A connection serves one request after the other, and ends with an error's answer."""
    parts = urlsplit(server.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        assert _send(connection, GOOD) == (200, "keep-alive")
        socket = connection.sock
        assert [_send(connection, GOOD) for _ in range(3)] == [(200, "keep-alive")] * 3
        assert connection.sock is socket
        assert _send(connection, None) == (400, "close")
    finally:
        connection.close()


def test_concurrent_requests(server: Server, record_property: Record) -> None:
    """Twenty clients at once: each gets the answers to its own questions."""
    clients, each = 20, 10
    texts = ["good " * n for n in range(1, clients + 1)]
    wanted = [post(server, {"inputs": text}).body for text in texts]
    assert len(set(wanted)) == clients

    def ask(text: str) -> set[bytes]:
        return {post(server, {"inputs": text}).body for _ in range(each)}

    started = time.monotonic()
    with ThreadPoolExecutor(max_workers=clients) as pool:
        assert list(pool.map(ask, texts)) == [{body} for body in wanted]
    seconds = time.monotonic() - started
    record_property("detail", f"{clients * each} answers in {seconds:.1f} s")


def _predict(server: Server, body: object) -> Any:
    answer = post(server, body)
    assert answer.status == 200, answer
    return json.loads(answer.body)


def _send(connection: HTTPConnection, body: object) -> tuple[int, str | None]:
    connection.request("POST", "/invocations", json.dumps(body), {"Content-Type": JSON})
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("Connection")
