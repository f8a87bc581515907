"""How registries are asked as somebody they know: whose login goes where, and what they refuse.

A registry is not trusted. A login for it goes to no other host, port or scheme, but to the token
server that it names, and there over TLS; a token that is no longer taken is replaced.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin, urlsplit

from builder.errors import RegistryError
from builder.registry.auth import Login, Logins
from builder.registry.exchange import (
    PATIENCE,
    SMALL_BYTES,
    TRIES,
    Answer,
    Body,
    Exchange,
    printable,
)
from builder.registry.responses import TOKEN, json_object, misshapen
from builder.util.http import BUSY, is_loopback

__all__ = ["Connection"]


class Connection(Exchange):
    """The way to one registry; its methods may be called from several threads."""

    def __init__(
        self,
        host: str,
        *,
        logins: Logins,
        pause: float,
        retries: int = TRIES,
        patience: float = PATIENCE,
        stop: threading.Event | None = None,
    ) -> None:
        """`pause` is that before the second of the `retries`, in seconds, then doubled.

        Each question has `patience` seconds for all its retries, one with a large body as many
        after its last byte has gone. With `stop` set, nobody waits for anything any more.
        """
        stop = stop or threading.Event()
        super().__init__(host, pause=pause, retries=retries, patience=patience, stop=stop)
        self._logins = logins
        address = "registry-1.docker.io" if host in {"docker.io", "index.docker.io"} else host
        self._scheme = "http" if is_loopback(host) else "https"
        self._root = f"{self._scheme}://{address}/v2/"
        self._headers: dict[str, str] = {}  # what was last taken, by repository
        self._lock = threading.Lock()  # of the headers: held while a token is asked for

    def ask(
        self,
        method: str,
        path: str,
        repository: str,
        *,
        accept: Iterable[str] = (),
        data: bytes | Body | None = None,
        headers: Mapping[str, str] | None = None,
        most: int = SMALL_BYTES,
        once: bool = False,
    ) -> Answer:
        """The registry's answer, of `most` bytes, after it was told who asks if it wants to know.

        What may go well next time is asked again, unless it is to be asked only `once`. Interrupted
        if that is wanted; RegistryError if there is no answer, or too large a one.
        """
        address = self._address(path)
        sent = {"Accept": ", ".join((*accept, "application/json")), **(headers or {})}
        until = time.monotonic() + self.patience
        options: dict[str, Any] = {"headers": sent, "data": data, "most": most, "once": once}
        if not self.is_own(address):  # a place to upload to that is somebody else's
            return self.send(method, address, "", until, **options)
        with self._lock:
            authorization = self._headers.get(repository, "")
        answer = self.send(method, address, authorization, until, **options)
        if answer.status != 401:
            return answer
        # Another thread may have replaced a token that ran out already.
        with self._lock:
            fresh = self._headers.get(repository, "")
            if fresh == authorization:
                fresh = self._authorization(answer, repository, method, until)
                self._headers[repository] = fresh
        answer = self.send(method, address, fresh, until, **options)
        if answer.status == 401 and fresh:
            with self._lock:
                self._headers.pop(repository, None)
        return answer

    def is_own(self, address: str) -> bool:
        """Whether an address is of this registry, so that logins for it may go there."""
        return _origin(address) == _origin(self._root)

    def _address(self, path: str) -> str:
        """A whole address; RegistryError for one without TLS, unless it is the registry's."""
        try:
            address = urljoin(self._root, path)
            if self.is_own(address) or urlsplit(address).scheme == "https":
                return address
        except ValueError:
            pass
        raise self.error(f"it leads to {path[:80]!r}", "see the registry")

    def _authorization(self, answer: Answer, repository: str, method: str, until: float) -> str:
        """What a registry that wants to know who asks is told; RegistryError without a login."""
        login = self._logins(self.host)
        for kind, challenge in _challenges(answer.headers.get("WWW-Authenticate", "")):
            if kind == "basic" and login and login.user:
                return _basic(login)
            if kind == "bearer":
                return f"Bearer {self._token(challenge, login, repository, method, until)}"
        raise self.error("authentication required", f"run `docker login {self.host}`")

    def _token(
        self,
        challenge: Mapping[str, str],
        login: Login | None,
        repository: str,
        method: str,
        until: float,
    ) -> str:
        realm, scheme = challenge.get("realm", ""), ""
        with suppress(ValueError):
            scheme = urlsplit(realm).scheme
        if scheme not in {"https", self._scheme}:
            raise self.error(f"its token server {realm[:80]!r} has no https://", "see the registry")
        # The challenge names what this question needs; what follows will need no less.
        actions = "pull" if method in {"GET", "HEAD"} else "pull,push"
        asked = {"scope": challenge.get("scope") or f"repository:{repository}:{actions}"}
        if "service" in challenge:
            asked["service"] = challenge["service"]
        if login and login.identity_token:
            form = {"grant_type": "refresh_token", "client_id": "dlc", **asked}
            form["refresh_token"] = login.identity_token
            # It leads nowhere else: the form is the login.
            answer = self.send("POST", realm, "", until, data=form, allow_redirects=False)
        else:
            header = _basic(login) if login else ""
            answer = self.send("GET", realm, header, until, params=asked)
        if answer.status in {400, 401, 403}:
            raise self.error(
                "its token server rejected the credentials", f"run `docker login {self.host}`"
            )
        self.refuse(answer, "its token server")
        answered = self.document(answer.content, "what its token server says", TOKEN)
        token = answered.get("token") or answered.get("access_token")
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise self.error("its token server gives no token", "see the registry")
        return token

    def refuse(self, answer: Answer, what: str) -> None:
        """Raise RegistryError, with the registry's own words, unless all went well."""
        status = answer.status
        if status < 300:
            return
        code, complaint = _complaint(answer)
        known = {each.value: each.phrase.lower() for each in HTTPStatus}
        words = complaint or known.get(status, "not an HTTP status")
        remedy = "try again later" if status in BUSY else "see the registry"
        seconds = answer.headers.get("Retry-After", "")
        if status in BUSY and seconds.isascii() and seconds.isdecimal():
            words += f" (to be asked again in {seconds[:9]} seconds)"
        if status == 404:
            remedy = "make the repository first, if there is none; for ECR: dlc ecr apply"
        if status in {401, 403}:
            remedy = f"run `docker login {self.host}` with an account that has permission"
        message = f"{self.host}: {what}: {status} {words}"
        raise RegistryError(message, remedy=remedy, status=status, code=code)

    def document(self, content: bytes, what: str, shape: Mapping[str, Any]) -> dict[str, Any]:
        """A JSON object of a shape (builder.registry.responses); RegistryError if it is not one."""
        found = json_object(content)
        if found is None:
            raise self.error(f"{what} is not a JSON object", "see the registry")
        if why := misshapen(found, shape):
            raise self.error(f"{what} is malformed: {why}", "see the registry")
        return found


