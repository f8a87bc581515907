"""The image is a good citizen: it ends when asked, writes where it may, and says what it does."""

from __future__ import annotations

import io
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest

from builder.contract.conftest import Serve
from builder.contract.subject import Subject
from builder.engine.containers import created, put, start, text
from builder.errors import ContainerError
from builder.serve.model_archive import make_tiny_model
from builder.serve.server import QUESTION, READY, Server
from builder.util.tar import unpack

Record = Callable[[str, object], None]

pytestmark = pytest.mark.inference

STOP_SECONDS = 10
BACK_SECONDS = 120
READY_SECONDS = 300

# The worker that has loaded its model has turned its standard output to a pipe of its own.
WORKERS = """
import glob, os
for path in glob.glob("/proc/[0-9]*"):
    try:
        words = open(path + "/cmdline", "rb").read().split(b"\\0")
        if any(w.endswith(b"model_service_worker.py") for w in words[:3]):
            owner = os.stat(path)  # what it has open is for its user alone
            os.setegid(owner.st_gid)
            os.seteuid(owner.st_uid)
            if "-stdout" in os.readlink(path + "/fd/1"):
                print(path.split("/")[2])
    except OSError:
        pass
    finally:
        os.seteuid(os.getuid())
        os.setegid(os.getgid())
"""
JAVA = """
import glob
for path in glob.glob("/proc/[0-9]*"):
    try:
        words = open(path + "/cmdline", "rb").read().split(b"\\0")
        if b"com.amazonaws.ml.mms.ModelServer" in words:
            print(path.split("/")[2])
    except OSError:
        pass
"""
ASK = """
import sys, urllib.request
request = urllib.request.Request(
    "http://127.0.0.1:8080/invocations",
    data=sys.argv[1].encode(),
    headers={"Content-Type": "application/json"},
)
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
print(opener.open(request, timeout=120).read().decode())
"""


def test_stops_when_asked(serve: Serve, record_property: Record) -> None:
    """SIGTERM to process 1: exit code 0 within the ten seconds that `docker stop` gives."""
    container = serve().container
    began = time.monotonic()
    container.kill("SIGTERM")
    code = container.wait(timeout=60)["StatusCode"]
    seconds = time.monotonic() - began
    record_property("detail", f"exit code {code} after {seconds:.1f} s")
    assert code == 0
    assert seconds < STOP_SECONDS


def test_killed_worker_comes_back(serve: Serve, record_property: Record) -> None:
    """SIGKILL to every worker with a model: another one loads it and answers."""
    server = serve(
        environment={"SAGEMAKER_MODEL_SERVER_WORKERS": "1", "HF_TASK": "text-classification"}
    )
    killed = execute(server.container, "python", "-c", WORKERS).split()
    assert killed, "no worker has a model"
    kill(server.container, killed)
    began = time.monotonic()
    deadline = began + BACK_SECONDS
    while True:
        try:
            answer = server.invoke(QUESTION, timeout=BACK_SECONDS)
            status = answer.status
        except ContainerError:
            status = 0
        if status == 200:
            break
        assert time.monotonic() < deadline, f"status {status} after {BACK_SECONDS} s"
        time.sleep(0.5)
    record_property("detail", f"answers again after {time.monotonic() - began:.1f} s")
    assert not set(killed) & set(execute(server.container, "python", "-c", WORKERS).split())


def test_killed_java_ends_the_container(serve: Serve, record_property: Record) -> None:
    """SIGKILL to the model server: the container ends, its code is not 0, and it says why."""
    container = serve().container
    [java] = execute(container, "python", "-c", JAVA).split()
    kill(container, [java])
    code = container.wait(timeout=60)["StatusCode"]
    last_line = text(container.logs(stdout=False, stderr=True)).splitlines()[-1]
    record_property("detail", f"exit code {code}: {last_line}")
    assert code == 137
    assert "(Java) ended with exit code 137" in last_line


@pytest.mark.parametrize("user", ["", "1000:1000"])
def test_root_can_be_read_only(
    client: docker.DockerClient, subject: Subject, user: str, record_property: Record
) -> None:
    """With no place to write but a tmpfs at /tmp, no capability and no new privilege."""
    with volume(client, subject.image) as model:
        options = {
            "read_only": True,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "user": user,
            "tmpfs": {"/tmp": ""},  # noqa: S108 a path of the container
            "volumes": {model: {"bind": "/opt/ml", "mode": "ro"}},
            "network_mode": "none",
        }
        with created(
            client,
            subject.image,
            command=["serve"],
            environment={"HF_TASK": "text-classification"},
            **options,
        ) as container:
            start(container, subject.image)
            record_property("detail", answer_inside(container))


