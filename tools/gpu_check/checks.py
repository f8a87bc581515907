"""The checks: what the stack must do on a GPU. `--device cpu` tries all but the GPU itself."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from builder.errors import ArgumentError, DlcError
from builder.util.check import Check
from tools.gpu_check.models import BATCH, LONG_TEXT
from tools.gpu_check.report import Report
from tools.gpu_check.room import RUNTIME, Room, room
from tools.gpu_check.server import Answer, Server, serving

__all__ = ["compile_check", "device_check", "gpus", "memory_checks", "run", "worker_check"]

CLOSE = 1e-3  # between a compiled function's numbers and those without compiling
_OUT_OF_MEMORY = {"cuda": "CUDA out of memory", "cpu": "can't allocate memory"}
_LOG_LINES = 60


def run(prepared: Path, device: str) -> Report:
    """Start the stack twice and check it; ArgumentError if the machine has not what it needs.

    What fails on the way is a check that fails, so that what was seen before it is reported.
    """
    names = gpus()
    if device == "cuda" and not names:
        raise ArgumentError(
            "no NVIDIA GPU: nvidia-smi lists none",
            remedy="run on a machine with a GPU, or try the rest with --device cpu",
        )
    if device == "cpu" and names:
        raise ArgumentError(
            "this machine has a GPU, which the server would use", remedy="leave out --device cpu"
        )
    start = time.monotonic()
    machine = _machine(names)
    checks: list[Check] = []
    with room(prepared) as ours:
        machine |= {"packages of": ours.target, "C compiler": ours.compiler}
        expected = len(names) if names else _processors()
        stages = {
            "classifier": _classifier(ours, device, expected),
            "generator": _generator(ours, device),
        }
        for model, stage in stages.items():
            found = list(_told(stage))
            checks += found
            if not all(check.passed for check in found):
                _show_log(ours.folder / f"{model}.log")
    return Report(
        device=device,
        machine=machine,
        checks=tuple(checks),
        seconds=time.monotonic() - start,
    )


def _told(stage: Iterator[Check]) -> Iterator[Check]:
    """A stage's checks; what fails on the way is one more."""
    try:
        yield from stage
    except DlcError as error:
        yield Check(name="run", passed=False, detail=str(error))


def _show_log(path: Path) -> None:
    """The end of a server's log on stderr: its folder is removed at the end."""
    lines = path.read_text("utf-8", "replace").splitlines() if path.exists() else []
    lines = [line for line in lines if '"GET /models' not in line]  # our own questions
    sys.stderr.write("\n".join([f"{path.name}:", *lines[-_LOG_LINES:]]) + "\n")


