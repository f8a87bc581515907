"""The server's life: workers that die, what there is no memory for, and its end."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from builder.contract.conftest import Serve
from builder.contract.protocol import JSON, error, post
from builder.engine.containers import text
from builder.errors import ContainerError
from builder.serve.server import QUESTION, READY, Server

Record = Callable[[str, object], None]

pytestmark = pytest.mark.inference

LOAD_SECONDS = 300
ANSWER_SECONDS = 300
GONE = "ServiceUnavailableException"
ECHO = """
import os, time

def model_fn(model_dir):
    return "echo"

def transform_fn(model, data, content_type, accept):
    text = data if isinstance(data, str) else bytes(data).decode()
    if "sleep" in text[:20]:
        time.sleep(3)
    if "die" in text[:20]:
        os._exit(5)
    return "x" * 7_000_000 if "much" in text[:20] else data
"""
ARGUMENTS = "import argparse\nargparse.ArgumentParser().parse_args()\n"
DEATHS = {
    "exit": ("os._exit(3)", "ended with exit code 3"),
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL"),
    "crash": ("os.kill(os.getpid(), signal.SIGSEGV)", "was killed by SIGSEGV"),
    "memory": ("print([bytearray(1 << 28) for _ in range(99)])", "was killed as memory ran out"),
}
REFUSED = {413, 503}


@pytest.mark.parametrize("death", DEATHS)
def test_worker_that_dies_while_it_loads(
    serve: Serve, tmp_path: Path, death: str, record_property: Record
) -> None:
    """`ready`, /ping and the log say how, a request is answered 503, and restarts have pauses."""
    statement, why = DEATHS[death]
    inference = f"import os, signal\ndef model_fn(model_dir):\n    {statement}\n"
    server = serve(
        model=write(tmp_path, {"code/inference.py": inference}),
        environment={"DLC_PING": "ready" if death == "killed" else "live"},
        options={"mem_limit": "1500m"},
        ready=False,
    )
    deadline = time.monotonic() + LOAD_SECONDS
    while "did not load" not in (state := ready(server)):
        assert time.monotonic() < deadline, state
        time.sleep(0.5)
    record_property("detail", state[:200])
    assert f"its worker {why}" in state
    deadline = time.monotonic() + LOAD_SECONDS
    while True:  # what stands at the port looks twice in a second
        ping = server.ask("GET", "/ping")
        if ping.status == 503 and why in text(ping.body):
            break
        assert time.monotonic() < deadline, ping
        time.sleep(0.1)
    assert why in error(server.invoke(QUESTION), 503, GONE)
    log = server.logs(1000)
    assert re.search(rf"dlc: the worker of model model {why}.* while it loaded", log)
    if death == "crash":
        assert "Segmentation fault" in log


def test_worker_that_dies_at_work(serve: Serve, tmp_path: Path, record_property: Record) -> None:
    """One answer says how; the server stays healthy, and the next worker answers."""
    model = write(tmp_path, {"code/inference.py": ECHO})
    server = serve(model=model, environment={"SAGEMAKER_MODEL_SERVER_WORKERS": "1"})
    message = error(post(server, b'"die"'), 500, "InternalServerException")
    record_property("detail", message)
    assert message == "Worker died: it ended with exit code 5 while it worked."
    assert server.ask("GET", "/ping").status == 200
    answer = server.ask("POST", "/invocations", body=b'"a"', headers={"Content-Type": JSON})
    assert (answer.status, answer.body) == (200, b'"a"')


@pytest.mark.parametrize("at", ["code", "root"])
def test_code_that_hides_python_s_own_modules(serve: Serve, tmp_path: Path, at: str) -> None:
    """types.py and queue.py, and a script that reads the arguments of its program."""
    folder = "code/" if at == "code" else ""
    files = {f"{folder}{name}.py": "raise SystemExit(1)" for name in ("types", "queue")}
    server = serve(model=write(tmp_path, {**files, f"{folder}inference.py": ARGUMENTS + ECHO}))
    assert post(server, b'"a"').body == b'"a"'
    assert "has the name of a module of Python" in server.logs(1000)


def test_requests_in_flight_are_answered(
    serve: Serve, tmp_path: Path, record_property: Record
) -> None:
    """SIGTERM: two of three seconds each are answered, a new one is refused, the exit code is 0."""
    model = write(tmp_path, {"code/inference.py": ECHO})
    server = serve(model=model, environment={"DLC_STOP_SECONDS": "60"})
    with ThreadPoolExecutor(max_workers=2) as pool:
        running = [pool.submit(post, server, b'"sleep"') for _ in range(2)]
        time.sleep(1)
        began = time.monotonic()
        server.container.kill("SIGTERM")
        time.sleep(0.5)
        assert "stopping" in error(server.ask("GET", "/ping"), 503, GONE)
        answers = [each.result() for each in running]
    assert [(answer.status, answer.body) for answer in answers] == [(200, b'"sleep"')] * 2
    assert server.container.wait(timeout=60)["StatusCode"] == 0
    record_property("detail", f"gone after {time.monotonic() - began:.1f} s")


@pytest.mark.parametrize(
    ("count", "size", "environment"),
    [(60, 6_000_000, {}), (8, 60_000_000, {"SAGEMAKER_MAX_PAYLOAD_IN_MB": "100"})],
)
def test_more_requests_than_memory(
    serve: Serve,
    tmp_path: Path,
    count: int,
    size: int,
    environment: Mapping[str, str],
    record_property: Record,
) -> None:
    """In 1 GB, all are answered or refused, and the server is the same afterwards."""
    model = write(tmp_path, {"code/inference.py": ECHO})
    server = serve(model=model, environment=environment, options={"mem_limit": "1g"})
    body = json.dumps("x" * size).encode()

    def ask(_: int) -> int:
        headers = {"Content-Type": JSON}
        return server.ask(
            "POST", "/invocations", body=body, headers=headers, timeout=ANSWER_SECONDS
        ).status

    with ThreadPoolExecutor(max_workers=count) as pool:
        statuses = Counter(pool.map(ask, range(count)))
    record_property("detail", ", ".join(f"{n} x {status}" for status, n in statuses.items()))
    if size < 10_000_000:
        assert statuses[200] >= 1
    # A worker may be killed for memory, which costs one answer; never the server.
    assert statuses.keys() <= {200, 500, *REFUSED}
    server.wait_ready(LOAD_SECONDS)
    assert post(server, b'"a"').status == 200


def test_large_answer(serve: Serve, tmp_path: Path) -> None:
    """7 MB are answered without a variable, and 60 MB both ways with one."""
    model = write(tmp_path, {"code/inference.py": ECHO})
    server = serve(model=model, environment={"SAGEMAKER_MAX_PAYLOAD_IN_MB": "100"})
    assert len(post(server, b'"much"').body) == 7_000_000
    body = json.dumps("x" * 60_000_000).encode()
    answer = server.ask(
        "POST", "/invocations", body=body, headers={"Content-Type": JSON}, timeout=ANSWER_SECONDS
    )
    assert (answer.status, answer.body == body) == (200, True)


def test_no_model(serve: Serve, tmp_path: Path) -> None:
    """Nothing to serve: the container ends with 1, and its last line says what is missing."""
    base = {"SAGEMAKER_BASE_DIR": "/nowhere"}
    server = serve(model=write(tmp_path, {"a": ""}), environment=base, ready=False)
    assert server.container.wait(timeout=60)["StatusCode"] == 1
    assert "there is no model: mount one at /nowhere/model, or set HF_MODEL_ID" in server.logs(5)
    with pytest.raises(ContainerError):
        server.ask("GET", "/ping", timeout=5)


def test_log_level(serve: Serve, tmp_path: Path) -> None:
    """DLC_LOG_LEVEL=warning: what a model prints, and no line for each request."""
    inference = ECHO.replace("    return", "    print('printed', flush=True)\n    return", 1)
    model = write(tmp_path, {"code/inference.py": inference})
    server = serve(model=model, environment={"DLC_LOG_LEVEL": "warning"})
    assert post(server, b'"a"').status == 200
    log = server.logs(1000)
    assert "printed" in log
    assert "ACCESS_LOG" not in log


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """A model of nothing but these files."""
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def ready(server: Server) -> str:
    return text(server.container.exec_run(list(READY)).output)
