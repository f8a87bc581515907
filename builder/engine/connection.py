"""The Docker Engine: find the one this machine already has, or have a private one started.

Importing this module is cheap: the Docker SDK is loaded only once an engine is talked to.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from builder.engine import buildx
from builder.engine.docker_config import current_context, docker_configuration
from builder.engine.failures import engine_errors
from builder.errors import EngineError
from builder.util.state import state_directory
from builder.util.text import system_words

if TYPE_CHECKING:
    import docker

__all__ = [
    "Engine",
    "Status",
    "candidates",
    "check_headers",
    "engine_client",
    "find",
    "listens",
    "private_host",
    "status",
]

DEFAULT_HOST = "unix:///var/run/docker.sock"

# Engine 20.10: the oldest whose BuildKit the rendered Dockerfiles are written for.
MINIMUM_API = (1, 41)

_CONNECTION_VARIABLES = (
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_TLS",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CERT_PATH",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """A Docker Engine that answered.

    `api` is the version of the API that it speaks, empty before it has answered. `buildx` is the
    command prefix that runs buildx, empty where there is none; `certificates` is the directory of
    the TLS client certificates, empty for a connection without TLS.
    """

    host: str
    version: str
    private: bool
    api: str = ""
    buildx: tuple[str, ...] = ()
    buildx_version: str = ""
    certificates: str = ""
    verify: bool = True

    def environment(self) -> dict[str, str]:
        """Return the variables for a subprocess that must use this engine and no other.

        buildx keeps its state under `state_directory()`, unless BUILDX_CONFIG says otherwise,
        so that no home directory needs to be writable.
        """
        kept = {k: v for k, v in os.environ.items() if k not in _CONNECTION_VARIABLES}
        kept.setdefault("BUILDX_CONFIG", str(state_directory() / "buildx"))
        kept["DOCKER_HOST"] = self.host
        if self.certificates:
            kept["DOCKER_CERT_PATH"] = self.certificates
            kept["DOCKER_TLS_VERIFY" if self.verify else "DOCKER_TLS"] = "1"
        return kept

    def client(self, *, timeout: int = 60, unasked: bool = False) -> docker.DockerClient:
        """Return a Docker SDK client, to be closed by the caller; `timeout` in seconds.

        It speaks the engine's own version of the API. An `unasked` one makes no request to learn
        that, and is for addresses without a version only, which engines of any age answer.

        Raises docker.errors.DockerException when the engine does not answer.
        """
        import docker  # takes a sixth of a second
        from docker.constants import DEFAULT_DOCKER_API_VERSION

        return docker.from_env(
            environment={**self.environment(), "DOCKER_HOST": _with_port(self.host)},
            version=self.api or (DEFAULT_DOCKER_API_VERSION if unasked else "auto"),
            timeout=timeout,
            use_ssh_client=self.host.startswith("ssh://"),
        )


@cache
def _with_port(host: str) -> str:
    """An ssh:// address with the port that the user's settings of ssh have for it.

    The SDK insists on port 22 where none is named.
    """
    parts = urlsplit(host)
    if parts.scheme != "ssh" or parts.port:
        return host
    try:
        asked = subprocess.run(
            ["ssh", "-G", "--", parts.netloc], capture_output=True, check=False, encoding="utf-8"
        )
    except OSError:  # whoever asks the engine is told that there is no ssh
        return host
    port = re.search(r"^port (\d+)$", asked.stdout, re.MULTILINE)
    return f"ssh://{parts.netloc}:{port[1]}" if port else host


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """What `dlc engine status` shows. Texts are empty where nothing runs or nothing is known."""

    running: bool
    host: str = ""
    version: str = ""
    private: bool = False
    buildx: str = ""
    buildx_version: str = ""
    data_root: str = ""
    start: str = ""


def private_host() -> str:
    """Return the address of the private engine, whether it runs or not."""
    return f"unix://{state_directory()}/engine/docker.sock"


def find() -> Engine | None:
    """Return the first engine that answers, None where none does.

    Looks at DOCKER_HOST, the Docker command line's context, the default socket and our private
    engine. Raises EngineError when the engine that the user named does not answer, and when
    the one that answers is no Docker Engine for Linux of version 20.10 or newer.
    """
    return search()[0]


@contextmanager
def engine_client() -> Iterator[docker.DockerClient]:
    """A client of the engine that runs; what the engine refuses is an EngineError."""
    found = find()
    if found is None:
        raise EngineError("no Docker Engine is running", remedy="build it: dlc build")
    with engine_errors(), closing(found.client()) as client:
        yield client


def search() -> tuple[Engine | None, tuple[str, ...]]:
    """Do what `find` does, and tell of every engine that did not answer why."""
    failures: list[str] = []
    for candidate, named_by in candidates():
        found = probe(candidate)
        if isinstance(found, Engine):
            return buildx.with_buildx(found), tuple(failures)
        failures.append(f"{candidate.host}: {found}")
        if named_by and not candidate.private:
            raise EngineError(
                f"the Docker Engine that {named_by} names does not answer ({failures[-1]})",
                remedy=f"start it, or {_undo(named_by)} to use another",
            )
    return None, tuple(failures)


def _undo(named_by: str) -> str:
    return f"unset {named_by}" if named_by.startswith("DOCKER_") else "`docker context use default`"


def status() -> Status:
    """Describe the engine that `find` finds; never starts one, never raises EngineError."""
    import docker  # takes a sixth of a second
    import requests

    try:
        engine, advice = find(), "dlc engine up"
    except EngineError as error:
        engine, advice = None, str(error)
    if engine is None:
        return Status(running=False, start=advice)
    try:
        with closing(engine.client()) as client:
            data_root = client.info().get("DockerRootDir", "")
    except (docker.errors.DockerException, requests.RequestException) as error:
        return Status(running=False, host=engine.host, start=f"the engine fails: {error}")
    return Status(
        running=True,
        host=engine.host,
        version=engine.version,
        private=engine.private,
        buildx=" ".join(engine.buildx),
        buildx_version=engine.buildx_version,
        data_root=data_root,
    )


def candidates() -> Iterator[tuple[Engine, str]]:
    """Give engines not yet talked to, each with the variable by which the user insists on it."""
    if host := os.environ.get("DOCKER_HOST"):
        insisted = os.environ.get("DOCKER_TLS_VERIFY")
        directory = os.environ.get("DOCKER_CERT_PATH") or str(docker_configuration())
        tls = directory if insisted or os.environ.get("DOCKER_TLS") else ""
        yield _candidate(host, certificates=tls, verify=bool(insisted)), "DOCKER_HOST"
    elif context := current_context():
        there = _candidate(context.host, certificates=context.certificates, verify=context.verify)
        yield there, context.chosen_by
    yield _candidate(DEFAULT_HOST), ""
    yield _candidate(private_host()), ""


def _candidate(host: str, *, certificates: str = "", verify: bool = True) -> Engine:
    private = host == private_host()
    return Engine(host=host, version="", private=private, certificates=certificates, verify=verify)


def probe(candidate: Engine) -> Engine | str:
    """Return the engine once it has answered, or why it did not; EngineError if unfit."""
    try:
        _connect(candidate)
    except OSError as error:
        return _reason(error)
    import docker  # takes a sixth of a second
    import requests

    try:
        with closing(candidate.client(timeout=10, unasked=True)) as client:
            answer = client.version(api_version=False)
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        return _reason(error)
    _check(answer, host=candidate.host)
    return replace(candidate, version=answer["Version"], api=answer["ApiVersion"])


def listens(candidate: Engine) -> bool:
    """Whether something takes connections at an engine's address; not looked at but for sockets."""
    try:
        _connect(candidate)
    except OSError:
        return False
    return True


