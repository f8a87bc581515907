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

from builder.engine.failures import limit_remedy
from builder.errors import RegistryError
from builder.registry.auth import Login, Logins
from builder.registry.challenges import READING, challenges, scopes_of
from builder.registry.exchange import (
    PATIENCE,
    SMALL_BYTES,
    TRIES,
    Answer,
    Body,
    Exchange,
)
from builder.registry.limits import limit_words
from builder.registry.responses import TOKEN, complaint, github_remedy, json_object, misshapen
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
        self._reading: dict[str, Answer] = {}  # what asked for tokens that were got to read alone
        self._known = False  # whether it was told who asks
        self.largest_chunk = 0  # bytes that it takes in one request, once it has told so
        self.counts_bytes = True  # whether what it says that it has of an upload is right
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
        asking = self._reading.get(repository) if answer.status == 403 else answer
        # With a token that is for less, some answer 403, and say no more what they want.
        if asking is None or (answer.status == 403 and method in READING):
            return answer
        if asking.status != 401:
            return answer
        # Another thread may have replaced a token that ran out already.
        with self._lock:
            fresh = self._headers.get(repository, "")
            if fresh == authorization:
                fresh = self._authorization(asking, repository, method, until)
                self._headers[repository] = fresh
                self._reading.pop(repository, None)
                if method in READING:
                    self._reading[repository] = asking
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
        self._known = login is not None
        for kind, challenge in challenges(answer.headers.get("WWW-Authenticate", "")):
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
        scopes = scopes_of(challenge.get("scope", ""), repository, method)
        asked = {"scope": " ".join(scopes)}
        if "service" in challenge:
            asked["service"] = challenge["service"]
        if login and login.identity_token:
            form = {"grant_type": "refresh_token", "client_id": "dlc", **asked}
            form["refresh_token"] = login.identity_token
            # It leads nowhere else: the form is the login.
            answer = self.send("POST", realm, "", until, data=form, allow_redirects=False)
        else:
            header = _basic(login) if login else ""
            # One for each: not every token server takes two that are parted by a space.
            answer = self.send("GET", realm, header, until, params={**asked, "scope": scopes})
        if answer.status in {400, 401, 403}:
            raise self._no_token(answer, login, repository)
        self.refuse(answer, "its token server")
        answered = self.document(answer.content, "what its token server says", TOKEN)
        token = answered.get("token") or answered.get("access_token")
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise self.error("its token server gives no token", "see the registry")
        return token

    def _no_token(self, answer: Answer, login: Login | None, repository: str) -> RegistryError:
        """Why a token server gives none: GitHub's has none for what is private, or not there."""
        said = complaint(answer.content, answer.media_type)[1]
        words = f"{answer.status} {said}".strip()
        remedy = f"run `docker login {self.host}`"
        if login is None:
            what = f"{repository} is not there, or not for everybody"
        elif answer.status == 403:
            what = f"its token server gives no access to {repository}"
            remedy += " with an account that has permission"
        else:
            what = "its token server rejected the credentials"
        message = f"{self.host}: {what} ({words})"
        return RegistryError(message, remedy=github_remedy(said) or remedy, status=answer.status)

    def refuse(self, answer: Answer, what: str) -> None:
        """Raise RegistryError, with the registry's own words, unless all went well."""
        status = answer.status
        if status < 300:
            return
        code, said = complaint(answer.content, answer.media_type)
        known = {each.value: each.phrase.lower() for each in HTTPStatus}
        words = said or known.get(status, "not an HTTP status")
        remedy = "try again later" if status in BUSY else "see the registry"
        if status in BUSY and (limits := limit_words(answer.headers)):
            words += f" ({limits})"
        if status == 429:
            remedy = limit_remedy(self.host, known=self._known)
        if status == 413:
            remedy = "see how large a request the registry takes, or what stands before it"
        if status == 404:
            remedy = "make the repository first, if there is none; for ECR: dlc ecr apply"
        if status in {401, 403}:
            remedy = f"run `docker login {self.host}` with an account that has permission"
            remedy = github_remedy(words) or remedy
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


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