@pytest.mark.parametrize("user", ["12345:0", "12345:12345"])
def test_any_user_can_serve(
    client: docker.DockerClient,
    subject: Subject,
    serve: Serve,
    user: str,
    tmp_path: Path,
    record_property: Record,
) -> None:
    """A user id that the image does not know, with the group of root and without it."""
    # Unpacked and packed again, everybody may read it.
    unpack(io.BytesIO(make_tiny_model(client, subject.image)), tmp_path)
    server = serve(
        model=tmp_path / "model",
        environment={"HF_TASK": "text-classification"},
        options={"user": user},
        timeout=120,
    )
    answer = server.invoke(QUESTION)
    who = execute(server.container, "python", "-c", "import os; print(os.getuid(), os.getgid())")
    record_property("detail", f"{who}: {text(answer.body)}")
    assert answer.status == 200
    assert who == user.replace(":", " ")


def test_needs_no_network(serve: Serve, record_property: Record) -> None:
    """A local model is served without any network but the loopback."""
    server = serve(options={"network_mode": "none"}, ready=False)
    record_property("detail", answer_inside(server.container))


def test_logs_are_lines_on_standard_output(server: Server, record_property: Record) -> None:
    """One line for each request, the worker's among them, and no log file in the container."""
    paths = [f"/no-such-path/{uuid.uuid4()}" for _ in range(3)]
    for path in paths:
        code = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080{path}')"
        server.container.exec_run(["python", "-c", code])
    assert server.invoke(QUESTION).status == 200
    deadline = time.monotonic() + 10
    while True:
        lines = text(server.container.logs(stdout=True, stderr=False)).splitlines()
        found = [[line for line in lines if path in line] for path in paths]
        answered = [line for line in lines if '"POST /invocations ' in line]
        if (all(found) and answered) or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    assert [len(of_path) for of_path in found] == [1, 1, 1]
    pattern = re.compile(
        r"^\d{4}-\d\d-\d\d.\d\d:\d\d:\d\d,\d{3} \[INFO \] \S+ ACCESS_LOG - .+ 404 "
    )
    assert all(pattern.match(line) for [line] in found)
    assert re.search(r" 200 \d+$", answered[-1])
    assert any("com.amazonaws.ml.mms.wlm.WorkerLifeCycle" in line for line in lines)
    errors = text(server.container.logs(stdout=False, stderr=True))
    assert "ACCESS_LOG" not in errors
    files = [str(change["Path"]) for change in server.container.diff() or []]
    assert [path for path in files if path.endswith((".log", ".log.gz"))] == []
    record_property("detail", found[0][0])


@contextmanager
def volume(client: docker.DockerClient, image: str) -> Iterator[str]:
    """The name of a volume with a tiny model in the folder `model`."""
    made: Any = client.volumes.create(name=f"dlc-contract-{uuid.uuid4().hex[:12]}")
    try:
        mounted = {made.name: {"bind": "/opt/ml", "mode": "rw"}}
        with created(client, image, volumes=mounted) as container:
            put(container, "/opt/ml", make_tiny_model(client, image))
        yield made.name
    finally:
        made.remove(force=True)


def answer_inside(container: Any) -> str:
    """What a client in the container itself is answered, once the server is ready."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        result = container.exec_run(list(READY))
        if result.exit_code == 0:
            break
        container.reload()
        logged = text(container.logs(tail=30))
        assert container.status == "running", logged
        assert time.monotonic() < deadline, f"{text(result.output)}\n{logged}"
        time.sleep(0.5)
    return execute(container, "python", "-c", ASK, QUESTION.decode())


def execute(container: Any, *command: str) -> str:
    """What a command in the container prints; it must succeed."""
    result = container.exec_run(list(command))
    assert result.exit_code == 0, text(result.output)
    return text(result.output)


def kill(container: Any, processes: list[str]) -> None:
    code = f"import os; [os.kill(pid, 9) for pid in ({', '.join(processes)},)]"
    execute(container, "python", "-c", code)
