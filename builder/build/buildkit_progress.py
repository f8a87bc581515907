"""BuildKit's own account of a solve, `--progress=rawjson`, as steps and their output.

buildx 0.13 writes a stream of indented JSON objects, with errors as plain text between or after
them, so it is read with a streaming decoder that lets through what is not JSON.
"""

from __future__ import annotations

import base64
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

__all__ = ["Solve", "Step", "decode"]

_NUMBERED = re.compile(
    r"\[(?:(?P<stage>\S+) +)?(?P<number>\d+)/(?P<of>\d+)\] (?P<text>.*)", re.DOTALL
)
_TIME = re.compile(r"(\S+T\d\d:\d\d:\d\d)(?:\.(\d{1,6})\d*)?(Z|[+-]\d\d:\d\d)")
_KEPT_LINES = 200


@dataclass(kw_only=True, slots=True)
class Step:
    """One vertex of a solve: a Dockerfile's instruction, or something BuildKit does itself."""

    name: str
    started: datetime | None = None
    completed: datetime | None = None
    cached: bool = False
    error: str = ""
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))
    _unfinished: bytes = b""

    @property
    def title(self) -> str:
        """The instruction on one line, without mount flags."""
        match = _NUMBERED.match(self.name)
        text = " ".join((match["text"] if match else self.name).split())
        text = re.sub(r"^(RUN|COPY)(?: --\S+)+", r"\1", text)
        return (
            f"{match['stage'] or 'stage'} {match['number']}/{match['of']} {text}" if match else text
        )

    @property
    def seconds(self) -> float:
        """How long it ran; 0 while it has not ended."""
        if self.started is None or self.completed is None:
            return 0.0
        return (self.completed - self.started).total_seconds()

    def add(self, output: bytes) -> None:
        """Take output in; a line, even a letter, may come in several pieces."""
        if self._unfinished:
            self.lines.pop()
        *lines, self._unfinished = (self._unfinished + output).split(b"\n")
        if self._unfinished:
            lines.append(self._unfinished)
        for line in lines:
            # A carriage return repaints the line: only what stands last is ever seen.
            text = line.decode("utf-8", "replace").rstrip("\r")
            self.lines.append(text.rsplit("\r", 1)[-1])


@dataclass(kw_only=True, slots=True)
class Solve:
    """All steps of one solve so far, by digest."""

    steps: dict[str, Step] = field(default_factory=dict)

    def feed(self, message: dict[str, Any]) -> Iterator[Step]:
        """Take one message in; yields the steps that it says have started or ended."""
        for vertex in message.get("vertexes") or ():
            step = self.steps.setdefault(vertex["digest"], Step(name=vertex.get("name", "")))
            before = (step.started, step.completed)
            step.started = _time(vertex.get("started")) or step.started
            step.completed = _time(vertex.get("completed")) or step.completed
            step.cached = vertex.get("cached", step.cached)
            step.error = vertex.get("error") or step.error
            if (step.started, step.completed) != before:
                yield step
        for log in message.get("logs") or ():
            found = self.steps.get(log.get("vertex", ""))
            if found is not None:
                found.add(base64.b64decode(log.get("data", "")))

    @property
    def failed(self) -> Step | None:
        """The step that made the solve fail; steps cancelled along with it do not count."""
        wrong = [step for step in self.steps.values() if step.error]
        own = [step for step in wrong if "context canceled" not in step.error]
        return next(iter(own or wrong), None)

    @property
    def from_cache(self) -> bool:
        """Whether every instruction was, or what installs the libraries.

        Then it tells nothing of how long another build takes.
        """
        numbered = (step for step in self.steps.values() if _NUMBERED.match(step.name))
        everything = all(step.cached for step in numbered if " FROM " not in step.name)
        return everything or self._installed_before("libraries.lock")

    @property
    def on_a_cached_framework(self) -> bool:
        """Whether what installs the framework was: another build may take longer by that."""
        return self._installed_before("framework.lock")

    def _installed_before(self, lock: str) -> bool:
        return any(
            step.cached and f"/install.sh /opt/dlc/{lock}" in step.name
            for step in self.steps.values()
        )

    @property
    def counts(self) -> tuple[int, int]:
        """Instructions that ended, and instructions that are known."""
        numbered = [step for step in self.steps.values() if _NUMBERED.match(step.name)]
        return sum(step.completed is not None for step in numbered), len(numbered)


def decode(chunks: Iterable[str]) -> Iterator[dict[str, Any] | str]:
    """JSON objects of a stream, and the lines between them that are none, in order.

    An object begins at the start of a line and ends at the end of one. Blank lines are left out.
    """
    pending: list[str] = []  # the lines of an object that has not ended yet
    for line in _lines(chunks):
        if not pending and not line.startswith("{"):
            yield from _text([line])
            continue
        pending.append(line)
        # `{` alone opens an indented object, which ends in a `}` that is not indented.
        if pending[0].rstrip() == "{" and not line.startswith("}"):
            continue
        try:
            yield json.loads("".join(pending))
        except json.JSONDecodeError:
            yield from _text(pending)
        pending = []
    yield from _text(pending)


def _lines(chunks: Iterable[str]) -> Iterator[str]:
    rest = ""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split("\n")
        yield from lines
    yield rest


def _text(lines: Iterable[str]) -> Iterator[str]:
    return (text for line in lines if (text := line.rstrip()))


def _time(text: str | None) -> datetime | None:
    # Python 3.10 reads neither Z nor nanoseconds.
    match = _TIME.fullmatch(text or "")
    if not match:
        return None
    zone = "+00:00" if match[3] == "Z" else match[3]
    return datetime.fromisoformat(f"{match[1]}.{(match[2] or '').ljust(6, '0')}{zone}")
