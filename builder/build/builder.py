"""Which of buildx's builders builds, and what it can: the engine's own, or another that exists."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.build.bakefile import NO_CACHE, Cache
from builder.errors import BuildError
from builder.matrix.platforms import DEFAULT

if TYPE_CHECKING:
    from builder.engine.connection import Engine

__all__ = ["LOCAL", "BuilderConfig", "choose", "environment", "refuse_platform"]

# The name of the builder that is the engine itself, wherever DOCKER_HOST points.
_ENGINE = "default"
# buildx's own for who gives no --builder.
_VARIABLE = "BUILDX_BUILDER"


@dataclass(frozen=True, kw_only=True, slots=True)
class BuilderConfig:
    """By which builder, the engine's own if it has no name, and with which caches.

    A remote one has no images of the engine; what it built is loaded into that.
    """

    builder: str = ""
    is_remote: bool = False
    cache: Cache = NO_CACHE


LOCAL = BuilderConfig()


def environment(engine: Engine, builder: str) -> dict[str, str]:
    """The variables for buildx. A builder that the user named is among the user's own."""
    given = engine.environment()
    # buildx would pass it on, and the same build key would have another image.
    given.pop("SOURCE_DATE_EPOCH", None)
    if builder and "BUILDX_CONFIG" not in os.environ:
        del given["BUILDX_CONFIG"]
    # SageMaker takes no index of manifests, which an attestation would make of an image.
    # What our own bake file names needs no leave: contexts, certificates, secrets in memory.
    return {**given, "BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "BUILDX_BAKE_ENTITLEMENTS_FS": "0"}


def choose(engine: Engine, builder: str = "", cache: Cache = NO_CACHE) -> BuilderConfig:
    """Look at a builder, else the one that BUILDX_BUILDER names, before anything is built with it.

    BuildError if there is none of that name, if it does not run, or if it cannot keep a cache that
    it is to.
    """
    named = "" if builder else os.environ.get(_VARIABLE, "")
    builder = builder or named
    if not builder and cache == NO_CACHE:
        return LOCAL
    properties = _inspect(engine, builder or _ENGINE, named=named)
    driver = properties.get("Driver", "")
    if driver == "docker" and builder not in ("", _ENGINE):
        option = _VARIABLE if named else "--builder"
        raise BuildError(
            f"{builder} is a Docker context, not a builder of buildx",
            remedy=f"set DOCKER_CONTEXT={builder} in the place of {option}",
        )
    exported = [text for text in cache.destinations if not text.startswith("type=inline")]
    can = properties.get("Cache export", "false" if driver == "docker" else "true")
    if exported and can != "true":
        raise BuildError(
            f"the builder {builder or _ENGINE} cannot write a cache to {exported[0]}: "
            f"its driver is {driver}",
            remedy="name another with --builder (docker buildx create --driver docker-container), "
            "or use the engine's containerd image store",
        )
    return BuilderConfig(builder=builder, is_remote=driver != "docker", cache=cache)


def refuse_platform(engine: Engine, platform: str, how: BuilderConfig) -> None:
    """BuildError if a builder cannot run programs of a platform, its own or by emulation.

    The default platform is not asked about.
    """
    if platform == DEFAULT:
        return
    name = how.builder or _ENGINE
    runs = re.findall(r"linux/[a-z0-9]+", _inspect(engine, name).get("Platforms", ""))
    if platform not in runs:
        what = "the engine" if name == _ENGINE else f"the builder {name}"
        raise BuildError(
            f"{what} runs no programs for {platform}",
            remedy="build on a machine of that platform, name a builder that has it with "
            "--builder, or let the kernel emulate it: as root, `apt install qemu-user-static` "
            "(docs/platforms.md)",
        )


def _inspect(engine: Engine, name: str, *, named: str = "") -> Mapping[str, str]:
    """What buildx tells of a builder's first node, by the words before the colon."""
    result = subprocess.run(
        [*engine.buildx, "inspect", "--bootstrap", name],
        # Only then does it tell what the driver can.
        env={**environment(engine, name if name != _ENGINE else ""), "DEBUG": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    properties = {
        found["word"]: found["value"]
        for found in re.finditer(
            r"^ *(?P<word>[A-Z][\w -]*?):[ \t]+(?P<value>\S.*)$", result.stdout, re.MULTILINE
        )
    }
    wrong = properties.get("Error", "")
    if result.returncode:
        reason = re.search(r"^ERROR: (.*)", result.stderr, re.MULTILINE)
        wrong = reason[1] if reason else result.stderr.strip()[-200:]
    if wrong:
        raise BuildError(
            f"the builder {name}{f', which {_VARIABLE} names,' if named else ''} cannot be used: "
            f"{wrong}",
            remedy="`docker buildx ls` shows those that there are"
            + (f"; or unset {_VARIABLE}" if named else ""),
        )
    return properties
