"""Requests per second, their slowest hundredth, and memory: ours beside others in the same image.

The others are the toolkit's own serve, and the same pipeline behind uvicorn with uvloop and
httptools. All have a worker for each processor and the same tiny model, and wrk asks them in turn.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from os import sched_getaffinity
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uv

from benchmarks.page import Section, machine, markdown
from benchmarks.startup import OTHERS, TAGS, TARGET, answered, build
from builder.engine import apt
from builder.engine.namespace import local_name
from builder.errors import BuildError
from builder.serve.run import run
from builder.serve.server import QUESTION, Server
from builder.util.console import say

if TYPE_CHECKING:
    import docker

    from tests.own_namespace import Shared

__all__ = ["measure"]

ROUNDS = 5
SECONDS = 5  # of each measurement, and before the first one of each server
CONNECTIONS = (1, 8, 64)
IDLE_SECONDS = 10
TOOLKIT = "toolkit's serve"
SERVERS = ("ours", TOOLKIT, "uvicorn")
PLACE = "/srv/uvicorn"  # of its packages, in the container
APP = b"""\
import json, os, torch
from transformers import pipeline

torch.set_num_threads(1)
pipe = pipeline(os.environ["HF_TASK"], model="/opt/ml/model")

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message.get("more_body", False)
    answer = json.dumps(pipe(json.loads(body)["inputs"])).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
