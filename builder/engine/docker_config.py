"""What the Docker command line is set to: its files, read without the SDK."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import EngineError

__all__ = ["Context", "current_context", "docker_configuration", "read_json"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """Where an engine is; `certificates` is a directory, empty for a connection without TLS.

    `chosen_by` is how the user chose it.
    """

    host: str
    certificates: str
    verify: bool
    chosen_by: str


def docker_configuration() -> Path:
    """Return the directory of the Docker command line's settings; it need not exist."""
    return Path(os.environ.get("DOCKER_CONFIG") or "~/.docker").expanduser()


def current_context() -> Context | None:
    """Return the current context, None for the default one.

    Raises EngineError where it is not there any more, as the Docker command line does.
    """
    directory = docker_configuration()
    named = os.environ.get("DOCKER_CONTEXT", "")
    name = named or read_json(directory / "config.json").get("currentContext", "default")
    if name == "default":
        return None
    chosen_by = "DOCKER_CONTEXT" if named else f"the current context {name}"
    key = hashlib.sha256(name.encode()).hexdigest()
    description = read_json(directory / "contexts/meta" / key / "meta.json")
    endpoint = description.get("Endpoints", {}).get("docker", {})
    if host := endpoint.get("Host"):
        tls = directory / "contexts/tls" / key / "docker"
        return Context(
            host=host,
            certificates=str(tls) if tls.is_dir() else "",
            verify=not endpoint.get("SkipTLSVerify", False),
            chosen_by=chosen_by,
        )
    if named:
        raise EngineError(
            f"DOCKER_CONTEXT names {named!r}, which is no context",
            remedy="list them with `docker context ls`, or unset DOCKER_CONTEXT",
        )
    raise EngineError(
        f"{chosen_by} is not there: nothing in {directory / 'contexts'} describes it",
        remedy="`docker context use default`, or set DOCKER_HOST",
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file; empty where there is none, as the Docker command line does."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
