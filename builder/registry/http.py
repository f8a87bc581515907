"""How registries are talked to: over HTTP, patiently, and as somebody they know.

What can be asked twice without harm is asked again, with growing pauses, when the registry has too
much to do (429, 5xx) or the connection breaks. A token that is no longer taken is replaced.

A registry is not trusted. No question takes longer than the patience that it was given, whatever
the registry does; no answer is read beyond a limit; a login goes to no other host than its own.
"""

from __future__ import annotations

import base64
import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urljoin, urlsplit

from builder.errors import Interrupted, RegistryError
from builder.registry.auth import Login, Logins
from builder.registry.responses import TOKEN, json_object, misshapen
from builder.util.http import BUSY, is_loopback
from builder.util.text import causes, system_words

if TYPE_CHECKING:
    import requests

__all__ = ["PATIENCE", "Answer", "Body", "Connection", "NoAnswerError"]

TRIES = 6
_CONNECTING = 4
PATIENCE = 90.0  # seconds
_SMALL_BYTES = 1 << 20
_ERROR_BYTES = 1 << 16
_LONGEST_PAUSE = 30.0
_SOCKET_SECONDS = 60.0  # between two bytes, so that a thread that nobody waits for ends, too

_T = TypeVar("_T")


class NoAnswerError(RegistryError):
    """A question without a whole answer; another time there may be one."""


