"""A model that tells what reached it: formats in and out, limits, and variables that set them."""

from __future__ import annotations

import gzip
import json
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from builder.contract.conftest import Serve
from builder.contract.protocol import (
    CSV,
    CSV_COLUMNS,
    HANDLER,
    IMAGES_OUT,
    JSON,
    MEDIA_IN,
    NPY,
    RESTART_SECONDS,
    TIMEOUT_SECONDS,
    UNSUPPORTED,
    check_limit,
    echo_model,
    error,
    listening,
    logged,
    post,
    processes,
)
from builder.contract.samples import npy, png, wav
from builder.contract.subject import Subject
from builder.serve.server import Response, Server

if TYPE_CHECKING:
    import docker

pytestmark = pytest.mark.inference

Record = Callable[[str, object], None]

MEGABYTE = 1024 * 1024
PORT = "9123"
WORKERS = 1
QUEUE = 2
# It bounds the loading of the model too: with much less, a busy machine never has a worker.
ANSWER_SECONDS = 20
ANSWER_BYTES = 100_000


@pytest.fixture(scope="module")
def echo(
    client: docker.DockerClient, subject: Subject, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that answers with what it is asked, with every variable set to the unusual."""
    environment = {
        "SAGEMAKER_BIND_TO_PORT": PORT,
        "SAGEMAKER_MODEL_SERVER_WORKERS": str(WORKERS),
        "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": CSV,
        "MMS_JOB_QUEUE_SIZE": str(QUEUE),
        "MMS_MAX_RESPONSE_SIZE": str(ANSWER_BYTES),
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "1",
        "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS": str(ANSWER_SECONDS),
    }
    model = echo_model(tmp_path_factory.mktemp("echo"))
    with ExitStack() as stack:
        yield Serve(client, subject.image, stack)(model=model, environment=environment)


def test_csv_rows_out(echo: Server, subject: Subject, record_property: Record) -> None:
    """What is hard in CSV is quoted."""
    answer = _act(echo, accept=CSV, give="rows")
    assert (answer.status, answer.content_type) == (200, CSV), answer
    if CSV_COLUMNS.holds(subject):
        assert answer.body == b'name,score\r\na,1.5\r\n"b, ""c""",2.5\r\n'
    else:
        record_property("detail", CSV_COLUMNS.before)


def test_npy(echo: Server) -> None:
    """A matrix in and out; what is no matrix is not sent as one, which clients would unpickle."""
    matrix = npy([0, 1, 2, 3, 4, 5], (2, 3))
    answer = post(echo, matrix, kind=NPY)
    assert (answer.status, answer.content_type) == (200, JSON), answer
    assert json.loads(answer.body) == {"type": "array", "shape": [2, 3], "sum": 15.0}
    out = _act(echo, accept=NPY, give="array")
    assert (out.status, out.content_type) == (200, NPY), out
    assert out.body.startswith(b"\x93NUMPY")
    assert out.body.endswith(struct.pack("<6d", *range(6)))
    assert json.loads(_act(echo, give="array").body) == [[0, 1, 2], [3, 4, 5]]
    error(post(echo, b"not a matrix", kind=NPY), 400, HANDLER)
    assert f"cannot be {NPY}" in error(_act(echo, accept=NPY, give="rows"), 400, HANDLER)
    rows = _act(echo, accept=f"{NPY}, */*;q=0.5", give="rows")
    assert (rows.status, rows.content_type) == (200, JSON), rows


@pytest.mark.parametrize(
    "kind", ["image/png", "image/x-image", "image/jpeg", "image/*", "application/x-image"]
)
def test_image(echo: Server, subject: Subject, record_property: Record, kind: str) -> None:
    """An image in is an RGB image to the model, whatever format its type names."""
    answer = post(echo, png(4, 3, (200, 100, 50)), kind=kind)
    if not MEDIA_IN.holds(subject):
        record_property("detail", MEDIA_IN.before)
        assert UNSUPPORTED in error(answer, 400, HANDLER)
        return
    assert answer.status == 200, answer
    wanted = {"type": "image", "size": [4, 3], "mode": "RGB", "pixel": [200, 100, 50]}
    assert json.loads(answer.body) == wanted
    error(post(echo, b"not an image", kind=kind), 400, HANDLER)


@pytest.mark.parametrize(
    "kind", ["audio/wave", "audio/x-flac", "audio/mpeg", "audio/ogg", "audio/x-audio", "audio/*"]
)
def test_audio(echo: Server, subject: Subject, record_property: Record, kind: str) -> None:
    """A sound in reaches the model byte for byte."""
    sound = wav()
    answer = post(echo, sound, kind=kind)
    if not MEDIA_IN.holds(subject):
        record_property("detail", MEDIA_IN.before)
        assert UNSUPPORTED in error(answer, 400, HANDLER)
        return
    assert answer.status == 200, answer
    assert json.loads(answer.body) == {"type": "bytes", "length": len(sound), "sum": sum(sound)}


@pytest.mark.parametrize(
    ("accept", "begins"),
    [("image/png", b"\x89PNG"), ("image/x-image", b"\x89PNG"), ("image/jpeg", b"\xff\xd8")],
)
def test_image_out(
    echo: Server, subject: Subject, record_property: Record, accept: str, begins: bytes
) -> None:
    """An image as the model's answer, in the format that Accept names; in JSON it is base64."""
    answer = _act(echo, accept=accept, give="image")
    if not IMAGES_OUT.holds(subject):
        record_property("detail", IMAGES_OUT.before)
        assert UNSUPPORTED in error(answer, 400, HANDLER)
        return
    assert (answer.status, answer.content_type) == (200, accept), answer
    assert answer.body.startswith(begins)
    assert json.loads(_act(echo, give="image").body).startswith("iVBORw0KGgo")


def test_errors_of_the_model(echo: Server) -> None:
    """What a model raises is code 500, with its type and message; so is what JSON cannot say.

    The log has the traceback under the request's id.
    """
    answer = _act(echo, fail="memory")
    assert error(answer, 500, HANDLER) == "MemoryError: no memory left"
    logged(echo, f"Request {answer.request_id} could not be answered", "in act")
    assert "JSON cannot say" in error(_act(echo, give="nothing"), 500, HANDLER)


def test_what_json_cannot_say(echo: Server) -> None:
    """Numbers of NumPy are numbers, NaN and infinities null, bytes and images base64."""
    answer = json.loads(_act(echo, give="numbers").body)
    assert answer.pop("image").startswith("iVBORw0KGgo")
    assert answer == {
        "double": [None, None, 1.5],
        "single": None,
        "half": [0.5, None],
        "whole": 3,
        "flag": True,
        "bytes": "AP8=",
        "7": "\u00e4",
    }


def test_characters(echo: Server) -> None:
    """Other characters than ASCII are escaped, unless UTF-8 is asked for."""
    asked = {"inputs": "\u00e4"}
    assert rb'"\u00e4"' in post(echo, asked).body
    kind = f"{JSON}; charset=utf-8"
    answer = post(echo, asked, accept=kind)
    assert (answer.content_type, b'"\xc3\xa4"' in answer.body) == (kind, True), answer


@pytest.mark.parametrize("name", ["utf-8", "UTF-16", "iso-8859-1"])
def test_charset(echo: Server, name: str) -> None:
    """The charset of a request is that which its type names."""
    body = '{"inputs": "\u00e4"}'.encode(name)
    answer = post(echo, body, kind=f"{JSON};charset={name}")
    assert json.loads(answer.body) == {"type": "str", "value": "\u00e4"}
    error(post(echo, body, kind=f"{JSON};charset=utf-7"), 400, HANDLER)


def test_gzip(echo: Server) -> None:
    """A body in gzip is read as one without; what it unpacks to has the limit of a body."""
    body = gzip.compress(b'{"inputs": "x"}')
    assert json.loads(post(echo, body, coding="gzip").body) == {"type": "str", "value": "x"}
    error(post(echo, body, coding="br"), 400, HANDLER)
    error(post(echo, b"{}", coding="gzip"), 400, HANDLER)
    bomb = gzip.compress(bytes(300_000_000))
    assert "when unpacked" in error(post(echo, bomb, coding="gzip"), 413, HANDLER)


def test_payload_in_mb(echo: Server, record_property: Record) -> None:
    """SAGEMAKER_MAX_PAYLOAD_IN_MB moves the limit; megabytes are of 1024 * 1024 bytes."""
    record_property("detail", check_limit(echo, MEGABYTE))


def test_port(echo: Server) -> None:
    """SAGEMAKER_BIND_TO_PORT moves the port; no other listens but on the loopback."""
    assert echo.ask("GET", "/ping").status == 200
    assert listening(echo.container) == {int(PORT)}


def test_workers(echo: Server) -> None:
    """SAGEMAKER_MODEL_SERVER_WORKERS is the number of processes that have the model."""
    _, workers = processes(echo.container)
    assert {name: len(pids) for name, pids in workers.items()} == {"model": WORKERS}
    [worker] = workers["model"]
    assert {_worker(echo) for _ in range(5)} == {worker}


def test_default_accept(echo: Server, record_property: Record) -> None:
    """SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT is not read by this toolkit: the default stays JSON."""
    record_property("detail", "it is not read")
    for accept in (None, "*/*"):
        assert _act(echo, accept=accept, give="rows").content_type == JSON


def test_full_queue(echo: Server) -> None:
    """MMS_JOB_QUEUE_SIZE: more requests than workers and places in the queue are 503 at once."""
    before = _worker(echo)
    with ThreadPoolExecutor(max_workers=8) as pool:
        running = pool.submit(_act, echo, sleep=2)
        time.sleep(0.5)  # the worker has taken it, so the queue is empty
        answers = [*pool.map(lambda _: _act(echo), range(QUEUE + 3)), running.result()]
    refused = [answer for answer in answers if answer.status != 200]
    assert len(refused) == 3, answers
    for answer in refused:
        assert "No worker is available" in error(answer, 503, "ServiceUnavailableException")
    assert _worker(echo) == before


def test_response_limit(echo: Server) -> None:
    """MMS_MAX_RESPONSE_SIZE: an answer above it is 500 and names the limit; the worker goes on."""
    room = ANSWER_BYTES - 1_000
    before = _worker(echo)
    answer = _act(echo, size=room)
    assert (answer.status, len(json.loads(answer.body)["text"])) == (200, room)
    message = error(_act(echo, size=ANSWER_BYTES + 1_000), 500, HANDLER)
    assert f"{ANSWER_BYTES} (MMS_MAX_RESPONSE_SIZE)" in message
    assert _worker(echo) == before


def test_time_limit(echo: Server, subject: Subject, record_property: Record) -> None:
    """SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS: a model that takes longer is killed and replaced."""
    before = _worker(echo)
    if not TIMEOUT_SECONDS.holds(subject):
        record_property("detail", TIMEOUT_SECONDS.before)
        assert _act(echo, sleep=ANSWER_SECONDS + 1).status == 200
        assert _worker(echo) == before
        return
    started = time.monotonic()
    assert "died" in error(_act(echo, sleep=60), 500, HANDLER)
    seconds = time.monotonic() - started
    record_property("detail", f"an answer after {seconds:.1f} s")
    assert ANSWER_SECONDS - 1 < seconds < ANSWER_SECONDS + 5
    assert _worker(echo) != before


def test_crash(echo: Server) -> None:
    """A model that ends its process costs one answer; multi-model-server starts another worker."""
    java, _ = processes(echo.container)
    before = _worker(echo)
    assert "Worker died: it ended with exit code" in error(_act(echo, fail="exit"), 500, HANDLER)
    assert _worker(echo) != before
    assert processes(echo.container)[0] == java


def _act(server: Server, *, accept: str | None = None, **inputs: object) -> Response:
    return post(server, {"inputs": inputs}, accept=accept)


def _worker(server: Server) -> int:
    """The process that answers, once there is one: a worker may just be being replaced."""
    server.wait_ready(RESTART_SECONDS)
    answer = _act(server)
    assert answer.status == 200, answer
    return int(json.loads(answer.body)["worker"])
