"""BuildKit's account of a solve: read in any pieces, told as steps."""

from __future__ import annotations

import base64
import itertools
import json
from datetime import datetime, timezone
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.build.buildkit_progress import Solve, Step, decode

Message = dict[str, Any] | str
Stream = TypeVar("Stream", str, bytes)

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["{", "}\n"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=4), JSON, max_size=4)
# A line of text is not blank, has no space at its end and is no JSON object itself.
LINES = st.sampled_from(
    [
        "ERROR: failed to solve: process did not complete",
        "------",
        " > [stage-2 3/9] RUN apt-get update:",
        "   12 | >>> RUN false",
        "}",
        "{not JSON}",
        '"text"',
        "[1]",
        "é \u2028 \x0b",
    ]
)


CUTS = st.lists(st.integers(0, 400), max_size=8)


def pieces(stream: Stream, cuts: list[int]) -> list[Stream]:
    """A stream, cut at these places."""
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    return [stream[begin:end] for begin, end in itertools.pairwise(edges)]


def written(message: Message, indent: int | None) -> str:
    """A message as buildx writes it."""
    if isinstance(message, str):
        return message.rstrip() + "\n"
    return json.dumps(message, indent=indent, ensure_ascii=False) + "\n"


@given(
    st.lists(OBJECTS | LINES, max_size=6),
    st.sampled_from([2, 1, None]),
    st.sampled_from(["", "\n", "  \n"]),
    CUTS,
)
def test_any_split_gives_the_same_messages(
    messages: list[Message], indent: int | None, blank: str, cuts: list[int]
) -> None:
    stream = blank.join(written(message, indent) for message in messages)
    expected = [m.rstrip() if isinstance(m, str) else m for m in messages]
    assert list(decode(pieces(stream, cuts))) == expected
    assert list(decode(stream)) == expected, "letter by letter"


def test_messages_come_as_soon_as_they_are_whole() -> None:
    stream = iter(['{\n  "a": 1\n', "}\n", "text", "\n", '{\n  "b'])
    messages = decode(stream)
    assert next(messages) == {"a": 1}
    assert next(messages) == "text"
    assert next(stream) == '{\n  "b'


def test_what_ends_too_early_is_told_as_text() -> None:
    assert list(decode(['{\n  "a": {\n', '  "b"', "\nERROR: gone"])) == [
        "{",
        '  "a": {',
        '  "b"',
        "ERROR: gone",
    ]
    assert list(decode(["{\n", "  garbage\n", "}\n", '{\n  "a": 1\n}\n'])) == [
        "{",
        "  garbage",
        "}",
        {"a": 1},
    ]
    assert list(decode([])) == []


# Steps

START, END = "2024-03-01T10:00:00.25Z", "2024-03-01T10:00:01.750000001Z"
RUN = (
    "[stage-2 3/9] RUN --mount=type=cache,id=uv,target=/srv --network=none  pip install \\\n  torch"
)


def vertex(digest: str, name: str, **more: object) -> dict[str, Any]:
    return {"digest": digest, "name": name, **more}


def log(digest: str, data: bytes) -> dict[str, Any]:
    return {"vertex": digest, "stream": 1, "data": base64.b64encode(data).decode()}


def feed(*messages: dict[str, Any]) -> tuple[Solve, list[Step]]:
    solve = Solve()
    return solve, [step for message in messages for step in solve.feed(message)]


def test_a_step_is_told_when_it_starts_and_ends() -> None:
    solve, told = feed(
        {"vertexes": [vertex("a", RUN), vertex("b", "[internal] load build definition")]},
        {"vertexes": [vertex("a", RUN, started=START)]},
        {"vertexes": [vertex("a", RUN, started=START)], "statuses": [{"vertex": "a"}]},
        {"vertexes": [vertex("a", RUN, completed=END)]},
    )
    step = solve.steps["a"]
    assert told == [step, step]
    assert step.title == "stage-2 3/9 RUN pip install \\ torch"
    assert step.seconds == 1.5
    assert solve.steps["b"].title == "[internal] load build definition"
    assert solve.steps["b"].seconds == 0.0
    assert solve.counts == (1, 1)
    assert solve.failed is None


@pytest.mark.parametrize(
    ("name", "title"),
    [
        # Numbers are aligned where there are ten or more.
        ("[stage-3  4/10] COPY a b", "stage-3 4/10 COPY a b"),
        ("[2/3] COPY --chmod=755 --from=tools a /b/", "stage 2/3 COPY a /b/"),
        ("[tools 1/4] FROM docker.io/library/debian", "tools 1/4 FROM docker.io/library/debian"),
        ("[stage-1 2/3] RUN echo --quiet", "stage-1 2/3 RUN echo --quiet"),
        ("exporting to image", "exporting to image"),
    ],
)
def test_titles(name: str, title: str) -> None:
    assert Step(name=name).title == title