def _origin(address: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of an address; ValueError if it is none."""
    parts = urlsplit(address)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname or "", port


def _challenges(text: str) -> list[tuple[str, dict[str, str]]]:
    """The challenges of a WWW-Authenticate header: their kind and what they say.

    >>> _challenges('Basic realm="a", Bearer realm="https://b/?c",scope="d:pull,push"')
    [('basic', {'realm': 'a'}), ('bearer', {'realm': 'https://b/?c', 'scope': 'd:pull,push'})]
    """
    found: list[tuple[str, dict[str, str]]] = []
    pattern = r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))|([A-Za-z]+)(?=\s+\w+\s*=|\s*(?:,|$))'
    for match in re.finditer(pattern, text):
        if match[4]:
            found.append((match[4].lower(), {}))
        elif found:
            found[-1][1][match[1].lower()] = match[2] if match[2] is not None else match[3]
    return found


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()


def _complaint(answer: Answer) -> tuple[str, str]:
    """The registry's code and words of an error, where it has them."""
    with suppress(TypeError, KeyError, IndexError):
        first = (json_object(answer.content) or {})["errors"][0]
        if not isinstance(first, dict):
            return "", ""
        words = str(first.get("message") or "")
        detail = first.get("detail")
        if isinstance(detail, str):
            words = f"{words} ({detail})" if words else detail
        return str(first.get("code", "")), printable(words)[:500]
    return "", ""
