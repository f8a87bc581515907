"""How registries are talked to: over HTTP, patiently, and as somebody they know.

What can be asked twice without harm is asked again, with growing pauses, when the registry has too
much to do (429, 5xx) or the connection breaks. A token that is no longer taken is replaced.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from builder.errors import RegistryError
from builder.registry.auth import Login, Logins
from builder.registry.responses import TOKEN, json_object, misshapen
from builder.util.http import BUSY, is_loopback
from builder.util.text import causes, system_words

if TYPE_CHECKING:
    import requests

__all__ = ["Connection", "media_type"]

TRIES = 6
_TOKEN_BYTES = 1 << 20


class Connection:
    """The way to one registry; its methods may be called from several threads."""

    def __init__(self, host: str, *, logins: Logins, pause: float, retries: int = TRIES) -> None:
        """`pause` is that before the second of the `retries`, in seconds, then doubled."""
        self.host = host
        self._logins = logins
        address = "registry-1.docker.io" if host in {"docker.io", "index.docker.io"} else host
        self._scheme = "http" if is_loopback(host) else "https"
        self._root = f"{self._scheme}://{address}/v2/"
        self._pause, self._retries = pause, retries
        self._session: requests.Session | None = None
        self._headers: dict[str, str] = {}  # what was last taken, by repository
        self._lock = threading.RLock()  # whoever asks for a token sends, too

    def read(
        self, path: str, repository: str, what: str, *, most: int, accept: Iterable[str] = ()
    ) -> tuple[requests.Response, bytes] | None:
        """An answer and its body, asked for again if it breaks off; None if there is none."""
        import requests

        for left in reversed(range(TRIES)):
            with self.ask("GET", path, repository, accept=accept) as answer:
                if answer.status_code == 404:
                    return None
                self.refuse(answer, what)
                try:
                    return answer, self._content(answer, most, what)
                except requests.RequestException as error:
                    if not left:
                        raise self.error(f"{what}: {_reason(error)}", "try again") from error
            time.sleep(self._pause)
        raise AssertionError("unreachable")

    def ask(
        self,
        method: str,
        path: str,
        repository: str,
        *,
        accept: Iterable[str] = (),
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """The registry's answer, after it was told who asks if it wants to know."""
        address = urljoin(self._root, path)
        said = {"Accept": ", ".join((*accept, "application/json")), **(headers or {})}
        with self._lock:
            authorization = self._headers.get(repository, "")
        answer = self._send(method, address, authorization, headers=said, data=data)
        if answer.status_code != 401:
            return answer
        # Another thread may have replaced a token that ran out already.
        with self._lock:
            fresh = self._headers.get(repository, "")
            if fresh == authorization:
                fresh = self._authorization(answer, repository, method)
                self._headers[repository] = fresh
        answer.close()
        answer = self._send(method, address, fresh, headers=said, data=data)
        if answer.status_code == 401 and fresh:
            with self._lock:
                self._headers.pop(repository, None)
        return answer

    def _authorization(self, answer: requests.Response, repository: str, method: str) -> str:
        """What a registry that wants to know who asks is told; RegistryError without a login."""
        login = self._logins(self.host)
        for kind, said in _challenges(answer.headers.get("WWW-Authenticate", "")):
            if kind == "basic" and login and login.user:
                return _basic(login)
            if kind == "bearer":
                return f"Bearer {self._token(said, login, repository, method)}"
        raise self.error("it wants a user and a password", f"run `docker login {self.host}`")

    def _token(
        self, said: Mapping[str, str], login: Login | None, repository: str, method: str
    ) -> str:
        realm, scheme = said.get("realm", ""), ""
        with suppress(ValueError):
            scheme = urlsplit(realm).scheme
        if scheme not in {"https", self._scheme}:
            raise self.error(f"its token server {realm!r} has no https://", "see the registry")
        # The challenge names what this question needs; what follows will need no less.
        actions = "pull" if method in {"GET", "HEAD"} else "pull,push"
        asked = {"scope": said.get("scope") or f"repository:{repository}:{actions}"}
        if "service" in said:
            asked["service"] = said["service"]
        if login and login.identity_token:
            form = {"grant_type": "refresh_token", "client_id": "dlc", **asked}
            form["refresh_token"] = login.identity_token
            answer = self._send("POST", realm, "", data=form)
        else:
            header = _basic(login) if login else ""
            answer = self._send("GET", realm, header, params=asked)
        with answer:
            if answer.status_code in {400, 401, 403}:
                raise self.error(
                    "its token server does not take the login",
                    f"run `docker login {self.host}`",
                )
            self.refuse(answer, "its token server")
            content = self._content(answer, _TOKEN_BYTES, "a token")
            told = self.document(content, "what its token server says", TOKEN)
        token = told.get("token") or told.get("access_token")
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise self.error("its token server gives no token", "see the registry")
        return token

    def _send(
        self, method: str, address: str, authorization: str, **options: Any
    ) -> requests.Response:
        """One request, and again where that may help; the last answer, whatever it is."""
        import requests

        def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
            if authorization:
                request.headers["Authorization"] = authorization
            return request

        session = self._opened()
        try:
            return session.request(
                method,
                address,
                auth=sign,  # also keeps a .netrc out of it
                stream=method == "GET",
                **options,
            )
        except (
            requests.RequestException,
            ValueError,
        ) as error:  # an address that is none is either
            raise self.error(
                _reason(error), "see that it runs and can be reached, then try again"
            ) from error

    def _opened(self) -> requests.Session:
        from builder.util.http import Session

        with self._lock:
            if self._session is None:
                self._session = Session(pause=self._pause, retries=self._retries, pool=16)
            return self._session

    def _content(self, answer: requests.Response, most: int, what: str) -> bytes:
        """The whole body, which must be small; requests' errors if it breaks off."""
        content = b""
        for part in answer.iter_content(1 << 16):
            content += part
            if len(content) > most:
                raise self.error(f"{what} is larger than {most} bytes", "ask for another")
        return content

    def refuse(self, answer: requests.Response, what: str) -> None:
        """Raise RegistryError, with the registry's own words, unless all went well."""
        status = answer.status_code
        if status < 300:
            return
        code, said = _complaint(answer)
        known = {each.value: each.phrase.lower() for each in HTTPStatus}
        words = said or known.get(status, "no status of HTTP")
        remedy = "try again later" if status in BUSY else "see the registry"
        if status == 404:
            remedy = "make the repository first, if there is none; for ECR: dlc ecr apply"
        if status in {401, 403}:
            remedy = f"run `docker login {self.host}` as somebody who may"
        message = f"{self.host}: {what}: {status} {words}"
        raise RegistryError(message, remedy=remedy, status=status, code=code)

    def document(self, content: bytes, what: str, shape: Mapping[str, Any]) -> dict[str, Any]:
        """A JSON object of a shape (builder.registry.responses); RegistryError if it is not one."""
        found = json_object(content)
        if found is None:
            raise self.error(f"{what} is no JSON object", "see the registry")
        if why := misshapen(found, shape):
            raise self.error(f"{what} makes no sense: {why}", "see the registry")
        return found

    def error(self, message: str, remedy: str) -> RegistryError:
        """An error that names the registry."""
        return RegistryError(f"{self.host}: {message}", remedy=remedy)


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


def media_type(answer: requests.Response) -> str:
    """What an answer says it is."""
    return answer.headers.get("Content-Type", "").partition(";")[0].strip()


def _complaint(answer: requests.Response) -> tuple[str, str]:
    """The registry's code and words of an error, where it has them."""
    import requests

    with suppress(TypeError, KeyError, IndexError, requests.RequestException):
        content = b"".join(answer.iter_content(1 << 16))[:_TOKEN_BYTES]
        first = (json_object(content) or {})["errors"][0]
        if not isinstance(first, dict):
            return "", ""
        words = re.sub(r"[^\x20-\x7e]+", " ", str(first.get("message") or ""))
        detail = first.get("detail")
        if isinstance(detail, str):
            words = f"{words} ({detail})" if words else detail
        return str(first.get("code", "")), words[:500]
    return "", ""


def _reason(error: BaseException) -> str:
    """A few words for what broke a connection, from under what the libraries wrapped it in."""
    if words := system_words(error):
        return words
    text = re.sub(r"[^\x20-\x7e]+", " ", str(causes(error)[-1]).rpartition(": ")[2]).strip()
    return text[:200] or type(error).__name__
