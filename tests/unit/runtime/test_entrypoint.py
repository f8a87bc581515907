"""What runs first in an image: the real file, with real processes and a real HTTP server."""

import ast
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.quiet_server import QuietServer

ROOT = Path(__file__).parents[3]
FILES = ROOT / "runtime"
ENTRYPOINT = FILES / "dockerd-entrypoint.py"
# Not the tests' own interpreter: that one may have the toolkit.
PYTHON = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin") or sys.executable


@pytest.fixture
def entrypoint(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FILES)  # beside it, as in an image
    spec = importlib.util.spec_from_file_location("entrypoint", ENTRYPOINT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FILES)
    return importlib.import_module("dlc_server")


class Started:
    """The entrypoint as a process."""

    def __init__(self, *arguments: str, environment: dict[str, str], setting: str = "") -> None:
        command = [PYTHON, str(ENTRYPOINT), *arguments]
        if setting:
            code = f"""
                import importlib.util, sys
                sys.path.insert(0, {str(FILES)!r})
                spec = importlib.util.spec_from_file_location("entrypoint", {str(ENTRYPOINT)!r})
                module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
                module.{setting}
                sys.exit(module.main(sys.argv[1:]))
            """
            command = [PYTHON, "-c", textwrap.dedent(code), *arguments]
        self.process = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, timeout: float = 60) -> tuple[int, str]:
        """The exit code and what was written to standard error."""
        _, errors = self.process.communicate(timeout=timeout)
        return self.process.returncode, errors


@pytest.fixture
def start() -> Iterator[Callable[..., Started]]:
    everything: list[Started] = []

    def starter(*arguments: str, setting: str = "", **environment: str) -> Started:
        started = Started(*arguments, environment=environment, setting=setting)
        everything.append(started)
        return started

    yield starter
    for started in everything:
        with started.process:  # waits, and closes the pipes
            started.process.kill()


@pytest.mark.parametrize(
    "file",
    [*sorted(FILES.glob("*.py")), ROOT / "builder" / "files" / "tiny_model.py"],
    ids=lambda file: file.name,
)
def test_runs_on_python_3_6(file: Path) -> None:
    ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 6))


# The token


@pytest.mark.parametrize(
    ("given", "shared"),
    [
        ({"HF_TOKEN": "a"}, "a"),
        ({"HF_HUB_TOKEN": "a"}, "a"),
        ({"HUGGING_FACE_HUB_TOKEN": "a"}, "a"),
        ({"HF_API_TOKEN": "a"}, "a"),
        ({"HUGGING_FACE_HUB_TOKEN": "c", "HF_HUB_TOKEN": "b", "HF_TOKEN": "a"}, "a"),
        ({"HF_TOKEN": "", "HF_HUB_TOKEN": "b"}, "b"),
    ],
)
def test_token_under_any_name_reaches_every_library(
    entrypoint: Any, given: dict[str, str], shared: str
) -> None:
    environment = dict(given)
    entrypoint.share_token(environment)
    for name in ("HF_TOKEN", "HF_API_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        assert environment[name] == given.get(name) or environment[name] == shared


def test_token_that_is_set_stays(entrypoint: Any) -> None:
    environment = {"HF_TOKEN": "a", "HF_API_TOKEN": "b"}
    entrypoint.share_token(environment)
    assert (environment["HF_TOKEN"], environment["HF_API_TOKEN"]) == ("a", "b")


def test_no_token_stays_none(entrypoint: Any) -> None:
    environment: dict[str, str] = {}
    entrypoint.share_token(environment)
    assert environment == {}


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"SAGEMAKER_PROGRAM": "", "HF_MODEL_ID": "", "HF_TASK": " ", "MMS_X": ""}, {}),
        ({"SAGEMAKER_BIND_TO_PORT": "", "DLC_PING": "", "SAGEMAKER_STARTUP_TIMEOUT": ""}, {}),
        ({"SAGEMAKER_PROGRAM": "a.py"}, {"SAGEMAKER_PROGRAM": "a.py"}),
        ({"OTHER": ""}, {"OTHER": ""}),
    ],
)
def test_variable_set_to_nothing_is_not_set(
    entrypoint: Any, given: dict[str, str], left: dict[str, str]
) -> None:
    environment = dict(given)
    entrypoint.forget_empty(environment)
    assert environment == left


