"""buildx: the first on this machine that is new enough, else installed or fetched.

A distribution without the package gets the binary of a later release, kept in our state directory.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.engine.apt import InstallError, distribution, install, offered, run, unpack
from builder.engine.docker_config import docker_configuration
from builder.errors import EngineError
from builder.util.state import state_directory

if TYPE_CHECKING:
    from builder.engine.connection import Engine

__all__ = [
    "MINIMUM_BUILDX",
    "buildx_version",
    "fetch_buildx",
    "numbers",
    "private_buildx",
    "provide_buildx",
    "with_buildx",
]

Say = Callable[[str], None]

# The oldest whose `bake` writes both a metadata file and raw JSON progress.
MINIMUM_BUILDX = (0, 13)
# The first Debian release with a docker-buildx package; its binary needs only glibc 2.34.
BUILDX_RELEASE = "trixie"
INSTALL_BUILDX = (
    "install your distribution's package docker-buildx or docker-buildx-plugin, "
    "or put a docker-buildx binary into ~/.docker/cli-plugins"
)

_PLUGIN_ROOTS = ("/usr/local/lib", "/usr/local/libexec", "/usr/lib", "/usr/libexec")


def with_buildx(engine: Engine) -> Engine:
    """Return the engine with the first buildx on this machine that is new enough, if any."""
    environment = engine.environment()
    for command in _buildx_commands():
        version = buildx_version(command, environment=environment)
        if numbers(version) >= MINIMUM_BUILDX:
            return replace(engine, buildx=command, buildx_version=version)
    return engine


def _buildx_commands() -> Iterator[tuple[str, ...]]:
    if shutil.which("docker"):
        yield ("docker", "buildx")
    homes = (docker_configuration(), *(Path(root, "docker") for root in _PLUGIN_ROOTS))
    for plugin in (*(home / "cli-plugins/docker-buildx" for home in homes), private_buildx()):
        if os.access(plugin, os.X_OK):
            yield (str(plugin),)


def private_buildx() -> Path:
    """Return where our own buildx is kept once it had to be fetched."""
    return state_directory() / "bin/docker-buildx"


def buildx_version(command: tuple[str, ...], *, environment: dict[str, str]) -> str:
    """Return a version such as `0.13.1`, empty where the command runs no buildx."""
    try:
        output = subprocess.check_output(
            [*command, "version"], env=environment, stderr=subprocess.DEVNULL, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    # "github.com/docker/buildx v0.17.1 257815a"; distributions leave out the v.
    match = re.search(r"\s+v?(\d+\.\d+\S*)", output)
    return match[1] if match else ""


def numbers(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version: `1.41` gives (1, 41), anything else ()."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else ()


def provide_buildx(found: Engine, *, say: Say) -> Engine:
    """Return the engine with buildx, installed or fetched now.

    Raises EngineError where neither gives one that is new enough.
    """
    wanted = ".".join(map(str, MINIMUM_BUILDX))
    reason = "this is not Debian or Ubuntu"
    for package in ("docker-buildx", "docker-buildx-plugin"):
        if os.geteuid() == 0 and offered(package):
            with suppress(InstallError):
                install(package, say=say)
            if (complete := with_buildx(found)).buildx:
                return complete
    if distribution() == "debian":
        try:
            fetch_buildx(say=say)
        except InstallError as error:
            reason = str(error)
    if (complete := with_buildx(found)).buildx:
        return complete
    raise EngineError(f"buildx {wanted} or newer is missing; {reason}", remedy=INSTALL_BUILDX)


def fetch_buildx(*, say: Say) -> None:
    """Take the docker-buildx binary out of the package of a newer Debian release.

    Raises InstallError.
    """
    say(f"fetching docker-buildx from Debian {BUILDX_RELEASE}")
    target = private_buildx()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".buildx-", dir=target.parent) as directory:
        unpack("docker-buildx", release=BUILDX_RELEASE, into=Path(directory))
        binary = Path(directory, "usr/libexec/docker/cli-plugins/docker-buildx")
        run(str(binary), "version")  # proves that it is there and runs on this machine
        binary.replace(target)