def gpus() -> list[str]:
    """The names of the machine's NVIDIA GPUs."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    return [line.strip() for line in lines if line.strip()]


def _machine(names: list[str]) -> dict[str, str]:
    machine = {"Python": platform.python_version()}
    for package in ("torch", "triton", "transformers"):
        try:
            machine[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            machine[package] = "not installed"
    machine["GPU"] = ", ".join(names) or "none"
    return machine


def _processors() -> int:
    """How many workers the entrypoint starts where there is no GPU."""
    spec = importlib.util.spec_from_file_location("dlc_memory", RUNTIME / "dlc_memory.py")
    assert spec is not None and spec.loader is not None  # noqa: S101 - for the type checker
    memory: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(memory)
    return int(memory.processors())


# The classifier: a model without code, as most users deploy it


def _classifier(ours: Room, device: str, expected: int) -> Iterator[Check]:
    settings = {"HF_TASK": "text-classification", "DLC_ALLOW_PARAMETERS": "batch_size"}
    with serving(ours, "classifier", settings) as server:
        seconds = server.wait()
        yield Check(name="start", passed=True, detail=f"the model is loaded after {seconds:.1f} s")
        yield worker_check(server.workers(expected), device, expected)
        before = _classify(server)
        yield Check(
            name="answer",
            passed=before.status == 200 and "label" in str(before.body),
            detail=f"{before.status} {_short(before.body)}",
        )
        workers = server.worker_processes()
        texts = [LONG_TEXT, *["a"] * (BATCH - 1)]
        full = server.ask({"inputs": texts, "parameters": {"batch_size": BATCH}})
        yield from memory_checks(
            device, full, before, _classify(server), workers, server.worker_processes()
        )


def _classify(server: Server) -> Answer:
    return server.ask({"inputs": "i like you"})


def worker_check(workers: list[dict[str, Any]], device: str, expected: int) -> Check:
    """As many workers as GPUs, all of them on one; without a GPU as many as processors."""
    ready = sum(worker["status"] == "READY" for worker in workers)
    on_gpu = sum(bool(worker["gpu"]) for worker in workers)
    wanted = expected if device == "cuda" else 0
    unit = "GPU" if device == "cuda" else "processor"
    return Check(
        name=f"one worker per {unit}",
        passed=ready == len(workers) == expected and on_gpu == wanted,
        detail=f"{ready} ready of {len(workers)}, {on_gpu} with a GPU; expected {expected}",
    )


def memory_checks(
    device: str,
    full: Answer,
    before: Answer,
    after: Answer,
    workers: set[int],
    workers_after: set[int],
) -> list[Check]:
    """A request that needs too much memory is answered as an error, and no worker ends of it."""
    message = str(full.body.get("message")) if isinstance(full.body, dict) else str(full.body)
    return [
        Check(
            name="out of memory is an error",
            passed=full.status == 500 and _OUT_OF_MEMORY[device] in message,
            detail=f"{full.status} {_short(message)}",
        ),
        Check(
            name="no worker ended",
            passed=bool(workers) and workers == workers_after,
            detail=f"worker processes {sorted(workers)} before, {sorted(workers_after)} after",
        ),
        Check(
            name="the next answer is the same",
            passed=after.status == 200 and _same(before.body, after.body),
            detail=f"{after.status} {_short(after.body)}",
        ),
    ]


def _same(one: Any, other: Any) -> bool:
    """Whether two answers have the same label, and scores up to rounding."""
    try:
        return bool(
            one[0]["label"] == other[0]["label"]
            and abs(one[0]["score"] - other[0]["score"]) < CLOSE
        )
    except (KeyError, IndexError, TypeError):
        return False


# The generator: its predict_fn says where the model is, and compiles


def _generator(ours: Room, device: str) -> Iterator[Check]:
    settings = {"HF_TASK": "text-generation", "SAGEMAKER_MODEL_SERVER_WORKERS": "1"}
    with serving(ours, "generator", settings) as server:
        server.wait()
        yield device_check(device, server.ask({"inputs": "hello you"}))
        yield compile_check(device, server.ask({"inputs": "compile"}))


def device_check(device: str, answer: Answer) -> Check:
    """The pipeline's weights are on the device, and generate."""
    found = answer.body if isinstance(answer.body, dict) else {}
    place = str(found.get("device"))
    text = str(found.get("text", ""))
    held = device == "cpu" or found.get("bytes", 0) > 0
    return Check(
        name=f"the model is on {device}",
        passed=answer.status == 200
        and place.partition(":")[0] == device
        and held
        and "generated_text" in text,
        detail=f"{answer.status} {_short(answer.body)}",
    )


def compile_check(device: str, answer: Answer) -> Check:
    """torch.compile in a worker gives the numbers of the function itself."""
    found = answer.body if isinstance(answer.body, dict) else {}
    difference = found.get("difference")
    maker = "Triton" if device == "cuda" else "C++"
    right = isinstance(difference, float) and difference < CLOSE and found.get("finite") is True
    return Check(
        name=f"torch.compile with {maker}",
        passed=answer.status == 200 and right and found.get("made_by") == maker,
        detail=f"{answer.status} {_short(answer.body)}",
    )


def _short(body: object) -> str:
    text = " ".join(str(body).split())
    return text if len(text) <= 300 else text[:297] + "..."
