"""A Docker Engine of our own, for machines without one: install, start and stop it.

All of it lies in `engine/` under the state directory: socket, data, log and process id. What
this module may end is told by that process id and by our paths in the command line, never by
a program's name.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from builder import engine
from builder.errors import EngineError

__all__ = ["InstallError", "install", "locked", "provide", "stop"]

Say = Callable[[str], None]

# The first Debian release with a docker-buildx package; its binary needs only glibc 2.34.
BUILDX_RELEASE = "trixie"
DEBIAN_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
INSTALL_DOCKER = "install Docker Engine 20.10 or newer, or point DOCKER_HOST at one"
INSTALL_BUILDX = (
    "install your distribution's package docker-buildx or docker-buildx-plugin, "
    "or put a docker-buildx binary into ~/.docker/cli-plugins"
)
START_SECONDS = 60
STOP_SECONDS = 30
# What the kernel takes for a socket's path, less the longest name dockerd puts below our root.
LONGEST_ROOT = 107 - len("/exec/containerd/containerd.sock.ttrpc")

# Engines started by this process: kept, since an abandoned Popen warns, and reaped by `stop`.
_children: list[subprocess.Popen[bytes]] = []


class InstallError(Exception):
    """A package could not be installed; the message says why in one line."""


def root() -> Path:
    """Return the directory of all that belongs to the private engine."""
    return engine.state_directory() / "engine"


@contextmanager
def locked(name: str, *, say: Say) -> Iterator[None]:
    """Hold the lock called `name` of the state directory; other processes wait their turn."""
    path = engine.state_directory() / f"{name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise EngineError(
            f"cannot write {path}: {error.strerror}",
            remedy="set DLC_STATE to a writable directory",
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another dlc that holds {path}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def provide(*, say: Say) -> engine.Engine:
    """Return an engine with buildx: installs, starts and fetches what is missing of both."""
    with locked("engine", say=say):
        found, failures = engine.search()
        found = found or _install_and_start(failures, say=say)
        if not found.buildx:
            found = _provide_buildx(found, say=say)
        return found


def _install_and_start(failures: tuple[str, ...], *, say: Say) -> engine.Engine:
    nothing = f"no Docker Engine answers ({'; '.join(failures)})"
    if os.geteuid() != 0:
        raise EngineError(f"{nothing}, and only root can start one", remedy=INSTALL_DOCKER)
    packages = {"dockerd": "docker.io", "iptables": "iptables"}
    missing = [package for program, package in packages.items() if not _which(program)]
    if missing:
        try:
            install(*missing, say=say)
        except InstallError as error:
            raise EngineError(f"{nothing}, and {error}", remedy=INSTALL_DOCKER) from error
        # The package starts the distribution's own service where the machine has services.
        if found := engine.find():
            return found
    return start(say=say)


def start(*, say: Say) -> engine.Engine:
    """Start the private engine and wait until it answers; the caller holds the lock.

    Raises EngineError with the engine's own last words when it does not come up in 60 seconds.
    """
    home = root()
    if len(str(home)) > LONGEST_ROOT:
        raise EngineError(f"{home} is too long for a socket", remedy="set DLC_STATE to less")
    home.mkdir(parents=True, exist_ok=True)
    if not running():  # after a crash or reboot dockerd would trip over the old file
        (home / "dockerd.pid").unlink(missing_ok=True)
    (home / "daemon.json").write_text(json.dumps(_inherited_settings()), encoding="utf-8")
    say(f"starting a private Docker Engine in {home}")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DOCKER_")}
    with (home / "dockerd.log").open("wb") as log:
        child = subprocess.Popen(
            [
                _which("dockerd") or "dockerd",
                *("--host", engine.private_host()),
                *("--data-root", str(home / "data")),
                *("--exec-root", str(home / "exec")),
                *("--pidfile", str(home / "dockerd.pid")),
                *("--config-file", str(home / "daemon.json")),
            ],
            cwd="/",
            env={**environment, "PATH": system_path()},
            start_new_session=True,
            stderr=log,
            stdin=subprocess.DEVNULL,
            stdout=log,
        )
    _children.append(child)
    try:
        return _wait(child)
    except BaseException:
        child.terminate()
        raise


def _wait(child: subprocess.Popen[bytes]) -> engine.Engine:
    deadline = time.monotonic() + START_SECONDS
    candidate = engine.Engine(host=engine.private_host(), version="", private=True)
    while child.poll() is None and time.monotonic() < deadline:
        found = engine.probe(candidate)
        if isinstance(found, engine.Engine):
            return engine.with_buildx(found)
        time.sleep(0.1)
    log = root() / "dockerd.log"
    line = last_words(log.read_text(encoding="utf-8", errors="replace"))
    remedy = f"read {log}, or point DOCKER_HOST at an engine elsewhere"
    if re.search("permission denied|not permitted", line, re.IGNORECASE):
        remedy = f"run with more privileges (a container needs --privileged); {remedy}"
    ended = f"ended with code {child.returncode}"
    silent = f"does not answer after {START_SECONDS} seconds"
    raise EngineError(f"dockerd {silent if child.poll() is None else ended}: {line}", remedy=remedy)


def last_words(log: str) -> str:
    """Return why dockerd ended: its last fatal line, else its last error, else its last line."""
    lines = [line for line in log.splitlines() if line.strip()]
    for sign in ("failed to start daemon", "level=fatal", "level=error"):
        if found := [line for line in lines if sign in line]:
            message = re.search(r'msg="((?:[^"\\]|\\.)*)"', found[-1])
            return message[1] if message else found[-1]
    return lines[-1] if lines else "it wrote no log"


def _inherited_settings() -> dict[str, object]:
    """Return the machine's engine settings (mirrors, proxies, DNS) without those we give."""
    settings = engine.read_json(Path("/etc/docker/daemon.json"))
    ours = {"containerd", "data-root", "exec-root", "graph", "hosts", "live-restore", "pidfile"}
    return {k: v for k, v in settings.items() if k not in ours and not k.startswith("tls")}