@pytest.mark.integration
def test_command_sees_the_token(start: Callable[..., Started]) -> None:
    started = start("sh", "-c", "echo $HF_API_TOKEN", HF_TOKEN="secret")
    assert started.line() == "secret"
    assert started.end() == (0, "")


# Any command


@pytest.mark.integration
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -KILL $$"], 137),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["no-such-command"], 127),
        (["/etc/passwd"], 126),
        ([], 2),
    ],
)
def test_exit_code(start: Callable[..., Started], command: list[str], code: int) -> None:
    assert start(*command).end()[0] == code


@pytest.mark.integration
def test_unknown_command_is_named(start: Callable[..., Started]) -> None:
    _, errors = start("no-such-command").end()
    assert errors == "dockerd-entrypoint: no-such-command: command not found in this image\n"


@pytest.mark.integration
@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"])
def test_signal_reaches_the_command(start: Callable[..., Started], name: str) -> None:
    script = f'trap "exit 40" {name}; echo up; while :; do sleep 0.02; done'
    started = start("sh", "-c", script)
    assert started.line() == "up"
    started.send(signal.Signals[f"SIG{name}"])
    assert started.end()[0] == 40


@pytest.mark.integration
def test_signal_that_the_command_does_not_handle_ends_it(start: Callable[..., Started]) -> None:
    started = start("sh", "-c", "echo up; exec sleep 60")
    assert started.line() == "up"
    started.send(signal.SIGTERM)
    assert started.end()[0] == 128 + signal.SIGTERM


@pytest.mark.integration
@pytest.mark.parametrize(
    ("script", "code"),
    [
        ('trap "echo saved; exit 0" TERM; echo up; while :; do sleep 0.02; done', 5),
        ("echo up", 143),
    ],
)
def test_a_training_job_s_signal_is_for_its_script(
    script: str, code: int, start: Callable[..., Started], tmp_path: Path
) -> None:
    toolkit = tmp_path / "train"
    # Without a script there is nobody but the toolkit to signal.
    toolkit.write_text(
        f"#!/bin/sh\n(exec sh -c '{script}')\n"
        + ("exit 5\n" if code == 5 else "echo alone\nwhile :; do :; done\n"),
        "utf-8",
    )
    toolkit.chmod(0o755)
    started = start(str(toolkit))
    assert started.line() == "up"
    if code != 5:
        assert started.line() == "alone"
    started.send(signal.SIGTERM)
    if code == 5:
        assert started.line() == "saved"
    assert started.end()[0] == code


@pytest.mark.integration
def test_a_shell_around_the_script_lives_as_long_as_that(
    start: Callable[..., Started], tmp_path: Path
) -> None:
    """sagemaker-training 4 starts scripts by a shell, and tells how that ended."""
    script = tmp_path / "train.sh"
    script.write_text('trap "echo saved; exit 0" TERM; echo up; while :; do sleep 0.02; done\n')
    toolkit = tmp_path / "train"
    command = ["/bin/sh", "-c", f"/bin/sh {script}; exit $?"]
    toolkit.write_text(
        f"#!{PYTHON}\nimport subprocess, sys\nsys.exit(subprocess.call({command!r}) + 5)\n", "utf-8"
    )
    toolkit.chmod(0o755)
    started = start(str(toolkit))
    assert started.line() == "up"
    started.send(signal.SIGTERM)
    assert started.line() == "saved"
    assert started.end()[0] == 5


@pytest.mark.integration
def test_command_gets_no_blocked_or_ignored_signals(start: Callable[..., Started]) -> None:
    started = start("grep", "-E", "SigBlk|SigIgn", "/proc/self/status")
    # Signals from 32 on are the C library's own, and inherited from whoever started the tests.
    standard = (1 << 31) - 1
    assert [int(started.line().split()[1], 16) & standard for _ in range(2)] == [0, 0]
    assert started.end()[0] == 0


