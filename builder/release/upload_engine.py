"""Uploads an image by the engine's own push, which shares layers, resumes and knows its proxies.

The engine sends a layer once for each repository, and takes it from another repository of the same
registry if it was there first. So a push waits for layers that another repository is getting.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from builder.errors import Interrupted, PushError

if TYPE_CHECKING:
    import docker

    from builder.engine.connection import Engine
    from builder.registry.auth import Login

__all__ = ["Bytes", "PushWatcher", "Turns", "Upload", "upload"]

PAUSE = 1.0  # seconds before the second attempt, then doubled
SILENCE = 300  # seconds without a word from the engine
# What will be the same next time, in the words of engines and registries.
_FINAL = re.compile(
    r"denied|forbidden|no basic auth|does not exist|name unknown|name invalid|immutable"
    r"|unsupported|no such image|server gave HTTP response|x509",
    re.IGNORECASE,
)
# How engines with containerd's image store tell the digest: in their last line, and no `aux`.
_DIGEST = re.compile(r".+: digest: (sha256:[0-9a-f]{64}) size: \d+")
_LOGIN = re.compile(r"unauthorized|authentication required", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bytes:
    """How far an upload is: bytes before compression of the layers that have to go, and layers."""

    done: int
    total: int
    layers: int
    of_layers: int


class Turns:
    """Who sends which layer now, so that no two repositories get the same one at the same time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._senders: dict[str, str] = {}  # repository, by layer

    @contextlib.contextmanager
    def taken(
        self, repository: str, layers: Iterable[str], stop: threading.Event
    ) -> Iterator[Callable[[str], None]]:
        """Wait until no other repository is getting a layer; gives what tells that one is done."""
        wanted = frozenset(layers)
        with self._changed:
            while any(self._senders.get(each, repository) != repository for each in wanted):
                if stop.is_set():
                    raise Interrupted("interrupted")
                self._changed.wait(0.2)
            mine = {each for each in wanted if each not in self._senders}
            self._senders.update(dict.fromkeys(mine, repository))

        def done(layer: str) -> None:
            with self._changed:
                if layer in mine:
                    mine.discard(layer)
                    del self._senders[layer]
                    self._changed.notify_all()

        try:
            yield done
        finally:
            for each in list(mine):
                done(each)


class Upload:
    """What the engine's events of one push add up to; events are one JSON object each.

    >>> upload = Upload(layers=2)
    >>> upload.feed({"id": "a", "status": "Layer already exists"})
    'a'
    >>> upload.feed({"id": "b", "status": "Pushing",
    ...              "progressDetail": {"current": 3, "total": 9}})
    ''
    >>> upload.bytes
    Bytes(done=3, total=9, layers=1, of_layers=2)
    """

    def __init__(self, *, layers: int) -> None:
        self._layers = layers
        self._current: dict[str, int] = {}
        self._total: dict[str, int] = {}
        self._ended: set[str] = set()
        self.digest = ""

    def feed(self, event: Mapping[str, Any]) -> str:
        """Take an event; the layer that it ends, if it does.

        PushError, in the engine's words, for an event that is an error.
        """
        if "error" in event:
            raise PushError(str(event["error"]).strip())
        if digest := (event.get("aux") or {}).get("Digest"):
            self.digest = digest
        layer, status = event.get("id", ""), event.get("status", "")
        if match := _DIGEST.fullmatch(status):
            self.digest = match[1]
        if status == "Pushing":
            told = event.get("progressDetail") or {}
            total = max(told.get("total", 0), self._total.get(layer, 0))
            self._total[layer] = total
            self._current[layer] = min(told.get("current", 0), total)
        elif status.startswith("Retrying"):
            self._current[layer] = 0
        elif layer not in self._ended and re.match("Pushed|Layer already|Mounted from", status):
            self._ended.add(layer)
            self._current[layer] = self._total.get(layer, 0)
            return str(layer)
        return ""

    @property
    def bytes(self) -> Bytes:
        """How far it is."""
        return Bytes(
            done=sum(self._current.values()),
            total=sum(self._total.values()),
            layers=len(self._ended),
            of_layers=self._layers,
        )


