"""BuildKit's own account of a solve, `--progress=rawjson`, as steps and their output.

buildx 0.13 writes a stream of indented JSON objects, with errors as plain text between or after
them, so it is read with a streaming decoder that passes over what is not JSON.
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
    r"\[(?:(?P<stage>\S+) )?(?P<number>\d+)/(?P<of>\d+)\] (?P<text>.*)", re.DOTALL
)
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


@dataclass(kw_only=True, slots=True)
class Solve:
    """All steps of one solve so far, by digest."""

    steps: dict[str, Step] = field(default_factory=dict)
    _rest: dict[str, str] = field(default_factory=dict)

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
                text = base64.b64decode(log.get("data", "")).decode("utf-8", "replace")
                self._add(log["vertex"], found, text)

    def _add(self, digest: str, step: Step, text: str) -> None:
        """Keep whole lines; a line may come in several messages."""
        *lines, rest = (self._rest.pop(digest, "") + text).split("\n")
        # A carriage return repaints the line: only what stands last is ever seen.
        step.lines.extend(line.rstrip("\r").rsplit("\r", 1)[-1] for line in lines)
        if rest:
            self._rest[digest] = rest

    @property
    def failed(self) -> Step | None:
        """The step that made the solve fail; steps cancelled along with it do not count."""
        wrong = [step for step in self.steps.values() if step.error]
        own = [step for step in wrong if "context canceled" not in step.error]
        return next(iter(own or wrong), None)

    @property
    def counts(self) -> tuple[int, int]:
        """Instructions that ended, and instructions that are known."""
        numbered = [step for step in self.steps.values() if _NUMBERED.match(step.name)]
        return sum(step.completed is not None for step in numbered), len(numbered)


def decode(chunks: Iterable[str]) -> Iterator[dict[str, Any] | str]:
    """JSON objects of a stream, and the lines between them that are none, in order."""
    decoder = json.JSONDecoder()
    buffer = ""
    for chunk in chunks:
        buffer += chunk
        # An object ends on a line of its own; trying earlier would be quadratic in its lines.
        if buffer.startswith("{") and not chunk.startswith("}"):
            continue
        found, buffer = _parse(decoder, buffer)
        yield from found
    yield from (line for line in buffer.splitlines() if line.strip())


def _parse(decoder: json.JSONDecoder, buffer: str) -> tuple[list[dict[str, Any] | str], str]:
    found: list[dict[str, Any] | str] = []
    while buffer := buffer.lstrip():
        if buffer.startswith("{"):
            try:
                value, end = decoder.raw_decode(buffer)
            except json.JSONDecodeError:
                break
            found.append(value)
            buffer = buffer[end:]
        else:
            line, newline, rest = buffer.partition("\n")
            if not newline:
                break
            found.append(line)
            buffer = rest
    return found, buffer


def _time(text: str | None) -> datetime | None:
    if not text:
        return None
    # Python 3.10 reads neither Z nor nanoseconds.
    match = re.fullmatch(r"(.*?)(\.\d{1,6})?\d*(Z|[+-]\d\d:\d\d)", text)
    if not match:
        return None
    zone = "+00:00" if match[3] == "Z" else match[3]
    return datetime.fromisoformat(f"{match[1]}{(match[2] or '.0').ljust(7, '0')}{zone}")
