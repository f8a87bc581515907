"""What the serving packages do over HTTP, by version, and how to ask a container about it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from builder.util.package import PACKAGE

if TYPE_CHECKING:
    from docker.models.containers import Container

    from builder.contract.subject import Subject
    from builder.serve.server import Response, Server

__all__ = [
    "CSV",
    "CSV_COLUMNS",
    "ECHO",
    "HANDLER",
    "IMAGES_OUT",
    "JSON",
    "LIMIT",
    "MEDIA_IN",
    "NPY",
    "READ_PAST_END",
    "RESTART_SECONDS",
    "TIMEOUT_SECONDS",
    "TOOLKIT",
    "UNSUPPORTED",
    "Since",
    "check_limit",
    "died",
    "echo_model",
    "error",
    "listening",
    "logged",
    "post",
    "processes",
    "settled",
]

JSON = "application/json"
CSV = "text/csv"
NPY = "application/x-npy"

LIMIT = 6_553_500
"""Bytes of a request that multi-model-server takes by default, and of an answer that it gives."""

HANDLER = "InternalServerException"
"""The type of every error that the handler tells of: the client's, and the model's."""
READ_PAST_END = "exceeds writerIndex"
"""In the log when multi-model-server gave up a worker over a whole and good answer of its own.

Its ModelResponseDecoder reads the answer's status before those four bytes have come, if what came
so far ends just there: it depends on the length of an error's message and on the answers before.
The same in 1.1.4, 1.1.8 and 1.1.11; the request is answered 500 "Worker died.".
"""
RESTART_SECONDS = 120
TRACE_LINES = 300
LOG_SECONDS = 20

UNSUPPORTED = "is not supported by this framework"

TOOLKIT = "sagemaker-huggingface-inference-toolkit"
ECHO = PACKAGE / "files" / "echo_inference.py"

# Prints every process as [pid, its parent's, words of its command line]; few images have ps.
PROCESSES = """
import json, os
found = []
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open("/proc/%s/cmdline" % pid, "rb") as file:
            words = file.read().decode("utf-8", "replace").split(chr(0))
        with open("/proc/%s/stat" % pid) as file:
            parent = file.read().rpartition(")")[2].split()[1]
        found.append([int(pid), int(parent), words])
    except OSError:
        pass
print(json.dumps(found))
"""

# Prints the ports that the container listens on, from the kernel's tables, but for those of the
# loopback: state 0A is LISTEN.
PORTS = """
import json
ports = set()
for name in ("/proc/net/tcp", "/proc/net/tcp6"):
    try:
        with open(name) as file:
            rows = [line.split() for line in file][1:]
    except OSError:
        rows = []
    rows = [row[1].split(":") for row in rows if row[3] == "0A"]
    ports |= {int(port, 16) for address, port in rows if not address.endswith("0100007F")}
print(json.dumps(sorted(ports)))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Since:
    """What packages do from some of their versions on; `before` is what happens with older ones."""

    versions: Mapping[str, tuple[int, ...]]
    before: str

    def holds(self, subject: Subject) -> bool:
        """Whether the image has every one of the packages new enough."""
        return all(subject.version(name) >= first for name, first in self.versions.items())


CSV_COLUMNS = Since(
    versions={TOOLKIT: (1, 1, 1)},
    before="CSV is a matrix of numbers in, which no pipeline takes, and Python's own text out",
)
MEDIA_IN = Since(
    versions={TOOLKIT: (2, 0, 0)},
    before="an image or a sound is an unsupported content type",
)
IMAGES_OUT = Since(
    versions={TOOLKIT: (2, 3, 0)},
    before="an image is an unsupported type of answer",
)
TIMEOUT_SECONDS = Since(
    versions={"sagemaker-inference": (1, 10, 0), "multi-model-server": (1, 1, 11)},
    before="SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS is not read, and the other counts minutes",
)


def echo_model(directory: Path) -> Path:
    """Make a model in the directory that answers with what it is asked; the directory itself."""
    code = directory / "code"
    code.mkdir(parents=True)
    shutil.copy(ECHO, code / "inference.py")
    return directory