def upload(
    engine: Engine,
    image_id: str,
    repository: str,
    tag: str,
    *,
    layers: Iterable[str],
    login: Callable[[], Login | None],
    turns: Turns,
    stop: threading.Event,
    patience: float,
    moved: Callable[[Bytes], None],
    say: Callable[[str], None],
) -> str:
    """Push an image of the engine as repository:tag; its digest there.

    What may go well next time is tried again, unless no layer got through in `patience` seconds;
    `login` is asked anew each time. The engine's own
    tag of that name, if there is one, is as before when this returns. PushError if it cannot be.
    """
    # The engine names a layer in its events by the first digits of what it is when unpacked.
    names = {each.removeprefix("sha256:")[:12] for each in layers}
    state = Upload(layers=len(names))
    with (
        turns.taken(repository, names, stop) as done,
        contextlib.closing(engine.client(timeout=SILENCE)) as client,
        _tagged(client, image_id, repository, tag),
    ):
        refused = attempt = 0
        layers_before, since = 0, time.monotonic()
        while True:
            try:
                _once(client, repository, tag, login(), state, done, stop, moved)
            except PushError as error:
                refused += bool(_LOGIN.search(error.message))
                if state.bytes.layers > layers_before:
                    layers_before, since = state.bytes.layers, time.monotonic()
                    refused = attempt = 0
                final = _FINAL.search(error.message) or refused > 1
                if final or time.monotonic() - since > patience:
                    raise PushError(
                        f"{repository}:{tag}: {error.message}", remedy=_remedy(error.message)
                    ) from error
                seconds = PAUSE * 2**attempt
                attempt = min(attempt + 1, 4)
                say(f"{error.message}; again in {seconds:g} s")
                if stop.wait(seconds):
                    raise Interrupted("interrupted") from None
            else:
                return state.digest


def _once(
    client: docker.DockerClient,
    repository: str,
    tag: str,
    login: Login | None,
    state: Upload,
    done: Callable[[str], None],
    stop: threading.Event,
    moved: Callable[[Bytes], None],
) -> None:
    import docker.errors
    import requests

    state.digest = ""
    try:
        events = client.images.push(
            repository,
            tag=tag,
            stream=True,
            decode=True,
            # Without it, docker-py would look again, with its own idea of the configuration.
            auth_config=login.engine() if login else {},
        )
        with contextlib.closing(events):
            for event in events:
                if stop.is_set():
                    raise Interrupted("interrupted")
                if layer := state.feed(event):
                    done(layer)
                moved(state.bytes)
    except docker.errors.APIError as error:
        raise PushError(str(error.explanation or error)) from error
    except requests.RequestException as error:
        raise PushError(f"the engine: {error}") from error
    if not state.digest:
        raise PushError("the engine told no digest")


@contextlib.contextmanager
def _tagged(
    client: docker.DockerClient, image_id: str, repository: str, tag: str
) -> Iterator[None]:
    """The name that the engine pushes by, and afterwards what was there before."""
    import docker.errors

    reference = f"{repository}:{tag}"
    try:
        before = client.images.get(reference)
    except docker.errors.ImageNotFound:
        before = None
    client.images.get(image_id).tag(repository, tag)
    try:
        yield
    finally:
        if before is None:
            client.images.remove(reference, noprune=True)
        else:  # the user's own tag
            before.tag(repository, tag)


def _remedy(message: str) -> str:
    if _LOGIN.search(message) or re.search("denied|no basic auth", message, re.IGNORECASE):
        return "run `docker login` for it as somebody who may push"
    if re.search("name unknown|does not exist", message, re.IGNORECASE):
        return "make the repository first; for ECR: dlc ecr apply"
    return "see that the registry runs and has room, then push again: what is there stays"


class PushWatcher(Protocol):
    """Who is told how pushes go, from several threads; `name` is a target's."""

    def moved(self, name: str, done: Bytes) -> None:
        """Bytes have gone."""

    def news(self, name: str, text: str) -> None:
        """Something happened that a user wants to know."""

    def ended(self, name: str) -> None:
        """It is over, well or not."""
