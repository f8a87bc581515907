"""Finding, starting and stopping an engine, against small servers and processes of our own."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import platform
import re
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from builder.engine import apt, connection, private
from builder.engine.images import images_here
from builder.engine.orphans import OWNER_LABEL
from builder.errors import EngineError
from builder.util.owner import owner
from builder.util.state import locked, state_directory

# A dockerd for tests: it answers as a Docker Engine on the socket it is given, and no more.
FAKE_DOCKERD = f"""#!{sys.executable}
import http.server, os, pathlib, socketserver, sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
pathlib.Path(options["--pidfile"]).write_text(str(os.getpid()))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'{{"Version": "99.0", "ApiVersion": "1.45", "Os": "linux"}}'
        containers = pathlib.Path(options["--data-root"], "containers.json")
        if "/containers/json" in self.path:
            body = containers.read_bytes() if containers.exists() else b"[]"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_DELETE(self):
        self.send_response(204)
        self.end_headers()
    def address_string(self):
        return "test"
print("started", flush=True)
socketserver.UnixStreamServer(options["--host"][7:], Handler).serve_forever()
"""


class Server(socketserver.ThreadingUnixStreamServer):
    """An engine that says only what it is."""

    daemon_threads = True
    answer: dict[str, Any]


class Handler(BaseHTTPRequestHandler):
    # As an engine's. A connection of 1.0 ends with the headers, and by ssh that kills the client
    # before the body is there.
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        assert re.fullmatch(r"(/v[\d.]+)?/(version|_ping|info|images/json)", self.path), self.path
        images = self.path.endswith("/images/json")
        body = json.dumps(self.server.answer["Images"] if images else self.server.answer).encode()
        failing = self.server.answer.get("Failing") and self.path.endswith("/info")
        self.send_response(500 if failing else 200)
        for name, value in self.server.answer.get("Headers", {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


Serve = Callable[..., str]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty machine: no engine, no context, no plugin, a state directory with a short name."""
    with tempfile.TemporaryDirectory(prefix="dlc-") as directory:
        for name in list(os.environ):
            if name.startswith(("DOCKER_", "BUILDX_")):
                monkeypatch.delenv(name)
        path = Path(directory)
        (path / "docker").mkdir()
        (path / "bin").mkdir()
        monkeypatch.setenv("DOCKER_CONFIG", str(path / "docker"))
        monkeypatch.setenv("DLC_STATE", str(path / "state"))
        monkeypatch.setattr(connection, "DEFAULT_HOST", f"unix://{path}/default.sock")
        monkeypatch.setattr("builder.engine.buildx._PLUGIN_ROOTS", ())
        monkeypatch.setenv("PATH", f"{path}/bin:/usr/bin:/bin")
        program(path / "bin/docker", "#!/bin/sh\nexit 1\n")
        yield path


@pytest.fixture
def serve(home: Path) -> Iterator[Serve]:
    """Start an engine on a socket below `home`; returns its address."""
    servers = []

    def start(name: str, **answer: Any) -> str:
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        server = Server(str(path), Handler)
        server.answer = {"Version": name, "ApiVersion": "1.41", "Os": "linux", **answer}
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        servers.append(server)
        return f"unix://{path}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def buildx(path: Path, version: str = "v0.17.1") -> None:
    program(path, f'#!/bin/sh\necho "github.com/docker/buildx {version} 257815a"\n')


def context(home: Path, host: str, *, name: str = "elsewhere", current: bool = True) -> Path:
    """Write a context as `docker context create` does; returns its directory for TLS files."""
    key = hashlib.sha256(name.encode()).hexdigest()
    meta = home / "docker/contexts/meta" / key
    meta.mkdir(parents=True)
    description = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host}}}
    (meta / "meta.json").write_text(json.dumps(description), encoding="utf-8")
    if current:
        settings = json.dumps({"currentContext": name})
        (home / "docker/config.json").write_text(settings, encoding="utf-8")
    return home / "docker/contexts/tls" / key / "docker"


