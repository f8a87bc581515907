"""Asks registries which digest an image has: through the engine, else over HTTP.

All are asked at the same time, and none is waited for longer than SECONDS.
"""

from __future__ import annotations

import http.client
import json
import queue
import re
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    from builder.engine import Engine

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
    with closing(engine.client(timeout=max(1, round(SECONDS)), version="1.41")) as client:
        return str(client.images.get_registry_data(reference).id)


_MANIFESTS = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
)
_LOOPBACK = re.compile(r"(?:localhost|127(?:\.\d+){3})(?::\d+)?")
_TOKEN_BYTES = 1 << 20
_HEADERS = {"Accept": ", ".join((*_MANIFESTS, "application/json"))}


def _by_http(reference: str) -> str:
    """The digest of a manifest, by version 2 of the registries' protocol.

    As for Docker, a registry on loopback speaks plain HTTP and no proxy leads to it.
    """
    from docker.auth import resolve_repository_name  # takes a sixth of a second

    host, rest = resolve_repository_name(reference)
    named, _, digest = rest.partition("@")
    name, _, tag = named.partition(":")
    address = host
    if host == "docker.io":
        address = "registry-1.docker.io"
        name = name if "/" in name else f"library/{name}"
    scheme = "http" if _LOOPBACK.fullmatch(host) else "https"
    manifest = f"{scheme}://{address}/v2/{name}/manifests/{digest or tag or 'latest'}"
    status, headers, _ = _request("HEAD", manifest)
    if status == HTTPStatus.UNAUTHORIZED:
        challenges = headers.get_all("WWW-Authenticate") or []
        authorization = _authorization(challenges, scheme=scheme, host=host, name=name)
        status, headers, _ = _request("HEAD", manifest, authorization)
    _refuse(status)
    if headers.get_content_type() not in _MANIFESTS:
        raise _NoDigest("the answer is no manifest")
    return headers.get("Docker-Content-Digest") or digest


def _authorization(challenges: Iterable[str], *, scheme: str, host: str, name: str) -> str:
    """What a registry that wants to know who asks is told: a token of the server it names."""
    basic = _credentials(host)
    for challenge in challenges:
        kind, _, rest = challenge.strip().partition(" ")
        if kind.lower() == "basic" and basic:
            return basic
        if kind.lower() != "bearer":
            continue
        said = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        realm = said.get("realm", "")
        if urlsplit(realm).scheme not in {"https", scheme}:
            raise _NoDigest("its token server is no https:// address")
        query = {"scope": said.get("scope") or f"repository:{name}:pull"}
        if "service" in said:
            query["service"] = said["service"]
        joint = "&" if "?" in realm else "?"
        status, _, body = _request("GET", f"{realm}{joint}{urlencode(query)}", basic)
        _refuse(status)
        return f"Bearer {_token(body)}"
    raise _NoDigest("401 unauthorized")


def _token(body: bytes) -> str:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict):
        token = answer.get("token") or answer.get("access_token")
        if isinstance(token, str) and re.fullmatch(r"[\x21-\x7e]+", token):
            return token
    raise _NoDigest("its token server gives no token")


def _credentials(host: str) -> str:
    """What the Docker configuration has for a registry, as a header; empty if nothing."""
    import base64

    from docker.auth import load_config
    from docker.errors import DockerException

    found: Mapping[str, str] = {}
    with suppress(DockerException):
        found = load_config().resolve_authconfig(host) or {}
    # Docker's helpers write the keys with capitals, its file without.
    user, password = (found.get(key) or found.get(key.lower()) for key in ("Username", "Password"))
    if not user or not password:
        return ""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _request(method: str, address: str, authorization: str = "") -> tuple[int, Message, bytes]:
    """The status, headers and first bytes of an answer; OSError or HTTPException without one."""
    from builder.bake import ca_bundle

    request = urllib.request.Request(address, method=method, headers=_HEADERS)  # noqa: S310
    if authorization:  # not for where it redirects to
        request.add_unredirected_header("Authorization", authorization)
    local = _LOOPBACK.fullmatch(request.host)
    opener = urllib.request.OpenerDirector()  # of http and https only
    for handler in (
        urllib.request.ProxyHandler({} if local else None),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_bundle())),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    try:
        with opener.open(request, timeout=SECONDS) as answer:
            return answer.status, answer.headers, answer.read(_TOKEN_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, b""


def _refuse(status: int) -> None:
    """Raise _NoDigest unless a request went well."""
    if status == HTTPStatus.NOT_FOUND:
        raise _NoDigest("not found")
    if status != HTTPStatus.OK:
        known = {each.value: each.phrase.lower() for each in HTTPStatus}
        raise _NoDigest(f"{status} {known.get(status, 'is no status of HTTP')}")


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

    said = str(getattr(error, "explanation", None) or error)
    if isinstance(error, _NoDigest):
        return said
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, BaseException):
        return _reason(error.reason)
    if isinstance(error, socket.gaierror):
        return "no such host"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not trusted"
    if isinstance(error, TimeoutError | requests.Timeout) or "deadline exceeded" in said:
        return _silence()
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "the connection broke off"
    if isinstance(error, http.client.HTTPException):
        return "no answer in HTTP"
    for phrase, short in _PHRASES.items():
        if phrase in said.lower():
            return short
    words = re.sub(r"[^\x20-\x7e]+", " ", said.rpartition(": ")[2]).strip()
    return words[:80] or type(error).__name__


def _silence() -> str:
    return f"no answer within {SECONDS:g} seconds"