class Body(Protocol):
    """What is too large to be sent from memory; it can be sent again from its start."""

    moved: float  # when bytes of it last went, by time.monotonic

    def __len__(self) -> int: ...

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""

    def tell(self) -> int:
        """Where it is."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go elsewhere in it."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a registry answered: `content` is all of it, or the beginning of an error's."""

    status: int
    url: str
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    following: str = ""

    @property
    def media_type(self) -> str:
        """What it says it is."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip()


class Connection:
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
        self.host = host
        self._logins = logins
        address = "registry-1.docker.io" if host in {"docker.io", "index.docker.io"} else host
        self._scheme = "http" if is_loopback(host) else "https"
        self._root = f"{self._scheme}://{address}/v2/"
        self.pause, self._retries = pause, retries
        self.patience, self.stop = patience, stop or threading.Event()
        self._session: requests.Session | None = None
        self._headers: dict[str, str] = {}  # what was last taken, by repository
        self._lock = threading.Lock()  # of the headers: held while a token is asked for
        self._opening = threading.Lock()

    def ask(
        self,
        method: str,
        path: str,
        repository: str,
        *,
        accept: Iterable[str] = (),
        data: bytes | Body | None = None,
        headers: Mapping[str, str] | None = None,
        most: int = _SMALL_BYTES,
        once: bool = False,
    ) -> Answer:
        """The registry's answer, of `most` bytes, after it was told who asks if it wants to know.

        What may go well next time is asked again, unless it is to be asked only `once`. Interrupted
        if that is wanted; RegistryError if there is no answer, or too large a one.
        """
        address = self._address(path)
        said = {"Accept": ", ".join((*accept, "application/json")), **(headers or {})}
        until = time.monotonic() + self.patience
        options: dict[str, Any] = {"headers": said, "data": data, "most": most, "once": once}
        if not self.is_own(address):  # a place to upload to that is somebody else's
            return self._send(method, address, "", until, **options)
        with self._lock:
            authorization = self._headers.get(repository, "")
        answer = self._send(method, address, authorization, until, **options)
        if answer.status != 401:
            return answer
        # Another thread may have replaced a token that ran out already.
        with self._lock:
            fresh = self._headers.get(repository, "")
            if fresh == authorization:
                fresh = self._authorization(answer, repository, method, until)
                self._headers[repository] = fresh
        answer = self._send(method, address, fresh, until, **options)
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
        for kind, said in _challenges(answer.headers.get("WWW-Authenticate", "")):
            if kind == "basic" and login and login.user:
                return _basic(login)
            if kind == "bearer":
                return f"Bearer {self._token(said, login, repository, method, until)}"
        raise self.error("authentication required", f"run `docker login {self.host}`")

    def _token(
        self,
        said: Mapping[str, str],
        login: Login | None,
        repository: str,
        method: str,
        until: float,
    ) -> str:
        realm, scheme = said.get("realm", ""), ""
        with suppress(ValueError):
            scheme = urlsplit(realm).scheme
        if scheme not in {"https", self._scheme}:
            raise self.error(f"its token server {realm[:80]!r} has no https://", "see the registry")
        # The challenge names what this question needs; what follows will need no less.
        actions = "pull" if method in {"GET", "HEAD"} else "pull,push"
        asked = {"scope": said.get("scope") or f"repository:{repository}:{actions}"}
        if "service" in said:
            asked["service"] = said["service"]
        if login and login.identity_token:
            form = {"grant_type": "refresh_token", "client_id": "dlc", **asked}
            form["refresh_token"] = login.identity_token
            # It leads nowhere else: the form is the login.
            answer = self._send("POST", realm, "", until, data=form, allow_redirects=False)
        else:
            header = _basic(login) if login else ""
            answer = self._send("GET", realm, header, until, params=asked)
        if answer.status in {400, 401, 403}:
            raise self.error(
                "its token server rejected the credentials", f"run `docker login {self.host}`"
            )
        self.refuse(answer, "its token server")
        told = self.document(answer.content, "what its token server says", TOKEN)
        token = told.get("token") or told.get("access_token")
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise self.error("its token server gives no token", "see the registry")
        return token

    def _send(
        self,
        method: str,
        address: str,
        authorization: str,
        until: float,
        *,
        once: bool = False,
        **options: Any,
    ) -> Answer:
        """One request, and again where that may help; the last answer, whatever it is."""
        import requests

        data = options.get("data")
        body: Body | None = None if data is None or isinstance(data, bytes | dict) else data
        for again in range(self._retries + 1):
            if body is not None:
                body.seek(0)
            answer, error = None, None
            try:
                answer = self._bounded(
                    lambda: self._one(method, address, authorization, **options),
                    until,
                    body,
                )
            except (requests.RequestException, ValueError, OSError) as broken:
                error = broken
            pause = min(self.pause * 2**again if again else 0.0, _LONGEST_PAUSE)
            if answer is not None:
                if answer.status not in BUSY:
                    return answer
                told = answer.headers.get("Retry-After", "")
                if told.isascii() and told.isdecimal():
                    pause = float(told[:9])
            tries = min(self._retries, TRIES if answer else _CONNECTING)
            last = once or again == tries or time.monotonic() + pause > until
            if last and answer is not None:
                return answer
            if last or isinstance(error, ValueError):  # an address that is none
                kind = RegistryError if isinstance(error, ValueError) else NoAnswerError
                raise kind(
                    f"{self.host}: {_reason(error)}",
                    remedy="see that it runs and can be reached, then try again",
                ) from error
            if self.stop.wait(pause):
                raise Interrupted("interrupted")
        raise AssertionError("unreachable")

    def _one(
        self,
        method: str,
        address: str,
        authorization: str,
        *,
        most: int = _SMALL_BYTES,
        **options: Any,
    ) -> Answer:
        """One request and its answer; requests' errors, also where the answer breaks off."""

        def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
            if authorization:
                request.headers["Authorization"] = authorization
            return request

        with self._opened().request(
            method,
            address,
            auth=sign,  # also keeps a .netrc out of it
            stream=True,
            timeout=(10.0, _SOCKET_SECONDS),
            **options,
        ) as answer:
            failed = answer.status_code >= 300
            content = b""
            for part in answer.iter_content(1 << 16):
                content += part
                if failed and len(content) >= _ERROR_BYTES:
                    break
                if len(content) > most:
                    raise self.error(
                        f"it answers {urlsplit(address).path[:200]} with more than {most} bytes",
                        "see the registry",
                    )
            return Answer(
                status=answer.status_code,
                url=answer.url,
                headers=answer.headers,
                content=content[:_ERROR_BYTES] if failed else content,
                following=answer.links.get("next", {}).get("url", ""),
            )

    def _bounded(self, do: Callable[[], _T], until: float, body: Body | None) -> _T:
        """What `do` gives, or what it raises; RegistryError if that takes too long.

        A server that sends a byte now and then breaks no limit of a socket's. So it is done in a
        thread, which is left behind, and ends with the process at the latest.
        """
        done: queue.Queue[tuple[_T | None, BaseException | None]] = queue.Queue()

        def work() -> None:
            try:
                done.put((do(), None))
            except BaseException as error:
                done.put((None, error))

        threading.Thread(target=work, daemon=True).start()
        while True:
            try:
                found, error = done.get(timeout=0.2)
            except queue.Empty:
                if self.stop.is_set():
                    raise Interrupted("interrupted") from None
                limit = max(until, body.moved + self.patience) if body is not None else until
                if time.monotonic() > limit:
                    raise NoAnswerError(
                        f"{self.host}: no whole answer within {self.patience:g} seconds",
                        remedy="see that it runs and can be reached, then try again",
                    ) from None
                continue
            if error is not None:
                raise error
            return found  # type: ignore[return-value]

    def _opened(self) -> requests.Session:
        from builder.util.http import Session

        with self._opening:
            if self._session is None:
                self._session = Session(retries=0, pool=16)
            return self._session

    def refuse(self, answer: Answer, what: str) -> None:
        """Raise RegistryError, with the registry's own words, unless all went well."""
        status = answer.status
        if status < 300:
            return
        code, said = _complaint(answer)
        known = {each.value: each.phrase.lower() for each in HTTPStatus}
        words = said or known.get(status, "not an HTTP status")
        remedy = "try again later" if status in BUSY else "see the registry"
        told = answer.headers.get("Retry-After", "")
        if status in BUSY and told.isascii() and told.isdecimal():
            words += f" (to be asked again in {told[:9]} seconds)"
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

    def error(self, message: str, remedy: str) -> RegistryError:
        """An error that names the registry."""
        return RegistryError(f"{self.host}: {message}", remedy=remedy)


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
        return str(first.get("code", "")), _printable(words)[:500]
    return "", ""


def _printable(text: str) -> str:
    """The same on one line, without what steers a terminal."""
    return re.sub(r"[^\x20-\x7e]+", " ", text)


def _reason(error: BaseException | None) -> str:
    """A few words for what broke a connection, from under what the libraries wrapped it in."""
    if error is None:
        return "no answer"
    if words := system_words(error):
        return words
    text = _printable(str(causes(error)[-1]).rpartition(": ")[2]).strip()
    return text[:200] or type(error).__name__