def test_cached_steps_count_as_ended() -> None:
    solve, told = feed(
        {"vertexes": [vertex("a", "[1/2] FROM x", started=START, completed=START, cached=True)]},
        {"vertexes": [vertex("b", "[2/2] RUN x")]},
    )
    assert [step.cached for step in told] == [True]
    assert solve.counts == (1, 2)


def test_a_build_from_cache_ran_no_instruction() -> None:
    base = vertex("a", "[java 1/2] FROM x", started=START, completed=START)
    cached = vertex("b", "[java 2/2] RUN x", started=START, completed=START, cached=True)
    assert feed({"vertexes": [base, cached]})[0].from_cache
    run = vertex("c", "[stage-1 3/3] COPY y /", started=START, completed=START)
    assert not feed({"vertexes": [base, cached, run]})[0].from_cache


@pytest.mark.parametrize(
    ("ran", "from_cache", "on_a_cached_framework"),
    [
        (("framework.lock", "libraries.lock", "x"), False, False),
        (("libraries.lock", "x"), False, True),
        (("x",), True, True),  # a label: nothing of it takes time
        ((), True, True),
    ],
)
def test_what_a_build_found_in_the_cache(
    ran: tuple[str, ...], from_cache: bool, on_a_cached_framework: bool
) -> None:
    told = []
    for number, name in enumerate(("framework.lock", "libraries.lock", "x")):
        for text in (f"COPY {name} /opt/dlc/", f"RUN --mount=a  /mnt/install.sh /opt/dlc/{name}"):
            cached = name not in ran
            step = f"[stage-2 {number + 1:2}/12] {text}"
            told.append(vertex(text, step, started=START, completed=END, cached=cached))
    solve, _ = feed({"vertexes": told})
    assert solve.from_cache is from_cache
    assert solve.on_a_cached_framework is on_a_cached_framework


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2024-03-01T10:00:05Z", 0),
        ("2024-03-01T10:00:05.5Z", 500_000),
        ("2024-03-01T10:00:05.123456Z", 123_456),
        ("2024-03-01T10:00:05.123456789Z", 123_456),
        ("2024-03-01T11:00:05.123456789+01:00", 123_456),
        ("2024-03-01T05:30:05.1-04:30", 100_000),
    ],
)
def test_times_of_go(text: str, microsecond: int) -> None:
    """RFC 3339 with up to nine digits, which Python 3.10 does not read by itself."""
    solve, _ = feed({"vertexes": [vertex("a", "x", started=text)]})
    expected = datetime(2024, 3, 1, 10, 0, 5, microsecond, tzinfo=timezone.utc)
    assert solve.steps["a"].started == expected


@pytest.mark.parametrize("text", [None, "", "yesterday", "2024-03-01", "2024-03-01T10:00:05"])
def test_no_time_is_no_error(text: str | None) -> None:
    solve, told = feed({"vertexes": [vertex("a", "x", started=text)]})
    assert solve.steps["a"].started is None
    assert told == []


# Failures


def test_the_failed_step_has_its_last_lines() -> None:
    solve, _ = feed(
        {"vertexes": [vertex("a", "[1/2] FROM x"), vertex("b", "[2/2] RUN y", started=START)]},
        {"logs": [log("b", b"Collecting torch\n  10%\r 50%\r100%\r\nERR"), log("a", b"other\n")]},
        {"logs": [log("b", b"OR: no match for " + "é".encode()[:1]), log("unknown", b"lost\n")]},
        {"logs": [log("b", "é".encode()[1:])]},
        {"vertexes": [vertex("b", "[2/2] RUN y", completed=END, error="exit code: 1")]},
    )
    assert solve.failed is solve.steps["b"]
    assert solve.failed.error == "exit code: 1"
    assert list(solve.failed.lines) == ["Collecting torch", "100%", "ERROR: no match for é"]


def test_a_cancelled_step_is_not_to_blame() -> None:
    cancelled = vertex("a", "[1/2] RUN x", error="context canceled")
    solve, _ = feed({"vertexes": [cancelled]})
    assert solve.failed is solve.steps["a"]
    list(solve.feed({"vertexes": [vertex("b", "[2/2] RUN y", error="exit code: 1")]}))
    assert solve.failed is solve.steps["b"]


def test_only_the_last_lines_are_kept() -> None:
    solve, _ = feed(
        {"vertexes": [vertex("a", "x")]},
        {"logs": [log("a", b"%d\n" % number) for number in range(1000)]},
    )
    assert list(solve.steps["a"].lines) == [str(number) for number in range(800, 1000)]


@given(st.text("aé\n", max_size=40), CUTS)
def test_output_is_the_same_in_any_pieces(text: str, cuts: list[int]) -> None:
    step = Step(name="x")
    for piece in pieces(text.encode(), cuts):
        step.add(piece)
    assert list(step.lines) == (text.removesuffix("\n").split("\n") if text else [])