@pytest.mark.integration
def test_orphans_are_adopted_and_reaped(start: Callable[..., Started]) -> None:
    # The subshell ends at once; what it left behind reads its own parent a while later.
    orphan = "sleep 0.2; cut -d' ' -f4 /proc/$$/stat"
    started = start("sh", "-c", f'(sh -c "{orphan.replace("$", chr(92) + "$")}" &); exec sleep 60')
    assert int(started.line()) == started.process.pid
    pid = started.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    deadline = time.monotonic() + 60
    while len(children.read_text().split()) > 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(children.read_text().split()) == 1
    started.send(signal.SIGTERM)
    assert started.end()[0] == 143


# The server, played by a toolkit that starts a Java of ours as the real one does

TOOLKIT = """
    import os, signal, subprocess, time
    def main():
        launcher = 'java & echo $! > "$TEMP/.model_server.pid"'
        if "SLOW" not in os.environ:
            signal.signal(signal.SIGTERM, stop)
        subprocess.Popen(["sh", "-c", launcher]).wait()
        print("started", flush=True)
        while "SLOW" in os.environ or os.path.exists("/proc/%d" % java()):
            time.sleep(0.02)
    def java():
        with open(os.environ["TEMP"] + "/.model_server.pid") as file:
            return int(file.read())
    def stop(number, frame):
        if "DEAF" not in os.environ and os.path.exists("/proc/%d" % java()):
            os.kill(java(), signal.SIGTERM)
"""