"""
BARE = (
    "import os, time; from transformers import pipeline; "
    "pipe = pipeline(os.environ['HF_TASK'], model='/opt/ml/model'); "
    "print(pipe('I love this movie.'), flush=True); time.sleep(600)"
)
SCRIPT = """\
wrk.method = "POST"
wrk.path = "/invocations"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [[{question}]]
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What a server stood: requests per second, and what 99 of 100 are answered within, in ms."""

    rate: float
    p99: float


def measure(shared: Shared) -> Section:
    """Ask all in turn, and print and return medians, ratios and memory."""
    with (
        closing(shared.engine.client(timeout=600)) as client,
        tempfile.TemporaryDirectory(prefix="dlc-bench-serving-") as name,
        ExitStack() as stack,
    ):
        wrk = _wrk(Path(name))
        build(client, local_name(TAGS[TOOLKIT]), {"IMAGE": TARGET, **OTHERS[TOOLKIT]})
        packages = _packages(Path(name) / "packages")
        memory = {side: _memory(client, side, packages) for side in (*SERVERS, "bare process")}
        workers = len(sched_getaffinity(0))
        servers = {
            side: stack.enter_context(_server(client, side, packages, workers=workers))
            for side in SERVERS
        }
        found: dict[tuple[int, str], list[Load]] = {}
        for side in SERVERS:
            _load(wrk, servers[side], 8)
        for number in range(ROUNDS):
            for connections in CONNECTIONS:
                for side, server in servers.items():
                    load = _load(wrk, server, connections)
                    found.setdefault((connections, side), []).append(load)
                    say(
                        f"round {number + 1} of {ROUNDS}, {connections} connections: {side} "
                        f"{load.rate:.0f} requests/s, p99 {load.p99:.0f} ms"
                    )
    table = _table(found) + "\n" + _memory_table(memory)
    print(table)
    text = (
        f"The default inference image with a tiny text classifier and {workers} workers, asked by "
        f"wrk for {SECONDS} s at a time, medians of {ROUNDS} rounds; uvicorn has uvloop and "
        f"httptools. {machine()}\n\n{table}"
    )
    return "Serving", text


def _wrk(folder: Path) -> list[str]:
    """The load generator and its script, installed if that can be done here."""
    if shutil.which("wrk") is None:
        try:
            apt.install("wrk", say=say)
        except apt.InstallError as error:
            raise BuildError("there is no wrk here", remedy=f"install it: {error}") from error
    script = folder / "ask.lua"
    script.write_text(SCRIPT.format(question=QUESTION.decode()), "utf-8")
    return ["wrk", "--latency", "--threads", "1", "--timeout", "30s", "--script", str(script)]


def _packages(folder: Path) -> Mapping[str, bytes]:
    """What uvicorn wants, by paths in the container."""
    say("downloading uvicorn")
    command = [uv.find_uv_bin(), "pip", "install", "--quiet", "--target", str(folder), "--no-build"]
    command += ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"]
    command += ["uvicorn", "uvloop", "httptools"]
    subprocess.run(command, check=True)
    files = (path for path in folder.rglob("*") if path.is_file())
    found = {f"{PLACE}/{path.relative_to(folder)}": path.read_bytes() for path in files}
    return {**found, f"{PLACE}/tiny_app.py": APP}


@contextmanager
def _server(
    client: docker.DockerClient, side: str, packages: Mapping[str, bytes], *, workers: int
) -> Iterator[Server]:
    """One that has answered."""
    environment = {"HF_TASK": "text-classification"}
    more: dict[str, Any] = {}
    image = TARGET
    if side == "uvicorn":
        environment |= {"PYTHONPATH": PLACE}
        command = ["python", "-m", "uvicorn", "tiny_app:app", "--host", "0.0.0.0"]  # noqa: S104
        command += ["--port", "8080", "--workers", str(workers), "--no-access-log"]
        more = {"command": command, "files": packages, "options": {"entrypoint": []}}
    elif side == "bare process":
        more = {"command": ["python", "-c", BARE], "options": {"entrypoint": []}}
    else:
        environment |= {"SAGEMAKER_MODEL_SERVER_WORKERS": str(workers)}
        image = TARGET if side == "ours" else local_name(TAGS[side])
    with run(client, image, environment=environment, **more) as server:
        if side == "bare process":
            _wait_printed(server)
        else:
            answered(server)
        yield server


def _wait_printed(server: Server) -> None:
    deadline = time.monotonic() + 120
    while "score" not in server.logs(5):
        if time.monotonic() > deadline:
            raise BuildError(f"the bare process does not answer: {server.logs(20)}")
        time.sleep(0.2)


def _memory(client: docker.DockerClient, side: str, packages: Mapping[str, bytes]) -> int:
    """Bytes of an idle container with one worker that has answered, without what it read."""
    with _server(client, side, packages, workers=1) as server:
        time.sleep(IDLE_SECONDS)
        stats: Any = server.container.stats(stream=False)
        memory = stats["memory_stats"]
        # Of cgroup 2, and of 1.
        read = memory["stats"].get("inactive_file", memory["stats"].get("total_inactive_file", 0))
        say(f"{side}: {(memory['usage'] - read) / 1e6:.0f} MB")
        return int(memory["usage"] - read)


def _load(wrk: Iterable[str], server: Server, connections: int) -> Load:
    """Ask for some seconds; BuildError if an answer was no answer."""
    command = [*wrk, "--connections", str(connections), "--duration", f"{SECONDS}s", server.url]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    slowest = re.search(r"^\s+99%\s+([\d.]+)(us|ms|s|m)\s*$", out, re.MULTILINE)
    if rate is None or slowest is None or "Non-2xx" in out or "Socket errors" in out:
        raise BuildError(f"not all was answered: {out}")
    unit = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[slowest[2]]
    return Load(rate=float(rate[1]), p99=float(slowest[1]) * unit)


def _table(found: Mapping[tuple[int, str], Iterable[Load]]) -> str:
    medians = {
        where: Load(
            rate=statistics.median(each.rate for each in loads),
            p99=statistics.median(each.p99 for each in loads),
        )
        for where, loads in found.items()
    }
    rows = [
        [
            str(connections),
            side,
            f"{load.rate:.0f}",
            f"{medians[connections, 'ours'].rate / load.rate:.2f}",
            f"{load.p99:.0f} ms",
            f"{medians[connections, 'ours'].p99 / load.p99:.2f}",
        ]
        for (connections, side), load in medians.items()
    ]
    titles = ["connections", "server", "requests/s", "ours / it", "p99", "ours / it"]
    return markdown(titles, rows)


def _memory_table(memory: Mapping[str, int]) -> str:
    rows = [
        [side, f"{size / 1e6:.0f} MB", f"{memory['ours'] / size:.2f}"]
        for side, size in memory.items()
    ]
    return markdown(["idle, one worker", "memory", "ours / it"], rows)