def post(
    server: Server,
    body: object,
    *,
    path: str = "/invocations",
    kind: str | None = JSON,
    accept: str | None = None,
    coding: str | None = None,
) -> Response:
    """POST bytes as they are, or anything else as JSON; None leaves a header out.

    `coding` is the Content-Encoding of bytes.

    Once more if READ_PAST_END took the worker: that can happen to any answer.
    """
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    # urllib would add a Content-Type of its own, but not an empty one.
    headers = {"Content-Type": kind or ""} | ({"Accept": accept} if accept is not None else {})
    headers |= {"Content-Encoding": coding} if coding else {}
    answer = server.ask("POST", path, body=data, headers=headers)
    if died(answer) and READ_PAST_END in server.logs(TRACE_LINES):
        server.wait_ready(RESTART_SECONDS)
        answer = server.ask("POST", path, body=data, headers=headers)
    return answer


def logged(server: Server, *texts: str) -> None:
    """Wait until the log has texts, in this order: Java passes on what a worker writes."""
    deadline = time.monotonic() + LOG_SECONDS
    while True:
        log = server.logs(TRACE_LINES)
        _, found, rest = log.partition(texts[0])
        if found and all(text in rest for text in texts[1:]):
            return
        assert time.monotonic() < deadline, f"{texts} not in the log:\n{log}"
        time.sleep(0.2)


def died(answer: Response) -> bool:
    """Whether the answer is that of a worker that died with the request."""
    return answer.status == 500 and b"Worker died" in answer.body


def error(response: Response, status: int, kind: str) -> str:
    """The message of an error; AssertionError unless it has this status, type and form.

    Errors of the handler have an id, in the header and in the body.
    """
    assert (response.status, response.content_type) == (status, JSON), response
    body: dict[str, Any] = json.loads(response.body)
    if kind == HANDLER and not died(response):
        assert response.request_id, response
        assert body.pop("request_id") == response.request_id, body
    assert body.keys() == {"code", "type", "message"}, body
    assert (body["code"], body["type"]) == (status, kind), body
    message: str = body["message"]
    assert message, body
    return message


def check_limit(server: Server, limit: int) -> str:
    """Send requests of the limit in bytes and a byte less; announce a byte more and the double.

    Announced only: that must be enough to be refused.
    """
    for size in (limit - 1, limit):
        answer = post(server, b'{"inputs": "a", "rest": "'.ljust(size - 2, b"x") + b'"}')
        assert answer.status == 200, (size, answer)
    for size in (limit + 1, 2 * limit):
        status, body = _announce(server, size)
        assert status == 413, size
        assert str(limit) in json.loads(body)["message"]
    return f"{limit} bytes"


def _announce(server: Server, size: int) -> tuple[int, bytes]:
    parts = urlsplit(server.url)
    with closing(HTTPConnection(parts.hostname or "", parts.port, timeout=60)) as connection:
        connection.putrequest("POST", "/invocations")
        connection.putheader("Content-Type", JSON)
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()


def listening(container: Container) -> set[int]:
    """The TCP ports that the container listens on, for others than itself."""
    output: Any = container.exec_run(["python", "-c", PORTS]).output
    return set(json.loads(output))


def processes(container: Container) -> tuple[int, Mapping[str, frozenset[int]]]:
    """Java's process id, and those of the workers by the name of their model.

    A model has one process that listens for multi-model-server, and for each of its connections a
    child that watches a worker; neither loads anything itself.
    """
    output: Any = container.exec_run(["python", "-c", PROCESSES]).output
    java, models, parents = 0, dict[int, str](), dict[int, int]()
    for pid, parent, words in json.loads(output):
        if "com.amazonaws.ml.mms.ModelServer" in words:
            java = pid
        elif any(word.endswith("model_service_worker.py") for word in words[:3]):
            models[pid] = words[words.index("--model-name") + 1]
            parents[pid] = parent
    workers = dict[str, frozenset[int]]()
    for pid, model in models.items():
        if parents[pid] in models and parents[parents[pid]] in models:
            workers[model] = workers.get(model, frozenset()) | {pid}
    return java, workers


def settled(container: Container, workers: int) -> tuple[int, Mapping[str, frozenset[int]]]:
    """The processes, once the model has so many workers: the first comes alone, a lost one later.

    AssertionError if it has another number after RESTART_SECONDS.
    """
    deadline = time.monotonic() + RESTART_SECONDS
    while True:
        found = processes(container)
        if len(found[1].get("model", ())) == workers:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not {workers} workers: {found[1]}")
        time.sleep(0.5)