@pytest.fixture
def serving(tmp_path: Path) -> dict[str, str]:
    """The environment of an image that can serve."""
    package = tmp_path / "sagemaker_huggingface_inference_toolkit"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "serving.py").write_text(textwrap.dedent(TOOLKIT))
    (package / "mms_model_server.py").write_text("_load_model_from_hub = print")
    for name, content in (
        ("sagemaker_inference/__init__.py", ""),
        ("sagemaker_inference/model_server.py", "_generate_mms_config_properties = str"),
        ("mms/__init__.py", ""),
        ("mms/version.py", "__version__ = '1.1.11'"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\n${JAVA:-exec sleep 60}\n")
    java.chmod(0o755)
    (tmp_path / "ml" / "model").mkdir(parents=True)
    (tmp_path / "ml" / "model" / "config.json").touch()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        "SAGEMAKER_BASE_DIR": str(tmp_path / "ml"),
        "PYTHONPATH": str(tmp_path),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "TEMP": str(tmp_path / "deep" / "tmp"),
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
        "SAGEMAKER_BIND_TO_PORT": str(port),
    }


@pytest.mark.integration
@pytest.mark.parametrize("name", ["TERM", "INT", "QUIT", "HUP"])
def test_server_that_is_asked_to_stop_is_a_success(
    start: Callable[..., Started], serving: dict[str, str], name: str
) -> None:
    started = start("serve", **serving)
    assert started.line() == "started"
    started.send(signal.Signals[f"SIG{name}"])
    assert started.end() == (0, "")


@pytest.mark.integration
def test_server_that_is_still_starting_can_be_stopped(
    start: Callable[..., Started], serving: dict[str, str]
) -> None:
    started = start("serve", **serving, SLOW="yes")
    assert started.line() == "started"
    java = int((Path(serving["TEMP"]) / ".model_server.pid").read_text())
    started.send(signal.SIGTERM)
    assert started.end()[0] == 0
    assert not Path(f"/proc/{java}").exists()


@pytest.mark.integration
def test_server_that_does_not_stop_is_killed(
    start: Callable[..., Started], serving: dict[str, str]
) -> None:
    started = start("serve", **serving, DEAF="yes", DLC_STOP_SECONDS="5")
    assert started.line() == "started"
    started.send(signal.SIGTERM)
    code, errors = started.end()
    assert code == 0
    assert "did not stop" in errors


@pytest.mark.integration
@pytest.mark.parametrize("slow", [{}, {"SLOW": "yes"}])
def test_java_that_dies_ends_the_server(
    start: Callable[..., Started], serving: dict[str, str], slow: dict[str, str]
) -> None:
    started = start("serve", **serving, **slow)
    assert started.line() == "started"
    os.kill(int((Path(serving["TEMP"]) / ".model_server.pid").read_text()), signal.SIGKILL)
    code, errors = started.end()
    assert code == 137
    assert "(Java) ended with exit code 137, most often because memory ran out" in errors


@pytest.mark.integration
@pytest.mark.parametrize("slow", [{}, {"SLOW": "yes"}])
def test_server_that_ends_by_itself_is_a_failure(
    start: Callable[..., Started], serving: dict[str, str], slow: dict[str, str]
) -> None:
    """Whether or not the toolkit has seen that Java ended before it is ended itself."""
    code, errors = start("serve", **serving, **slow, JAVA="sleep 1").end()
    assert code == 1
    assert "ended" in errors


@pytest.mark.integration
def test_serve_in_a_training_image(start: Callable[..., Started]) -> None:
    code, errors = start("serve").end()
    assert code == 1
    assert "this is a training image" in errors


@pytest.mark.integration
def test_serve_without_java(start: Callable[..., Started], serving: dict[str, str]) -> None:
    code, errors = start("serve", **{**serving, "JAVA_HOME": "/nowhere"}).end()
    assert code == 1
    assert "there is no /nowhere/bin/java; set JAVA_HOME" in errors


@pytest.mark.parametrize(
    ("environment", "count"),
    [
        ({}, "1"),
        ({"SAGEMAKER_MODEL_SERVER_WORKERS": "3"}, "3"),
        ({"SAGEMAKER_MULTI_MODEL": "true"}, None),
        ({"SAGEMAKER_MODEL_SERVER_VMARGS": "-Xmx1g"}, None),
        ({"MMS_DEFAULT_WORKERS_PER_MODEL": "2"}, None),
    ],
)
def test_one_worker_first_unless_told_otherwise(
    server: Any,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    count: str | None,
) -> None:
    monkeypatch.setattr(server, "processors", lambda: 3)
    monkeypatch.setattr(server.shutil, "which", lambda _: None)
    later = server.start_with_one_worker(environment)
    assert environment.get("SAGEMAKER_MODEL_SERVER_WORKERS") == count
    assert later == (3 if count == "1" else 0)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DLC_PING", "yes", "DLC_PING is 'yes'; it can be live or ready"),
        ("DLC_LOG_LEVEL", "loud", "it can be info or debug or warning or error"),
        ("DLC_STOP_SECONDS", "1", "it must be a number of seconds from 5 on"),
        ("DLC_STOP_SECONDS", "nan", "it must be a number of seconds from 5 on"),
    ],
)
def test_unknown_choice_is_named(
    start: Callable[..., Started], serving: dict[str, str], name: str, value: str, told: str
) -> None:
    code, errors = start("serve", **serving, **{name: value}).end()
    assert code == 1
    assert told in errors


@pytest.mark.integration
def test_requests_in_flight_are_waited_for(
    start: Callable[..., Started], serving: dict[str, str]
) -> None:
    """SIGTERM reaches what stands at the port first, and the server only when that has ended."""
    started = start("serve", **serving)
    assert started.line() == "started"
    address = ("127.0.0.1", int(serving["SAGEMAKER_BIND_TO_PORT"]))
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = socket.create_connection(address, timeout=60)
            break
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    head = b"POST /invocations HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    connection.sendall(head)
    assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
    started.send(signal.SIGTERM)
    while True:  # what is new is refused
        with socket.create_connection(address, timeout=60) as late:
            late.sendall(b"GET /ping HTTP/1.1\r\n\r\n")
            if b"The server is stopping" in late.recv(1000):
                break
        assert time.monotonic() < deadline
    java = int((Path(serving["TEMP"]) / ".model_server.pid").read_text())
    assert Path(f"/proc/{java}").exists()
    connection.sendall(b"x")
    assert b"The model server does not answer" in connection.recv(1000)
    connection.close()
    assert started.end() == (0, "")


