"""How a worker's end is told, and which modules its code gets."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FILES = Path(__file__).parents[3] / "runtime"


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FILES)
    return importlib.import_module("dlc_worker")


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code that has dlc_worker, with a place for what it tells."""
    (folder / "model-server" / "failed").mkdir(parents=True, exist_ok=True)
    start = (
        f"import sys; sys.path.insert(0, {str(FILES)!r}); import dlc_worker, os, signal, socket\n"
    )
    environment = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", start + code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def told(folder: Path) -> Any:
    path = folder / "model-server" / "failed" / "model.death"
    return json.loads(path.read_text()) if path.exists() else None


WATCH = """
ours, theirs = socket.socketpair()
loaded = dlc_worker.watch("model", theirs)
theirs.sendall(b"here")
"""


@pytest.mark.integration
@pytest.mark.parametrize(
    ("code", "exit_code", "why"),
    [
        ("sys.exit('no licence key')", 1, "ended with exit code 1 while it loaded"),
        ("os._exit(0)", 0, "ended with exit code 0 while it loaded"),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, "was killed by SIGKILL while it loaded"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", 139, "was killed by SIGSEGV while it loaded"),
        ("loaded[0] = 1; os._exit(3)", 3, "ended with exit code 3 while it worked"),
        ("loaded[0] = 1; os._exit(0)", 0, None),  # as it does when the model is unloaded
    ],
)
def test_end_of_a_worker_is_told(
    tmp_path: Path, code: str, exit_code: int, why: str | None
) -> None:
    done = run(f"{WATCH}\nprint('its last words', flush=True)\n{code}", tmp_path)
    assert done.returncode == exit_code
    assert done.stdout == "its last words\n"
    record = told(tmp_path)
    if why is None:
        assert record is None
        return
    assert record["why"] == why
    assert record["loaded"] == ("worked" in why)
    assert "its last words" in record["lines"] or "SIGSEGV" in why
    assert f"dlc: the worker of model model {why}\n" in done.stderr
    if "licence" in code:
        assert record["lines"][-1] == "no licence key"
        assert "  | no licence key" in done.stderr
    if "SIGSEGV" in why:
        assert "Segmentation fault" in done.stderr


@pytest.mark.integration
def test_worker_ends_with_its_watcher(tmp_path: Path) -> None:
    code = f"""
import time
start, end = os.pipe()
if os.fork() == 0:
    {WATCH.strip().replace(chr(10), chr(10) + "    ")}
    os.write(end, b"x")
    time.sleep(60)
os.read(start, 1)
os.close(end)
[watcher] = open("/proc/self/task/%d/children" % os.getpid()).read().split()
os.kill(int(watcher), signal.SIGKILL)
print(repr(os.read(start, 1)))  # nothing: nobody has the pipe any more
"""
    assert run(code, tmp_path).stdout == "b''\n"


@pytest.mark.integration
def test_out_of_memory_is_told(tmp_path: Path) -> None:
    code = f"""
counts = iter([1, 2])
dlc_worker.kills_for_memory = lambda: next(counts)
dlc_worker.memory_limit = lambda: 1 << 30
{WATCH}
os.kill(os.getpid(), signal.SIGKILL)
"""
    run(code, tmp_path)
    why = "was killed as memory ran out (the limit is 1024 MiB) while it loaded"
    assert told(tmp_path)["why"] == why


CODE = """
import enum, queue, test, types
import other
print(queue.__file__, test.MINE, enum.Enum.__module__, types.SimpleNamespace(a=1))
import logging.handlers  # asks for queue itself
print(other.queue.Queue.__module__)
"""


@pytest.mark.integration
def test_modules_of_python_are_not_hidden(tmp_path: Path) -> None:
    folder = tmp_path / "model" / "code"
    (folder / "test").mkdir(parents=True)
    (folder / "test" / "__init__.py").write_text("MINE = 'mine'")
    (folder / "types.py").write_text("raise SystemExit('types of the model')")
    (folder / "queue.py").write_text("raise SystemExit('queue of the model')")
    (folder / "json").mkdir()  # no package
    (folder / "inference.py").write_text(CODE)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "other.py").write_text("import queue")
    code = f"""
import queue
os.environ["DLC_PYTHONPATH"] = {str(folder)!r} + ":" + {str(tmp_path / "site")!r}
dlc_worker.find_code({str(tmp_path / "model")!r})
import inference
print(os.environ["PYTHONPATH"])
"""
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert first.split()[1:] == ["mine", "enum", "namespace(a=1)"]
    assert not first.startswith(str(folder))
    assert second == "queue"
    assert third == f"{tmp_path / 'site'}:{tmp_path / 'model'}"
    assert f"{folder / 'types.py'} has the name of a module of Python" in done.stderr
    assert "json has the name" not in done.stderr


def test_ends_are_in_words(worker: Any) -> None:
    assert worker.how(3, memory=False) == "ended with exit code 3"
    assert worker.how(-11, memory=True) == "was killed by SIGSEGV"
    assert worker.how(-64, memory=False) in ("was killed by signal 64", "was killed by SIGRTMAX")