def running() -> int | None:
    """Return the process id of the private engine, None when it does not run.

    A recorded id counts only while its process names our socket: after a reboot the number
    may be anybody's.
    """
    with suppress(OSError, ValueError):
        pid = int((root() / "dockerd.pid").read_text(encoding="ascii"))
        if engine.private_host() in _arguments(pid):
            return pid
    return None


def _arguments(pid: int) -> list[str]:
    """Return a live process's command line; empty for one that has ended, zombies included."""
    with suppress(OSError):
        return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
    return []


def stop(*, say: Say) -> bool:
    """Stop the private engine and what it started; True when there was one to stop.

    Containers get the engine's own 15 seconds to end; the engine gets 30 before it is killed.
    """
    if not root().is_dir():
        return False
    with locked("engine", say=say):
        pid = running()
        try:
            if pid:
                say(f"stopping the private Docker Engine (process {pid})")
                _end(pid, sign=engine.private_host(), seconds=STOP_SECONDS)
            for helper, sign in _helpers():  # none, unless dockerd had to be killed
                _end(helper, sign=sign, seconds=5)
        except PermissionError as error:
            raise EngineError(
                f"only root may stop the private engine in {root()}", remedy="run as root"
            ) from error
        for leftover in ("dockerd.pid", "docker.sock"):
            (root() / leftover).unlink(missing_ok=True)
        return pid is not None


def _helpers() -> Iterator[tuple[int, str]]:
    """Give the containerd processes whose command lines name our run-time directory."""
    home = f"{root()}/exec/"
    for entry in Path("/proc").glob("[0-9]*"):
        arguments = _arguments(int(entry.name))
        signs = [argument for argument in arguments[1:] if argument.startswith(home)]
        if signs and Path(arguments[0]).name.startswith("containerd"):
            yield int(entry.name), signs[0]


def _end(pid: int, *, sign: str, seconds: float) -> None:
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + patience
        with suppress(ProcessLookupError):
            if sign in _arguments(pid):
                os.kill(pid, number)
        while time.monotonic() < deadline:
            for child in _children:
                child.poll()
            if sign not in _arguments(pid):
                return
            time.sleep(0.05)


def _provide_buildx(found: engine.Engine, *, say: Say) -> engine.Engine:
    wanted = ".".join(map(str, engine.MINIMUM_BUILDX))
    reason = "this is not Debian or Ubuntu"
    for package in ("docker-buildx", "docker-buildx-plugin"):
        if os.geteuid() == 0 and _offered(package):
            with suppress(InstallError):
                install(package, say=say)
            if (complete := engine.with_buildx(found)).buildx:
                return complete
    if _distribution() == "debian":
        try:
            fetch_buildx(say=say)
        except InstallError as error:
            reason = str(error)
    if (complete := engine.with_buildx(found)).buildx:
        return complete
    raise EngineError(f"buildx {wanted} or newer is missing; {reason}", remedy=INSTALL_BUILDX)


