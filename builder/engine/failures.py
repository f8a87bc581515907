"""What an engine refuses, or fails at, as errors of ours in its own words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from builder.errors import DlcError, EngineError

__all__ = ["DISK_FULL", "MAKE_ROOM", "engine_errors", "failure", "is_limited", "limit_remedy"]

# What the kernel, the engine and programs say when a disk is full.
DISK_FULL = re.compile(r"no space left on device|errno 28\b|disk quota exceeded", re.IGNORECASE)
MAKE_ROOM = "free disk space where the engine keeps its data (`dlc engine prune`), then try again"

# What engines and registries say when somebody has pulled too much.
_LIMITED = re.compile(r"toomanyrequests|too many requests|pull rate limit", re.IGNORECASE)

_FAILED = "the engine failed"
_STATUS = "see `dlc engine status`"


@contextmanager
def engine_errors(
    what: str = _FAILED, *, kind: type[DlcError] = EngineError, remedy: str = _STATUS
) -> Iterator[None]:
    """Turn what Docker's client raises into an error of a kind; `what` is what was not done."""
    import docker.errors  # takes a sixth of a second
    import requests

    try:
        yield
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise failure(error, what, kind=kind, remedy=remedy) from error


def failure(error: Exception, what: str, *, kind: type[DlcError], remedy: str) -> DlcError:
    """An error of ours with the engine's own words; on a full disk no other remedy helps."""
    words = str(getattr(error, "explanation", None) or error)
    return kind(f"{what}: {words}", remedy=MAKE_ROOM if DISK_FULL.search(words) else remedy)


def is_limited(words: str) -> bool:
    """Whether words are of a registry that lets no more be pulled for a while.

    >>> is_limited("toomanyrequests: You have reached your unauthenticated pull rate limit.")
    True
    """
    return _LIMITED.search(words) is not None


def limit_remedy(host: str, *, known: bool = False) -> str:
    """What to do about a registry's limit; who is `known` to it need not log in."""
    login = "docker login" if host == "docker.io" else f"docker login {host}"
    wait = "wait, or pull through a mirror (`registries` in mirrors.yaml)"
    return wait if known else f"run `{login}`, as who is logged in may do more; else {wait}"
