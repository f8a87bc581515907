"""Single questions to a host, asked again where that helps, each over within its patience.

No question takes longer than it was given, whatever the host does, and no answer is read beyond a
limit. What can be asked twice without harm is asked again, with growing pauses, when the host has
too much to do (429, 5xx) or the connection breaks.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlsplit

from builder.errors import Interrupted, RegistryError
from builder.registry.limits import is_used_up, retry_after
from builder.util.http import BUSY
from builder.util.text import causes, system_words

if TYPE_CHECKING:
    import requests

__all__ = [
    "PATIENCE",
    "SMALL_BYTES",
    "TRIES",
    "Answer",
    "Body",
    "Exchange",
    "NoAnswerError",
    "printable",
]

TRIES = 6
_CONNECTING = 4
PATIENCE = 90.0  # seconds
SMALL_BYTES = 1 << 20
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


class Exchange:
    """Questions to one host; its methods may be called from several threads."""

    def __init__(
        self, host: str, *, pause: float, retries: int, patience: float, stop: threading.Event
    ) -> None:
        """As of Connection, which adds who asks."""
        self.host = host
        self.pause, self._retries = pause, retries
        self.patience, self.stop = patience, stop
        self._session: requests.Session | None = None
        self._opening = threading.Lock()

    def send(
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
            answer, error, vain = None, None, False
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
                told = retry_after(answer.headers)
                pause = pause if told is None else told
                vain = answer.status == 429 and told is None and is_used_up(answer.headers)
            tries = min(self._retries, TRIES if answer else _CONNECTING)
            last = once or vain or again == tries or time.monotonic() + pause > until
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
        most: int = SMALL_BYTES,
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

    def error(self, message: str, remedy: str) -> RegistryError:
        """An error that names the registry."""
        return RegistryError(f"{self.host}: {message}", remedy=remedy)


def printable(text: str) -> str:
    """The same on one line, without what steers a terminal."""
    return re.sub(r"[^\x20-\x7e]+", " ", text)


def _reason(error: BaseException | None) -> str:
    """A few words for what broke a connection, from under what the libraries wrapped it in."""
    if error is None:
        return "no answer"
    if words := system_words(error):
        return words
    text = printable(str(causes(error)[-1]).rpartition(": ")[2]).strip()
    return text[:200] or type(error).__name__