def version_found() -> str | None:
    found = connection.find()
    return found.version if found else None


# The state directory


def test_state_directory_is_the_one_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLC_STATE", "/srv/dlc")
    assert state_directory() == Path("/srv/dlc")
    monkeypatch.setenv("DLC_STATE", "here")
    assert state_directory() == Path.cwd() / "here"


@pytest.mark.parametrize(
    ("user", "xdg", "expected"),
    [
        (0, "/x", "/var/lib/dlc"),
        (1000, "/x", "/x/dlc"),
        (1000, "", "/home/me/.local/state/dlc"),
        (1000, "relative", "/home/me/.local/state/dlc"),
    ],
)
def test_state_directory_by_user(
    monkeypatch: pytest.MonkeyPatch, user: int, xdg: str, expected: str
) -> None:
    monkeypatch.delenv("DLC_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", xdg)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert state_directory() == Path(expected)


def test_state_directory_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLC_STATE", "/proc/dlc")
    with (
        pytest.raises(EngineError, match="set DLC_STATE to a writable directory"),
        locked("engine", say=print),
    ):
        pass


# Finding


def test_nothing_is_found_on_an_empty_machine(home: Path) -> None:
    assert connection.find() is None
    assert connection.status() == connection.Status(running=False, start="dlc engine up")
    failures = connection.search()[1]
    assert failures == (
        f"unix://{home}/default.sock: no such file or directory",
        f"unix://{home}/state/engine/docker.sock: no such file or directory",
    )


@pytest.mark.integration
def test_order_of_finding(home: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    assert version_found() is None
    serve("state/engine/docker.sock")
    assert version_found() == "state/engine/docker.sock"
    serve("default.sock")
    assert version_found() == "default.sock"
    context(home, serve("context.sock"))
    assert version_found() == "context.sock"
    monkeypatch.setenv("DOCKER_HOST", serve("named.sock"))
    assert version_found() == "named.sock"


@pytest.mark.integration
def test_only_our_own_engine_is_private(home: Path, serve: Serve) -> None:
    serve("state/engine/docker.sock")
    found = connection.find()
    assert found
    assert found.private
    assert found.host == f"unix://{home}/state/engine/docker.sock"
    serve("default.sock")
    found = connection.find()
    assert found
    assert not found.private


@pytest.mark.integration
def test_status_of_a_running_engine(serve: Serve, home: Path) -> None:
    host = serve("default.sock", DockerRootDir="/var/lib/docker")
    buildx(home / "docker/cli-plugins/docker-buildx")
    assert connection.status() == connection.Status(
        running=True,
        host=host,
        version="default.sock",
        buildx=f"{home}/docker/cli-plugins/docker-buildx",
        buildx_version="0.17.1",
        data_root="/var/lib/docker",
    )


@pytest.mark.integration
def test_status_of_an_engine_that_fails(serve: Serve) -> None:
    host = serve("default.sock", Failing=True, message="out of order")
    found = connection.status()
    assert (found.running, found.host) == (False, host)
    assert found.start.startswith("the engine fails: 500 Server Error")


def test_an_engine_the_user_names_must_answer(
    serve: Serve, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve("default.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{home}/nowhere.sock")
    with pytest.raises(
        EngineError, match=r"that DOCKER_HOST names .* \(.*no such file or directory\); start"
    ):
        connection.find()
    assert "DOCKER_HOST" in connection.status().start


@pytest.mark.integration
def test_our_own_engine_may_be_named_while_it_does_not_run(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{home}/state/engine/docker.sock")
    assert connection.find() is None
    serve("default.sock")
    assert version_found() == "default.sock"


@pytest.mark.integration
def test_a_current_context_is_used_or_nothing_is(serve: Serve, home: Path) -> None:
    """As by the Docker command line: what it shows and what we build must be of one engine."""
    serve("default.sock")
    context(home, f"unix://{home}/stopped.sock")
    with pytest.raises(EngineError) as caught:
        connection.find()
    assert "the current context elsewhere names does not answer" in caught.value.message
    assert caught.value.remedy == "start it, or `docker context use default` to use another"
    shutil.rmtree(home / "docker/contexts")
    with pytest.raises(EngineError, match="the current context elsewhere is not there"):
        connection.find()
    (home / "docker/config.json").write_text("{}", encoding="utf-8")
    assert version_found() == "default.sock"


@pytest.mark.integration
def test_context_named_by_variable(
    serve: Serve, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context(home, serve("context.sock"), current=False)
    serve("default.sock")
    assert version_found() == "default.sock"
    monkeypatch.setenv("DOCKER_CONTEXT", "elsewhere")
    assert version_found() == "context.sock"
    monkeypatch.setenv("DOCKER_CONTEXT", "unknown")
    with pytest.raises(EngineError, match="DOCKER_CONTEXT names 'unknown', which is no context"):
        connection.find()


def test_broken_configuration_of_docker_is_as_none(home: Path) -> None:
    (home / "docker/config.json").write_text("{", encoding="utf-8")
    assert connection.find() is None


def test_refused_connection_is_told_in_the_systems_words(home: Path) -> None:
    Server(str(home / "default.sock"), Handler).server_close()  # leaves the socket's file behind
    assert connection.search()[1][0].endswith("default.sock: connection refused")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"ApiVersion": "1.40", "Version": "19.03.15"}, "Docker Engine 19.03.15 at .* is too old"),
        ({"ApiVersion": "1.9"}, "too old"),
        ({"Os": "windows"}, "runs windows containers"),
        ({"Components": [{"Name": "Podman Engine"}]}, "is Podman, which has no BuildKit"),
    ],
)
def test_unfit_engines(serve: Serve, answer: dict[str, Any], message: str) -> None:
    serve("default.sock", **answer)
    with pytest.raises(EngineError, match=f"{message}.*; install Docker Engine 20.10") as caught:
        connection.find()
    assert "\n" not in str(caught.value)


