"""The image says that it is ready when its model is loaded, and why it is not before."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from builder.contract.conftest import Serve
from builder.engine.containers import text
from builder.serve.server import QUESTION, READY, Server

Record = Callable[[str, object], None]

pytestmark = pytest.mark.inference

START_SECONDS = 300
LOAD_SECONDS = 6

SLOW = f"""
import time

def model_fn(model_dir):
    time.sleep({LOAD_SECONDS})
    return "slow"

def transform_fn(model, data, content_type, accept):
    return data
"""
BROKEN = """
def model_fn(model_dir):
    raise ValueError("these weights are of another model")
"""
# Prints the states of the workers, as the management interface on the loopback tells them.
STATES = """
import json, sys
sys.path.insert(0, "/usr/local/bin")
import dlc_ready
model = dlc_ready.ask(dlc_ready.management_port(), "/models/model")
print(json.dumps([worker["status"] for worker in model["workers"]]))
"""
REASON = "these weights are of another model"


def test_ping_answers_before_the_model_is_loaded(
    serve: Serve, tmp_path: Path, record_property: Record
) -> None:
    """By default /ping is for liveness, as the official images'; the command tells of readiness."""
    server = serve(model=code(tmp_path, SLOW), ready=False)
    seconds = next(at for at, status, _ in pings(server) if status == 200)
    readiness = ready(server)
    assert readiness == (1, "not ready: model model is still loading")
    loaded = server.wait_ready(START_SECONDS)
    record_property("detail", f"alive after {seconds:.1f} s, ready after {loaded:.1f} s")
    assert loaded > seconds + LOAD_SECONDS / 2
    assert ready(server) == (0, "ready")


def test_ping_waits_for_the_model(serve: Serve, tmp_path: Path, record_property: Record) -> None:
    """With DLC_PING=ready it answers 503 and why, then 200; everything else passes through."""
    server = serve(model=code(tmp_path, SLOW), environment={"DLC_PING": "ready"}, ready=False)
    reasons = []
    for at, status, body in pings(server):
        seconds = at
        if status == 200:
            break
        assert status == 503
        reasons.append(json.loads(body)["message"])
    assert ready(server) == (0, "ready")
    record_property("detail", f"200 after {seconds:.1f} s; before: {reasons[-1]}")
    assert "model model is still loading" in reasons[-1] or "not loaded a model" in reasons[-1]

    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    for size in (2, 6_000_000, 100):  # all on one connection
        asked = json.dumps("x" * size)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/invocations", body=asked, headers=headers)
        answer = connection.getresponse()
        assert (answer.status, answer.read().decode()) == (200, asked)
    connection.request("GET", "/ping")
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize("ping", ["live", "ready"])
def test_model_that_does_not_load_is_never_ready(
    serve: Serve, tmp_path: Path, ping: str, record_property: Record
) -> None:
    """The reason is in the log once, in what `ready` says, and in the body of a waiting /ping."""
    server = serve(model=code(tmp_path, BROKEN), environment={"DLC_PING": ping}, ready=False)
    deadline = time.monotonic() + START_SECONDS
    while REASON not in (readiness := ready(server)[1]):
        assert time.monotonic() < deadline, readiness
        time.sleep(0.5)
    assert ready(server) == (1, f"not ready: model model did not load: ValueError: {REASON}")
    logged = text(server.container.logs(stdout=True, stderr=False)).splitlines()
    workers = sum("Model model did not load" in line for line in logged)
    assert workers >= 1
    assert sum(f"ValueError: {REASON}" in line for line in logged) == workers

    time.sleep(1)  # the gate looks five times in a second
    _, status, body = next(pings(server))
    if ping == "live":
        assert status == 200
    else:
        assert status == 503
        assert REASON in json.loads(body)["message"]
    answer = server.invoke(QUESTION)
    record_property("detail", f"{status}; an invocation is answered {answer.status}")
    assert answer.status == 503
    assert REASON in text(answer.body)


def test_other_workers_follow_the_first(server: Server, record_property: Record) -> None:
    """A CPU image has one worker when it is ready, and in the end one for each processor."""
    tell = "import os; print(len(os.sched_getaffinity(0)))"
    wanted = int(text(server.container.exec_run(["python", "-c", tell]).output))
    deadline = time.monotonic() + START_SECONDS
    while True:
        states = json.loads(text(server.container.exec_run(["python", "-c", STATES]).output))
        if states == ["READY"] * wanted:
            break
        assert time.monotonic() < deadline, states
        time.sleep(0.5)
    record_property("detail", f"{len(states)} workers")
    assert server.invoke(QUESTION).status == 200


def code(folder: Path, inference: str) -> Path:
    """A model of nothing but code."""
    (folder / "code").mkdir()
    (folder / "code" / "inference.py").write_text(inference, encoding="utf-8")
    return folder


def ready(server: Server) -> tuple[int, str]:
    """The exit code of the command and what it says."""
    result = server.container.exec_run(list(READY))
    return result.exit_code or 0, text(result.output)


def pings(server: Server) -> Iterator[tuple[float, int, bytes]]:
    """Every answer of /ping: seconds from the start, status, body. AssertionError: too late."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while (seconds := time.monotonic() - server.started) < START_SECONDS:
        try:
            with opener.open(f"{server.url}/ping", timeout=5) as answer:
                yield seconds, answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                yield seconds, error.code, error.read()
        except (OSError, http.client.HTTPException):
            pass  # nobody listens yet
        time.sleep(0.1)
    raise AssertionError(f"/ping is not as expected within {START_SECONDS} s")
