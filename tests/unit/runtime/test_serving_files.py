"""What stands beside the entrypoint: whether models are ready, and the toolkit's start."""

import importlib
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest

FILES = Path(__file__).parents[3] / "runtime"


@pytest.fixture
def ready(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FILES)
    return importlib.import_module("dlc_ready")


@pytest.fixture
def serving(ready: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The module, in a server's room."""
    monkeypatch.setattr(ready, "failure_directory", lambda: str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return importlib.import_module("dlc_serving")


def test_long_reason_is_one_line_and_cut(ready: Any) -> None:
    assert ready.one_line(ValueError("a\n  b")) == "ValueError: a b"
    assert len(ready.one_line(ValueError("a" * 1000))) == 500


def test_waiting_does_not_fill_the_log_of_the_server(
    ready: Any, serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    del serving  # it makes the folder
    asked: list[int] = []
    loaded: set[str] = set()
    monkeypatch.setattr(ready, "POLL_SECONDS", 0)
    monkeypatch.setattr(ready, "models_loaded", lambda: loaded)
    monkeypatch.setattr(ready, "reason_not_ready", asked.append)
    assert ready.wait_for_change("early", 8080) == "early"
    loaded.add("a")
    failure = Path(ready.failure_file("a", os.getpid()))
    failure.write_text("no weights")
    assert ready.wait_for_change("early", 8080) == "model a did not load: no weights"
    assert asked == []
    failure.unlink()
    assert ready.wait_for_change("early", 8080) is None
    assert asked == [8080]


# The server


def test_deferred_module_is_imported_when_it_is_called(
    serving: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "heavy_module.py").write_text("def double(x, plus=0): return 2 * x + plus")
    monkeypatch.syspath_prepend(tmp_path)
    serving.defer("heavy_module", functions=("double",), KNOWN="a")
    deferred = importlib.import_module("heavy_module")
    assert (deferred.KNOWN, hasattr(deferred, "__file__")) == ("a", False)
    assert deferred.double(3, plus=1) == 7
    assert importlib.import_module("heavy_module").double is not deferred.double
    del sys.modules["heavy_module"]


@pytest.mark.parametrize(
    ("version", "file", "starts"),
    [
        ("1.1.4", "log4j.properties", "log4j.rootLogger=WARN, console\n"),
        ("1.1.8", "log4j2.xml", "<Configuration>"),
        ("1.1.11", "log4j2.xml", "<Configuration>"),
    ],
)
def test_log_is_configured_as_the_server_understands(
    serving: Any, monkeypatch: pytest.MonkeyPatch, version: str, file: str, starts: str
) -> None:
    monkeypatch.setitem(sys.modules, "mms", types.ModuleType("mms"))
    module = types.ModuleType("mms.version")
    vars(module)["__version__"] = version
    monkeypatch.setitem(sys.modules, "mms.version", module)
    path = Path(serving.write_log_configuration())
    content = path.read_text()
    assert path.name == file
    assert content.startswith(starts)
    assert "ACCESS_LOG" in content
    assert "File" not in content


@pytest.mark.parametrize(
    ("level", "expected", "of_python"),
    [(None, "info", "INFO"), ("warning", "warn", "WARNING"), ("Debug", "debug", "DEBUG")],
)
def test_log_level_is_chosen(
    serving: Any,
    monkeypatch: pytest.MonkeyPatch,
    level: str | None,
    expected: str,
    of_python: str,
) -> None:
    if level:
        monkeypatch.setenv("DLC_LOG_LEVEL", level)
    levels = dict(serving.loggers())
    assert levels["com.amazonaws.ml.mms"] == expected
    # What a model prints is written whatever the level is.
    assert levels["com.amazonaws.ml.mms.wlm.WorkerLifeCycle"] == "info"
    assert os.environ.get("DLC_LOG_LEVEL", "info").upper() == of_python


def properties(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_interfaces_are_on_the_loopback(serving: Any) -> None:
    both = {"DLC_INNER_PORT": "18080", "DLC_MANAGEMENT_PORT": "18081"}
    found = properties(serving.more_of(both))
    assert found["inference_address"] == "http://127.0.0.1:18080"
    assert found["management_address"] == "http://127.0.0.1:18081"
    assert "inference_address" not in properties(serving.more_of({}))


def test_java_s_memory_is_the_container_s(serving: Any) -> None:
    assert "-Xmx" in properties(serving.more_of({}))["vmargs"]
    own = {"SAGEMAKER_MODEL_SERVER_VMARGS": "-Xmx9g"}
    assert "vmargs" not in properties(serving.more_of(own))


def test_only_workers_find_the_model_s_code(
    serving: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/own")
    monkeypatch.setenv("DLC_PYTHONPATH", "")
    monkeypatch.setenv("MODEL_SERVER_HOME", "")
    serving.keep_python_path("/opt/ml/model/code")
    assert os.environ["DLC_PYTHONPATH"] == f"/opt/ml/model/code:{FILES}:/own"
    assert os.environ["PYTHONPATH"] == "/own"
    assert properties(serving.more_of({}))["blacklist_env_vars"] == "PYTHONPATH"
    for _ in range(2):  # a container may be started again
        serving.put_worker()
    worker = Path(os.environ["MODEL_SERVER_HOME"], "mms", "model_service_worker.py")
    assert worker.is_relative_to(tmp_path)
    assert worker.resolve() == FILES / "dlc_worker.py"
    assert (worker.parent / "metrics" / "metric_collector.py").read_text() == ""
    assert int(properties(serving.more_of({}))["metric_time_interval"]) >= 86400


@pytest.mark.parametrize(
    ("line", "model"),
    [
        ("python /home/mms/model_service_worker.py --sock-type unix --model-name a", "a"),
        ("/usr/bin/qemu-aarch64 /venv/bin/python python /mms/model_service_worker.py"
         " --model-name a b", "a"),
        ("python /mms/model_service_worker.py --model-name", None),
        ("python /mms/model_service_worker.py", None),
        ("vi notes on the file of model_service_worker.py --model-name a", None),
        ("java --python python --model-name a", None),
    ],
)  # fmt: skip
def test_workers_are_known_by_their_arguments(ready: Any, line: str, model: str | None) -> None:
    assert ready.model_of(line.split()) == model


def test_a_worker_s_death_is_told_until_another_loads(
    ready: Any, serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    del serving  # it makes the folder
    loaded: set[str] = set()
    monkeypatch.setattr(ready, "models_loaded", lambda: loaded)
    monkeypatch.setattr(ready, "POLL_SECONDS", 0)
    assert ready.why_dead("a/b") is None
    for times in (1, 2):
        assert ready.record_death("a/b", "ended with exit code 3", ["one", "two"], False) == times
    assert ready.models_dead() == ["a/b"]
    why = "its worker ended with exit code 3, 2 times in a row"
    assert ready.why_dead("a/b", lines=False) == why
    assert ready.wait_for_change("early", 1) == f"model a/b did not load: {why}: one | two"
    loaded.add("a/b")  # another worker of it still answers
    assert ready.models_dead() == []
    loaded.clear()
    assert ready.record_death("a/b", "was killed by SIGKILL", [], True) == 1
    assert ready.models_dead() == []  # it died at work, and is started again
    ready.record_death("a/b", "ended with exit code 3", [], False)
    ready.forget_death("a/b")
    assert ready.death("a/b") is None


@pytest.mark.parametrize(
    ("trust", "left"),
    [
        ("", {"config.json", "code/notes.txt"}),
        ("false", {"config.json", "code/notes.txt"}),
        ("True", {"config.json", "code/notes.txt", "inference.py", "code/types.so", "json.pyc"}),
    ],
)
def test_code_of_the_hub_needs_trust(
    serving: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trust: str, left: set[str]
) -> None:
    (tmp_path / "code").mkdir()
    for name in ("config.json", "code/notes.txt", "inference.py", "code/types.so", "json.pyc"):
        (tmp_path / name).touch()
    monkeypatch.setenv("HF_TRUST_REMOTE_CODE", trust)
    server = types.SimpleNamespace(_load_model_from_hub=lambda **_: tmp_path)
    serving.guard_hub(server)
    assert server._load_model_from_hub(model_id="a/b") == tmp_path
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == left


def test_token_is_not_written(
    serving: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "hub_module.py").write_text(
        "def login(token): raise AssertionError(token)\n"
        "def load(token): login(token=token); return 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    serving.defer("hub_module", functions=("load",))
    assert importlib.import_module("hub_module").load("secret") == 1
    del sys.modules["hub_module"]