# Neuron's monitor

MONITOR = """#!/bin/sh
echo "monitor $*" >> "$LOG"
echo $$ > "$TEMP.monitor"
while echo "{}"; do sleep 0.05; done
"""
CLOUDWATCH = """#!/bin/sh
echo "cloudwatch $*" >> "$LOG"
echo $$ > "$TEMP.cloudwatch"
read line
echo "got $line" >> "$LOG"
${CLOUDWATCH:-exec sleep 60}
"""


@pytest.fixture
def monitored(serving: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment of a Neuron image, where a region is named; LOG is what was run."""
    for name, text in (("neuron-monitor", MONITOR), ("neuron-monitor-cloudwatch.py", CLOUDWATCH)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "deep").mkdir()
    log = tmp_path / "log"
    log.touch()
    return {**serving, "LOG": str(log), "NEURON_MONITOR_CW_REGION": "eu-west-1"}


def read_until(path: str, text: str) -> list[str]:
    """The lines of a file once it has the text."""
    deadline = time.monotonic() + 60
    while text not in (said := Path(path).read_text()):
        assert time.monotonic() < deadline, said
        time.sleep(0.02)
    return sorted(said.splitlines())


def alive(environment: dict[str, str]) -> list[str]:
    """Which of the two programs run."""
    found = []
    for name in ("monitor", "cloudwatch"):
        pid = Path(f"{environment['TEMP']}.{name}").read_text().strip()
        with contextlib.suppress(OSError):
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            found += [] if state == "Z" else [name]
    return found


@pytest.mark.integration
@pytest.mark.parametrize(
    ("given", "monitor", "cloudwatch"),
    [
        ({}, "", "--region eu-west-1"),
        (
            {
                "NEURON_MONITOR_CONFIG_FILE": "/a file.json",
                "NEURON_MONITOR_CW_NAMESPACE": "a name; exit",
            },
            "-c /a file.json",
            "--region eu-west-1 --namespace a name; exit",
        ),
    ],
)
def test_monitor_runs_as_long_as_the_server(
    start: Callable[..., Started],
    monitored: dict[str, str],
    given: dict[str, str],
    monitor: str,
    cloudwatch: str,
) -> None:
    started = start("serve", **monitored, **given)
    assert started.line() == "started"
    assert read_until(monitored["LOG"], "got") == [
        f"cloudwatch {cloudwatch}",
        "got {}",
        f"monitor {monitor}",
    ]
    assert alive(monitored) == ["monitor", "cloudwatch"]
    groups = {
        os.getpgid(int(Path(f"{monitored['TEMP']}.{name}").read_text()))
        for name in ("monitor", "cloudwatch")
    }
    java = int((Path(monitored["TEMP"]) / ".model_server.pid").read_text())
    assert len(groups) == 1
    assert groups.isdisjoint({os.getpgid(java), os.getpgid(started.process.pid)})
    started.send(signal.SIGTERM)
    assert started.end() == (0, "")
    assert alive(monitored) == []


@pytest.mark.integration
def test_monitor_that_does_not_stop_is_killed(
    start: Callable[..., Started], monitored: dict[str, str]
) -> None:
    deaf = Path(monitored["LOG"]).with_name("deaf")
    deaf.write_text("trap '' TERM; echo deaf >> \"$LOG\"; while :; do sleep 0.05; done\n")
    started = start("serve", **monitored, CLOUDWATCH=f"exec sh {deaf}")
    assert started.line() == "started"
    read_until(monitored["LOG"], "deaf")
    started.send(signal.SIGTERM)
    assert started.end() == (0, "")
    assert alive(monitored) == []


@pytest.mark.integration
def test_child_that_has_just_ended_hides_no_other() -> None:
    """The sweep goes on as long as any child lives, whoever ended since its last look."""
    code = f"""
        import os, signal, sys
        sys.path.insert(0, {str(FILES)!r})
        import dlc_process
        living = os.fork()
        if not living:
            signal.pause()
        ended = os.fork()
        if not ended:
            os._exit(0)
        os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)
        both = dlc_process.has_children()
        os.kill(living, signal.SIGKILL)
        for child in (living, ended):
            os.waitpid(child, 0)
        print(both, dlc_process.has_children())
    """
    command = [PYTHON, "-c", textwrap.dedent(code)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.split() == ["True", "False"]


@pytest.mark.integration
def test_monitor_that_ends_is_told_once_and_ends_no_server(
    start: Callable[..., Started], monitored: dict[str, str]
) -> None:
    started = start("serve", **monitored, CLOUDWATCH="exit 3")
    assert started.line() == "started"
    read_until(monitored["LOG"], "got")
    deadline = time.monotonic() + 60
    while alive(monitored):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.2)
    assert started.process.poll() is None
    started.send(signal.SIGTERM)
    code, errors = started.end()
    assert code == 0
    assert errors.count("neuron-monitor ended, exit code 3; not started again\n") == 1


@pytest.mark.integration
@pytest.mark.parametrize(
    ("missing", "told"),
    [
        (["neuron-monitor"], "no neuron-monitor on PATH"),
        (["neuron-monitor-cloudwatch.py"], "no neuron-monitor-cloudwatch.py on PATH"),
        (
            ["neuron-monitor", "neuron-monitor-cloudwatch.py"],
            "no neuron-monitor and no neuron-monitor-cloudwatch.py on PATH",
        ),
    ],
)
def test_server_without_its_monitor(
    start: Callable[..., Started], monitored: dict[str, str], missing: list[str], told: str
) -> None:
    for name in missing:
        (Path(monitored["LOG"]).parent / name).unlink()
    started = start("serve", **monitored)
    assert started.line() == "started"
    started.send(signal.SIGTERM)
    assert started.end() == (
        0,
        f"dockerd-entrypoint: NEURON_MONITOR_CW_REGION is set, but there is {told}; "
        "nothing is monitored\n",
    )
    assert Path(monitored["LOG"]).read_text() == ""


@pytest.mark.integration
@pytest.mark.parametrize("region", [{}, {"NEURON_MONITOR_CW_REGION": ""}])
def test_no_region_no_monitor(
    start: Callable[..., Started], monitored: dict[str, str], region: dict[str, str]
) -> None:
    del monitored["NEURON_MONITOR_CW_REGION"]
    started = start("serve", **monitored, **region)
    assert started.line() == "started"
    started.send(signal.SIGTERM)
    assert started.end() == (0, "")
    assert Path(monitored["LOG"]).read_text() == ""


# Readiness

Answers = dict[str, Any]


@pytest.fixture
def model_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    """Answers of a management API by path, and a free port where it speaks."""
    answers: Answers = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(self.path)
            self.send_response(404 if answer is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            del format, args

    with QuietServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setenv("MMS_MANAGEMENT_ADDRESS", f"http://127.0.0.1:{server.server_port}")
        # The probe must not ask a proxy for its own loopback.
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        yield answers
        server.shutdown()
        thread.join()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Starts a process that looks like a worker of a model, loaded or not."""
    script = tmp_path / "model_service_worker.py"
    script.write_text("import time\nprint(flush=True)\ntime.sleep(60)\n")
    processes: list[subprocess.Popen[bytes]] = []

    def starter(model: str, *, loaded: bool) -> None:
        output = tmp_path / f"0242ac-00000060-{model}-{'stdout' if loaded else 'other'}"
        command = [PYTHON, str(script), "--sock-type", "unix", "--model-name", model]
        with output.open("wb") as file:
            processes.append(subprocess.Popen(command, stdout=file))
        while not output.stat().st_size:
            time.sleep(0.01)

    yield starter
    for process in processes:
        process.kill()
        process.wait()


