"""Asks registries which digest an image has: through the engine, else over HTTP.

All are asked at the same time, and none is waited for longer than SECONDS.
"""

from __future__ import annotations

import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING

from builder.engine.failures import is_limited
from builder.errors import RegistryError
from builder.registry.auth import Login, of_docker
from builder.registry.client import MANIFESTS
from builder.registry.http import Connection
from builder.registry.limits import limit_words
from builder.util.text import causes

if TYPE_CHECKING:
    from builder.engine.connection import Engine

__all__ = ["Answer", "ask"]

SECONDS = 10.0
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The digest that a registry has under a reference, or in a few words why there is none."""

    digest: str = ""
    problem: str = ""


class _NoDigest(Exception):  # noqa: N818 - an answer, only not the one hoped for
    """Why there is no digest, in words for the user."""


def ask(references: Iterable[str], engine: Engine | None) -> dict[str, Answer]:
    """Ask registries for images, all at the same time; by the engine's means where one runs.

    The engine knows its proxies, mirrors and certificates, and is what will pull.
    """
    wanted = list(dict.fromkeys(references))
    answers: queue.Queue[tuple[str, Answer]] = queue.Queue()

    def one(reference: str) -> None:
        try:
            digest = _by_engine(engine, reference) if engine else _by_http(reference)
            if not _DIGEST.fullmatch(digest):
                raise _NoDigest("the registry tells no digest")
            answers.put((reference, Answer(digest=digest)))
        except Exception as error:  # whatever it is, it is why there is no digest
            answers.put((reference, Answer(problem=_reason(error))))

    # Looking up a host has no limit of time; a thread left behind ends with the process.
    for reference in wanted:
        threading.Thread(target=one, args=(reference,), daemon=True).start()
    found: dict[str, Answer] = {}
    deadline = time.monotonic() + SECONDS
    with suppress(queue.Empty):
        while len(found) < len(wanted):
            found.update([answers.get(timeout=max(0.0, deadline - time.monotonic()))])
    return {each: found.get(each, Answer(problem=_silence())) for each in wanted}


def _by_engine(engine: Engine, reference: str) -> str:
    """The same as the engine finds it, which reads the manifest: that counts as a pull.

    Where a registry lets nothing be pulled any more, the digest is asked for without one.
    """
    from docker.errors import APIError

    with closing(engine.client(timeout=max(1, round(SECONDS)))) as client:
        try:
            return str(client.images.get_registry_data(reference).id)
        except APIError as error:
            if not is_limited(str(error.explanation)):
                raise
    with suppress(RegistryError, _NoDigest):
        return _by_http(reference)
    raise _NoDigest(_LIMITED)


def _by_http(reference: str) -> str:
    """The digest of a manifest, by version 2 of the registries' protocol.

    Nothing is asked twice: what answers late is not waited for.
    """
    from docker.auth import resolve_repository_name  # takes a sixth of a second

    host, rest = resolve_repository_name(reference)
    named, _, digest = rest.partition("@")
    name, _, tag = named.partition(":")
    if host == "docker.io" and "/" not in name:
        name = f"library/{name}"
    connection = Connection(host, logins=_login, pause=0.0, retries=0, patience=2 * SECONDS)
    path = f"{name}/manifests/{digest or tag or 'latest'}"
    answer = connection.ask("HEAD", path, name, accept=MANIFESTS)
    if answer.status == HTTPStatus.NOT_FOUND:
        raise _NoDigest("not found")
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        told = limit_words(answer.headers)
        raise _NoDigest(f"{_LIMITED} ({told})" if told else _LIMITED)
    if answer.status != HTTPStatus.OK:
        known = {each.value: each.phrase.lower() for each in HTTPStatus}
        raise _NoDigest(f"{answer.status} {known.get(answer.status, 'is not an HTTP status')}")
    if answer.media_type not in MANIFESTS:
        raise _NoDigest("the answer is no manifest")
    return answer.headers.get("Docker-Content-Digest") or digest


def _login(host: str) -> Login | None:
    """The login for a registry; where it cannot be read, what anybody may see is asked for."""
    with suppress(RegistryError):
        return of_docker(host)
    return None


_LIMITED = "its registry lets no more be pulled now: log in, or name a mirror"
# What engines say, and the same in short.
_PHRASES = {
    "no such host": "no such host",
    "connection refused": "connection refused",
    "manifest unknown": "not found",
    "name unknown": "not found",
    "not found": "not found",
    "unauthorized": "401 unauthorized",
    "denied": "403 forbidden",
    "x509": "its certificate is not trusted",
}


def _reason(error: BaseException) -> str:
    """A few words on one line for whatever went wrong."""
    import requests

    message = str(getattr(error, "explanation", None) or getattr(error, "message", None) or error)
    below = causes(error)

    def among(*kinds: type[BaseException]) -> bool:
        return any(isinstance(each, kinds) for each in below)

    if isinstance(error, _NoDigest):
        return message
    if among(socket.gaierror):
        return "no such host"
    if among(ssl.SSLCertVerificationError):
        return "its certificate is not trusted"
    if among(TimeoutError, requests.Timeout) or "deadline exceeded" in message:
        return _silence()
    if among(ConnectionResetError, BrokenPipeError):
        return "the connection broke off"
    if among(HTTPException):
        return "no answer in HTTP"
    for phrase, short in _PHRASES.items():
        if phrase in message.lower():
            return short
    words = re.sub(r"[^\x20-\x7e]+", " ", message.rpartition(": ")[2]).strip()
    return words[:80] or type(error).__name__


def _silence() -> str:
    return f"no answer within {SECONDS:g} seconds"