def fetch_buildx(*, say: Say) -> None:
    """Take the docker-buildx binary out of the package of a newer Debian release.

    apt works on a state of its own with the machine's mirror and keyring, so the machine's
    sources and packages stay as they are. Raises InstallError.
    """
    listed = _run("apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)")
    mirrors = [line.split()[1] for line in listed.splitlines() if line.startswith("Debian ")]
    if not mirrors:
        raise InstallError("apt knows no Debian mirror; run apt-get update")
    say(f"fetching docker-buildx from Debian {BUILDX_RELEASE}")
    target = engine.private_buildx()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".buildx-", dir=target.parent) as directory:
        work = Path(directory)
        for needed in ("lists/partial", "cache/archives/partial"):
            (work / needed).mkdir(parents=True)
        source = f"deb [signed-by={DEBIAN_KEYRING}] {mirrors[0]} {BUILDX_RELEASE} main\n"
        (work / "sources.list").write_text(source, encoding="utf-8")
        settings = {
            "Dir::Etc::SourceList": work / "sources.list",
            "Dir::Etc::SourceParts": "-",
            "Dir::State::Lists": work / "lists",
            "Dir::Cache": work / "cache",
            "APT::Default-Release": "",  # the machine's may be unknown to this one source
            "APT::Sandbox::User": "root",  # the sandbox user cannot enter our directory
            "Acquire::Languages": "none",
        }
        options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
        _run("apt-get", *options, "-q", "update", cwd=work)
        _run("apt-get", *options, "-q", "download", "docker-buildx", cwd=work)
        package = next(work.glob("docker-buildx_*.deb"))
        _run("dpkg-deb", "-x", str(package), str(work / "tree"))
        binary = next((work / "tree").glob("usr/lib*/docker/cli-plugins/docker-buildx"))
        _run(str(binary), "version")  # proves that this machine can run it
        binary.replace(target)


def install(*packages: str, say: Say) -> None:
    """Install packages with apt. Raises InstallError, also where apt or root is missing."""
    names = " ".join(packages)
    if not _distribution() or not shutil.which("apt-get"):
        raise InstallError(f"{names} cannot be installed: this is not Debian or Ubuntu")
    if os.geteuid() != 0:
        raise InstallError(f"{names} cannot be installed without root")
    say(f"installing {names}")
    command = ("apt-get", "-o", "DPkg::Lock::Timeout=120", "-q")
    arguments = (*command, "install", "-y", "--no-install-recommends", *packages)
    try:
        _run(*arguments)
    except InstallError:  # lists that are missing or too old are the usual reason
        with suppress(InstallError):  # one dead source of many must not stop us
            _run(*command, "update")
        _run(*arguments)


def _distribution() -> str:
    """Return `debian`, `ubuntu`, the name of a relative of theirs, or nothing for others."""
    with suppress(OSError):
        facts = platform.freedesktop_os_release()
        if {"debian", "ubuntu"} & {facts.get("ID", ""), *facts.get("ID_LIKE", "").split()}:
            return facts.get("ID", "")
    return ""


def _offered(package: str) -> bool:
    with suppress(InstallError):
        return bool(_run("apt-cache", "madison", package))
    return False


def _run(*command: str, cwd: Path | None = None) -> str:
    """Run a package tool and return its output; InstallError with its last complaint."""
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "PATH": system_path()}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            check=True,
            cwd=cwd,
            env={**os.environ, **quiet},
            text=True,
        )
    except OSError as error:
        raise InstallError(f"{command[0]} cannot be run: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("E:")]
        lines = lines or error.stderr.splitlines() or [f"code {error.returncode}"]
        raise InstallError(
            f"{command[0]} failed: {lines[-1].removeprefix('E:').strip()}"
        ) from error
    return done.stdout


def system_path() -> str:
    """Return PATH with the directories of system programs, which not every shell of root has."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"


def _which(program: str) -> str | None:
    return shutil.which(program, path=system_path())