def describe(*statuses: str) -> dict[str, Any]:
    return {"workers": [{"id": "9000", "status": status} for status in statuses]}


def say_ready(entrypoint: Any, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = entrypoint.main(["ready"])
    return code, capsys.readouterr().out.strip()


MODELS = "/models?next_page_token="


@pytest.mark.integration
def test_ready_once_every_model_is_loaded(
    entrypoint: Any,
    model_server: Answers,
    worker: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def ready() -> tuple[int, str]:
        return say_ready(entrypoint, capsys)

    model_server[f"{MODELS}0"] = {"models": []}
    assert ready() == (1, "not ready: no model is registered yet")
    # Two pages, and a name that needs quoting; workers of other runs are on this machine, too.
    first, second = f"a test {os.getpid()}", f"b-test-{os.getpid()}"
    model_server[f"{MODELS}0"] = {"models": [{"modelName": first}], "nextPageToken": "1"}
    model_server[f"{MODELS}1"] = {"models": [{"modelName": second}]}
    model_server[f"/models/{quote(first)}"] = describe("READY")
    model_server[f"/models/{second}"] = describe()
    worker(first, loaded=False)
    assert ready() == (1, f"not ready: model {first} is still loading")
    worker(first, loaded=True)
    assert ready() == (1, f"not ready: model {second} has no worker")
    model_server[f"/models/{second}"] = describe("UNLOADING")
    assert ready() == (1, f"not ready: model {second} has no worker")
    model_server[f"/models/{second}"] = describe("UNLOADING", "READY")
    assert ready() == (1, f"not ready: model {second} is still loading")
    worker(second, loaded=True)
    assert ready() == (0, "ready")


def test_multi_model_server_is_ready_without_models(
    entrypoint: Any,
    model_server: Answers,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model_server[f"{MODELS}0"] = {"models": []}
    monkeypatch.setenv("SAGEMAKER_MULTI_MODEL", "true")
    assert say_ready(entrypoint, capsys) == (0, "ready")


@pytest.mark.parametrize("answer", [None, [], {}, "text"])
def test_answers_of_something_else_are_not_ready(
    entrypoint: Any, model_server: Answers, answer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    model_server[f"{MODELS}0"] = answer
    code, said = say_ready(entrypoint, capsys)
    assert code == 1
    assert said.startswith("not ready: the model server does not answer yet: ")
    assert "\n" not in said


@pytest.mark.integration
def test_no_server_is_not_ready(start: Callable[..., Started], closed_port: int) -> None:
    started = start("ready", MMS_MANAGEMENT_ADDRESS=f"http://127.0.0.1:{closed_port}")
    assert "Connection refused" in started.line()
    assert started.end() == (1, "")


@pytest.mark.integration
def test_management_port_is_where_the_entrypoint_put_it(
    start: Callable[..., Started], tmp_path: Path, closed_port: int
) -> None:
    started = start("ready", TEMP=str(tmp_path))
    assert started.line() == "not ready: the model server is not started"
    (tmp_path / "model-server").mkdir()
    (tmp_path / "model-server" / "management-port").write_text(str(closed_port))
    assert "Connection refused" in start("ready", TEMP=str(tmp_path)).line()


def test_inference_address_is_where_the_front_listens(
    server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """multi-model-server would take it for its own, and two programs want one port."""
    monkeypatch.chdir(tmp_path)
    started: list[list[str]] = []

    def spawn(command: list[str], _mask: object, *, foreground: bool) -> int:
        assert not foreground
        started.append(command)
        return 7

    monkeypatch.setattr(server, "spawn", spawn)
    environment = {"MMS_INFERENCE_ADDRESS": "http://0.0.0.0:9090/", "SAGEMAKER_BIND_TO_PORT": "1"}
    assert server.start_front(environment, set()) == 7
    [[_, _, port, inner, management, _]] = started
    assert port == "9090"
    assert "MMS_INFERENCE_ADDRESS" not in environment
    assert environment["DLC_INNER_PORT"] == environment["SAGEMAKER_BIND_TO_PORT"] == inner
    assert environment["DLC_MANAGEMENT_PORT"] == management != inner