def _connect(candidate: Engine) -> None:
    """Open and close a connection, if the engine has a socket here; OSError if nothing listens."""
    if candidate.host.startswith("unix://"):
        # Told much faster than by the SDK, which also leaks the socket of a refused connection.
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(candidate.host.removeprefix("unix://"))


def _reason(error: BaseException) -> str:
    """Return the operating system's words for a failed connection, else the SDK's last line."""
    lines = str(error).strip().splitlines()
    if "paramiko" in str(error):
        return "ssh:// needs more: pip install 'dlc-builder[ssh]'"
    return system_words(error) or (lines[-1] if lines else type(error).__name__)


def check_headers(headers: Mapping[str, str], *, host: str) -> None:
    """EngineError if any answer's headers tell that it is not of an engine we can build with."""
    podman = "libpod" in headers.get("Server", "").lower()
    answer = {
        "Components": [{"Name": "Podman Engine"}] if podman else [],
        "Os": headers.get("Ostype", "linux"),
        "ApiVersion": headers.get("Api-Version", ".".join(map(str, MINIMUM_API))),
        "Version": headers.get("Server", "of an unknown version").removeprefix("Docker/"),
    }
    _check(answer, host=host)


def _check(answer: dict[str, Any], *, host: str) -> None:
    """Raise EngineError unless an answer to /version is that of an engine we can build with."""
    remedy = "install Docker Engine 20.10 or newer, or point DOCKER_HOST at one"
    names = [component.get("Name", "") for component in answer.get("Components") or ()]
    if any("podman" in name.lower() for name in names):
        raise EngineError(f"{host} is Podman, which has no BuildKit", remedy=remedy)
    if answer.get("Os", "linux") != "linux":
        raise EngineError(f"{host} runs {answer['Os']} containers, not Linux ones", remedy=remedy)
    if buildx.numbers(answer.get("ApiVersion", "")) < MINIMUM_API:
        version = answer.get("Version", "of an unknown version")
        raise EngineError(f"the Docker Engine {version} at {host} is too old", remedy=remedy)