# What subprocesses get


def test_environment_names_one_engine(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "other")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    given = connection.Engine(host="tcp://box:2375", version="27", private=False).environment()
    assert given["DOCKER_HOST"] == "tcp://box:2375"
    assert not {"DOCKER_CONTEXT", "DOCKER_TLS_VERIFY"} & given.keys()
    assert given["BUILDX_CONFIG"] == f"{home}/state/buildx"
    assert given["DOCKER_CONFIG"] == f"{home}/docker"
    monkeypatch.setenv("BUILDX_CONFIG", "/mine")
    assert (
        connection.Engine(host="x", version="", private=False).environment()["BUILDX_CONFIG"]
        == "/mine"
    )


def test_environment_carries_the_certificates_of_a_context(home: Path) -> None:
    tls = context(home, "tcp://box:2376")
    tls.mkdir(parents=True)
    candidate, named_by = next(connection.candidates())
    assert (candidate.certificates, candidate.verify) == (str(tls), True)
    assert named_by == "the current context elsewhere"
    given = candidate.environment()
    assert (given["DOCKER_CERT_PATH"], given["DOCKER_TLS_VERIFY"]) == (str(tls), "1")


def test_certificates_of_docker_host(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://box:2376")
    assert next(connection.candidates())[0].certificates == ""
    monkeypatch.setenv("DOCKER_TLS", "1")
    candidate = next(connection.candidates())[0]
    assert (candidate.certificates, candidate.verify) == (f"{home}/docker", False)
    assert candidate.environment()["DOCKER_TLS"] == "1"


# buildx


@pytest.mark.integration
def test_buildx_beside_the_command_line_comes_first(serve: Serve, home: Path) -> None:
    serve("default.sock")
    found = connection.find()
    assert found
    assert (found.buildx, found.buildx_version) == ((), "")
    buildx(home / "state/bin/docker-buildx", "0.13.1+ds1")
    found = connection.find()
    assert found
    assert found.buildx == (f"{home}/state/bin/docker-buildx",)
    assert found.buildx_version == "0.13.1+ds1"
    buildx(home / "docker/cli-plugins/docker-buildx")
    found = connection.find()
    assert found
    assert found.buildx == (f"{home}/docker/cli-plugins/docker-buildx",)
    buildx(home / "bin/docker", "v0.12.1")
    found = connection.find()
    assert found
    assert found.buildx_version == "0.17.1"  # 0.12 is too old for us
    buildx(home / "bin/docker", "v0.18.0")
    found = connection.find()
    assert found
    assert found.buildx == ("docker", "buildx")


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        (
            {"Server": "Libpod/5.4.2 (linux)", "Api-Version": "1.41"},
            "is Podman, which has no Build",
        ),
        ({"Api-Version": "1.40", "Ostype": "linux"}, "is too old"),
        ({"Api-Version": "1.50", "Ostype": "windows"}, "runs windows containers, not Linux ones"),
    ],
)
def test_who_only_asks_for_images_refuses_what_cannot_build(
    serve: Serve, headers: dict[str, str], why: str
) -> None:
    """What can never be built on is no answer to a plan, as it is none to a build."""
    serve("default.sock", Images=[], Headers=headers)
    with pytest.raises(EngineError, match=why):
        images_here()


# What the client of an engine elsewhere has `ssh` run there: it passes the connection on.
SSH = """#!{python}
import socket, sys, threading
if sys.argv[1] == "-G":
    print("user me", "port 2222", sep="\\n")
    sys.exit()
assert sys.argv[-2:] == ["there", "docker system dial-stdio"], sys.argv
assert sys.argv[sys.argv.index("-p") + 1] == "2222", sys.argv
engine = socket.socket(socket.AF_UNIX)
engine.connect("{socket}")
def back():
    while data := engine.recv(65536):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
threading.Thread(target=back).start()
try:
    while data := sys.stdin.buffer.raw.read(65536):
        engine.sendall(data)
except BrokenPipeError:  # it has answered, and ended the connection
    pass
"""


@pytest.mark.integration
def test_an_engine_by_ssh(home: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    serve("far.sock")
    program(home / "bin/ssh", SSH.format(python=sys.executable, socket=home / "far.sock"))
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@there")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the SDK leaves its sockets open
        assert version_found() == "far.sock"
        gc.collect()


@pytest.mark.integration
def test_ssh_without_what_it_needs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@there")
    monkeypatch.delattr("docker.api.client.SSHHTTPAdapter")
    with pytest.raises(EngineError, match=r"pip install 'dlc-builder\[ssh\]'"):
        connection.find()
    assert home


# Starting


def test_not_root_and_no_engine(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(EngineError, match="only root can start one; install Docker") as caught:
        private.up(say=print)
    assert "\n" not in str(caught.value)
    assert f"{home}/default.sock: no such file or directory" in str(caught.value)


@pytest.mark.integration
def test_not_root_on_a_foreign_distribution_without_buildx(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve("default.sock")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "fedora"})
    with pytest.raises(EngineError, match=r"buildx 0\.13 or newer is missing") as caught:
        private.up(say=print)
    assert "docker-buildx-plugin" in caught.value.remedy
    assert "\n" not in str(caught.value)


def test_root_on_a_foreign_distribution(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(apt, "system_path", lambda: str(home / "bin"))
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "fedora"})
    with pytest.raises(
        EngineError, match=r"docker.io iptables cannot be installed: this is not Debian or Ubuntu"
    ):
        private.up(say=print)


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ({"ID": "debian"}, "debian"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "linuxmint"),
        ({"ID": "rocky", "ID_LIKE": "rhel fedora"}, ""),
        ({}, ""),
    ],
)
def test_distribution(
    monkeypatch: pytest.MonkeyPatch, release: dict[str, str], expected: str
) -> None:
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    assert apt.distribution() == expected


@pytest.fixture
def root(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine where we are root, with buildx and iptables."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    program(home / "bin/iptables", "#!/bin/sh\n")
    buildx(home / "docker/cli-plugins/docker-buildx")
    return home


@pytest.mark.usefixtures("home")
def test_a_private_engine_that_is_down_has_images_that_are_not_known() -> None:
    """No plan may say of them that there is none; without an engine's data there is none."""
    assert images_here() == {}
    (private.root() / "data").mkdir(parents=True)
    with pytest.raises(EngineError, match="images are not known; start it: dlc engine up"):
        images_here()


@pytest.mark.integration
def test_a_build_starts_a_private_engine_that_is_down(serve: Serve) -> None:
    (private.root() / "data").mkdir(parents=True)
    started = []

    def up() -> connection.Engine:
        started.append(serve("state/engine/docker.sock", Images=[]))
        found = connection.find()
        assert found
        return found

    assert images_here(up=up) == {}
    assert len(started) == 1


@pytest.mark.integration
def test_who_builds_nothing_needs_no_buildx(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    serve("default.sock")
    monkeypatch.setattr("builder.engine.buildx.provide_buildx", pytest.fail)
    assert private.up(say=print, build=False).buildx == ()


@pytest.mark.integration
def test_two_at_once_start_one_engine(root: Path) -> None:
    program(root / "bin/dockerd", FAKE_DOCKERD)
    found: list[connection.Engine] = []
    said: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(private.up(say=said.append))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert [each.version for each in found] == ["99.0"] * 3
        assert all(each.private and each.buildx for each in found)
        assert sum(line.startswith("starting") for line in said) == 1
        pid = private.running()
        assert pid
        assert private.stop(say=said.append)
        assert not Path(f"/proc/{pid}").exists()
        assert not private.stop(say=said.append)
        assert connection.find() is None
    finally:
        private.stop(say=print)


@pytest.mark.integration
def test_engine_that_ends_at_once_is_quoted(root: Path) -> None:
    program(
        root / "bin/dockerd",
        "#!/bin/sh\n"
        'echo \'time="t" level=info msg="Starting up"\'\n'
        "echo 'failed to start daemon: iptables: Operation not permitted'\n"
        "exit 1\n",
    )
    with pytest.raises(EngineError) as caught:
        private.up(say=print)
    assert caught.value.message == (
        "dockerd ended with code 1: failed to start daemon: iptables: Operation not permitted"
    )
    assert "--privileged" in caught.value.remedy
    assert f"{root}/state/engine/dockerd.log" in caught.value.remedy


@pytest.mark.integration
def test_engine_that_stays_silent_is_ended(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "START_SECONDS", 1)
    program(root / "bin/dockerd", "#!/bin/sh\necho thinking\nexec sleep 60\n")
    with pytest.raises(EngineError, match=r"does not answer after 1 seconds: thinking"):
        private.up(say=print)
    assert private._children[-1].wait(timeout=60) != 0


def test_state_directory_too_long_for_a_socket(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(root / "bin/dockerd", FAKE_DOCKERD)
    monkeypatch.setenv("DLC_STATE", str(root / ("long" * 20)))
    with pytest.raises(EngineError, match="too long for a socket"):
        private.up(say=print)


def test_last_words() -> None:
    assert private.last_words("") == "it wrote no log"
    assert private.last_words("one\ntwo\n\n") == "two"
    log = 'level=error msg="first"\nlevel=error msg="the \\"second\\""\nlevel=info msg="bye"\n'
    assert private.last_words(log) == 'the \\"second\\"'
    assert private.last_words(f"failed to start daemon: why\n{log}").endswith("why")


# Stopping


@pytest.fixture
def sleeper() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start processes that do nothing, with a name and arguments of choice."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, name: str = "python") -> subprocess.Popen[bytes]:
        code = "import time; print(flush=True); time.sleep(60)"
        child = subprocess.Popen(
            [name, "-c", code, *arguments], executable=sys.executable, stdout=subprocess.PIPE
        )
        assert child.stdout
        child.stdout.readline()
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()
        assert child.stdout
        child.stdout.close()


@pytest.mark.integration
def test_shims_of_an_engine_that_was_killed_end_once_the_next_one_answers(
    root: Path, sleeper: Callable[..., subprocess.Popen[bytes]]
) -> None:
    program(root / "bin/dockerd", FAKE_DOCKERD)
    name, socket_ = "containerd-shim-runc-v2", "exec/containerd/containerd.sock"
    ours = sleeper("-id", "a", "-address", f"{root}/state/engine/{socket_}", name=name)
    others = sleeper("-id", "b", "-address", f"/elsewhere/engine/{socket_}", name=name)
    try:
        private.up(say=print)
        assert ours.wait(60) == -15
        assert others.poll() is None
    finally:
        private.stop(say=print)


@pytest.mark.integration
def test_containers_of_runs_that_ended_go_when_an_engine_starts(root: Path) -> None:
    """One that ended as its engine was killed could not remove its own."""
    program(root / "bin/dockerd", FAKE_DOCKERD)
    code = "from builder.util.owner import owner; print(owner(), end='')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    containers = [
        {"Id": name, "Labels": {OWNER_LABEL: who}}
        for name, who in (("left", ended.stdout), ("used", owner()))
    ]
    (root / "state/engine/data").mkdir(parents=True)
    (root / "state/engine/data/containers.json").write_text(json.dumps(containers))
    try:
        private.up(say=print)
    finally:
        private.stop(say=print)
    log = (root / "state/engine/dockerd.log").read_text("utf-8")
    assert re.findall(r"DELETE \S+/containers/(\w+)", log) == ["left"]


@pytest.mark.integration
def test_recorded_process_must_name_our_socket(
    home: Path, sleeper: Callable[..., subprocess.Popen[bytes]]
) -> None:
    record = home / "state/engine/dockerd.pid"
    record.parent.mkdir(parents=True)
    assert private.running() is None
    for text in ("", "nonsense", "999999999", str(os.getpid())):
        record.write_text(text, encoding="ascii")
        assert private.running() is None
    stranger = sleeper("--host", "unix:///elsewhere/docker.sock")
    record.write_text(str(stranger.pid), encoding="ascii")
    assert private.running() is None
    ours = sleeper("--host", connection.private_host())
    record.write_text(str(ours.pid), encoding="ascii")
    assert private.running() == ours.pid


@pytest.mark.integration
def test_a_zombie_does_not_run(home: Path, sleeper: Callable[..., subprocess.Popen[bytes]]) -> None:
    ours = sleeper("--host", connection.private_host())
    (home / "state/engine").mkdir(parents=True)
    (home / "state/engine/dockerd.pid").write_text(str(ours.pid), encoding="ascii")
    os.kill(ours.pid, 9)
    deadline = time.monotonic() + 60
    while private.running() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert private.running() is None


@pytest.mark.integration
def test_down_ends_only_what_is_ours(
    home: Path, sleeper: Callable[..., subprocess.Popen[bytes]]
) -> None:
    run_time = f"{home}/state/engine/exec/containerd/containerd.toml"
    (home / "state/engine").mkdir(parents=True)
    record = home / "state/engine/dockerd.pid"
    ours = sleeper("--host", connection.private_host())
    helper = sleeper("--config", run_time, name="containerd")
    other_engine = sleeper("--config", "/elsewhere/exec/containerd.toml", name="containerd")
    reader = sleeper("-f", run_time, name="tail")
    record.write_text(str(ours.pid), encoding="ascii")
    assert private.stop(say=print)
    assert (ours.wait(60), helper.wait(60)) == (-15, -15)
    assert (other_engine.poll(), reader.poll()) == (None, None)
    assert not record.exists()
    record.write_text(str(reader.pid), encoding="ascii")
    assert not private.stop(say=print)
    assert reader.poll() is None


def test_down_on_an_empty_machine_leaves_it_empty(home: Path) -> None:
    assert not private.stop(say=print)
    assert not (home / "state").exists()
