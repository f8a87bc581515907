"""The checks of answers: each takes a right one, and finds fault with every wrong one."""

from __future__ import annotations

import base64
import doctest
import io
import struct
import wave
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from builder.contract import media
from builder.contract import task_answers as answers
from builder.contract.media import HEIGHT, WIDTH, picture, pixels, sound
from builder.contract.task_answers import Answered, WrongAnswerError

CONFIG: Mapping[str, Any] = {
    "id2label": {"0": "cat", "1": "dog"},
    "aggregation_labels": {"0": "NONE"},
    "dim": 2,
    "num_detection_tokens": 1,
    "vocab_size": 10,
}
CAT = {"label": "cat", "score": 0.7}
DOG = {"label": "dog", "score": 0.3}
BOX = {"xmin": 1, "ymin": 2, "xmax": 20, "ymax": 30}
WORD = {"sequence": "a b", "score": 0.2, "token": 3, "token_str": "b"}
TALK = {"text": "c", "past_user_inputs": ["a"], "generated_responses": ["b"]}
TALKED = {"past_user_inputs": ["a", "c"], "generated_responses": ["b", "d"]}
CONTEXT = {"question": "who", "context": "it is me"}
TABLE = {"query": "how many", "table": {"a": ["1", "2"], "b": ["3", "4"]}}
CELLS = {"answer": "3", "coordinates": [[0, 1]], "cells": ["3"], "aggregator": "NONE"}


def grey(rows: list[bytes], *, kinds: bytes = b"") -> bytes:
    """A PNG with 8 bits of grey, whose rows are written with PNG's filters of these kinds."""
    kinds = kinds or bytes(len(rows))
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    data = zlib.compress(b"".join(bytes([k]) + row for k, row in zip(kinds, rows, strict=True)))
    chunks = ((b"IHDR", header), (b"IDAT", data[:5]), (b"IDAT", data[5:]), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + bytes(4) for kind, content in chunks
    )


def mask(value: int = 255, width: int = WIDTH, label: str = "cat") -> dict[str, Any]:
    """A mask of one value in every pixel."""
    png = grey([bytes([value] * width)] * HEIGHT)
    return {"label": label, "score": None, "mask": base64.b64encode(png).decode()}


Case = tuple[Callable[[Answered], str], Any, dict[str, Any], Any, list[Any]]

# The check, the inputs, the parameters, a right answer, and wrong ones.
CASES: dict[str, Case] = {
    "classes": (
        answers.classes,
        "x",
        {},
        [CAT],
        [CAT, [], [CAT, CAT], [{"label": "cow", "score": 0.7}], [DOG], [{"label": "cat"}]]
        + [[{"label": "cat", "score": score}] for score in (1.2, -0.1, "0.7", None, True)],
    ),
    "classes of two": (answers.classes, ["x", "y"], {}, [CAT, CAT], [[CAT], [[CAT], [CAT]]]),
    "ranks": (
        answers.ranks,
        None,
        {},
        [CAT, DOG],
        [[CAT], [DOG, CAT], [CAT, CAT], [CAT, {"label": "cow", "score": 0.3}]]
        + [[CAT, {"label": "dog", "score": score}] for score in (0.1, 0.6)],
    ),
    "the first rank": (answers.ranks, None, {"top_k": 1}, [CAT], [[CAT, DOG], []]),
    "candidates": (
        answers.candidates,
        "x",
        {"candidate_labels": ["a", "b"]},
        {"sequence": "x", "labels": ["b", "a"], "scores": [0.6, 0.4]},
        [
            {"sequence": "y", "labels": ["b", "a"], "scores": [0.6, 0.4]},
            {"sequence": "x", "labels": ["b"], "scores": [1.0]},
            {"sequence": "x", "labels": ["b", "c"], "scores": [0.6, 0.4]},
            {"sequence": "x", "labels": ["b", "a"], "scores": [0.4, 0.6]},
            {"sequence": "x", "labels": ["b", "a"], "scores": [0.6, 0.6]},
            {"sequence": "x", "labels": ["b", "a"], "scores": [1.0]},
            {"labels": ["b", "a"], "scores": [0.6, 0.4]},
        ],
    ),
    "candidates for a picture": (
        answers.candidates,
        None,
        {"candidate_labels": ["cat", "dog"]},
        [CAT, DOG],
        [[CAT], [DOG, CAT], [CAT, {"label": "cow", "score": 0.3}], "cat"],
    ),
    "entities": (
        answers.entities,
        "ab c",
        {},
        [
            {"entity": "cat", "score": 0.5, "word": "ab", "start": 0, "end": 2},
            {"entity": "dog", "score": 0.5, "word": "c", "start": 3, "end": 4},
        ],
        [
            [],
            {},
            [{"entity": "cat", "score": 0.5, "word": "ab", "start": 0, "end": 2}],
            [{"entity": "cow", "score": 0.5, "word": "abc", "start": 0, "end": 4}],
            [{"entity": "cat", "score": 0.5, "word": "abc", "start": 0, "end": 5}],
            [{"entity": "cat", "score": 0.5, "word": "abc", "start": None, "end": None}],
        ],
    ),
    "features": (
        answers.features,
        "x",
        {},
        [[[0.1, 0.2], [0.2, 0.1], [0.3, 0.0]]],
        [
            [],
            [[0.1, 0.2], [0.2, 0.1], [0.3, 0.0]],
            [[[0.1, 0.2], [0.2, 0.1]]],
            [[[0.1], [0.2], [0.3]]],
            [[[0.1, 0.2], [0.1, 0.2], [0.1, 0.2]]],
            [[[0.1, float("nan")], [0.2, 0.1], [0.3, 0.0]]],
            [[["a", "b"], [0.2, 0.1], [0.3, 0.0]]],
        ],
    ),
    "masked": (
        answers.masked,
        "a [MASK]",
        {"top_k": 1},
        [WORD],
        [
            [WORD, WORD],
            [],
            [{**WORD, "sequence": "a [MASK]"}],
            [{**WORD, "token": 10}],
            [{**WORD, "score": 2.0}],
        ],
    ),
    "five words without parameters": (
        answers.masked,
        "a [MASK]",
        {},
        [{**WORD, "score": 0.2 - n / 100} for n in range(5)],
        [[WORD], [{**WORD, "score": 0.1 + n / 100} for n in range(5)], [WORD] * 6],
    ),
    "summary": (
        answers.summary,
        "x",
        {},
        [{"summary_text": "y"}],
        [[], [{"summary_text": ""}], [{"generated_text": "y"}], [{"summary_text": 1}], "y"],
    ),
    "translation": (
        answers.translation,
        "x",
        {},
        [{"translation_text": "y"}],
        [[{"translation_text": ""}], [{"summary_text": "y"}]],
    ),
    "generated": (
        answers.generated,
        "x",
        {},
        [{"generated_text": "y"}],
        [[{"generated_text": ""}], [{"generated_text": "y"}] * 2],
    ),
    "continued": (
        answers.continued,
        "x",
        {"num_return_sequences": 2},
        [{"generated_text": "xy"}, {"generated_text": "xz"}],
        [
            [{"generated_text": "xy"}],
            [{"generated_text": "xy"}, {"generated_text": "x"}],
            [{"generated_text": "xy"}, {"generated_text": "yx"}],
        ],
    ),
    "replied": (
        answers.replied,
        TALK,
        {},
        {"generated_text": "d", "conversation": TALKED},
        [
            {"generated_text": "", "conversation": TALKED},
            {"generated_text": "e", "conversation": TALKED},
            {"generated_text": "d", "conversation": {**TALKED, "past_user_inputs": ["c"]}},
            {"generated_text": "d"},
        ],
    ),
    "answered": (
        answers.answered,
        CONTEXT,
        {},
        {"score": 0.1, "start": 3, "end": 5, "answer": "is"},
        [
            {"score": 0.1, "start": 3, "end": 5, "answer": "me"},
            {"score": 0.1, "start": 3, "end": 3, "answer": ""},
            {"score": 0.1, "start": 6, "end": 9, "answer": "me"},
            {"score": 1.1, "start": 3, "end": 5, "answer": "is"},
            [{"score": 0.1, "start": 3, "end": 5, "answer": "is"}],
        ],
    ),
    "cells": (
        answers.cells,
        TABLE,
        {},
        CELLS,
        [
            {**CELLS, "coordinates": [[1, 1]]},
            {**CELLS, "cells": ["4"]},
            {**CELLS, "cells": [], "coordinates": []},
            {**CELLS, "aggregator": "MOST"},
            {**CELLS, "answer": "4"},
            {"answer": "3"},
        ],
    ),
    "heard": (
        answers.heard,
        None,
        {},
        {"text": "AB C"},
        [{"text": ""}, {"text": " "}, {"text": "A<pad>"}, {"text": "ab"}, {"text": None}, ["A"]],
    ),
    "boxes": (
        answers.boxes,
        None,
        {},
        [{"label": "cat", "score": 0.99, "box": BOX}],
        [
            [],
            [{"label": "cow", "score": 0.99, "box": BOX}],
            [{"label": "cat", "score": 0.5, "box": BOX}],
            [{"label": "cat", "score": 0.99, "box": {**BOX, "xmax": 500}}],
            [{"label": "cat", "score": 0.99, "box": {**BOX, "xmax": 0}}],
            [{"label": "cat", "score": 0.99, "box": {**BOX, "ymin": 2.5}}],
            [{"label": "cat", "score": 0.99}],
        ],
    ),
    "masks": (
        answers.masks,
        None,
        {},
        [mask(), mask(0, label="dog")],
        [
            [],
            [mask(0)],
            [mask(), mask()],
            [mask(7)],
            [mask(label="cow")],
            [mask(width=WIDTH - 1)],
            [{**mask(), "mask": "no base64"}],
            [{**mask(), "mask": base64.b64encode(picture()).decode()}],
            [{**mask(), "mask": ""}],
        ],
    ),
}


def said(case: Case, answer: Any) -> Answered:
    """An answer in the circumstances of a case."""
    return Answered(answer=answer, inputs=case[1], parameters=case[2], config=CONFIG)


@pytest.mark.parametrize("name", CASES)
def test_a_right_answer(name: str) -> None:
    case = CASES[name]
    assert case[0](said(case, case[3]))


@pytest.mark.parametrize(
    ("name", "number"), [(name, n) for name, case in CASES.items() for n in range(len(case[4]))]
)
def test_a_wrong_answer(name: str, number: int) -> None:
    case = CASES[name]
    with pytest.raises(WrongAnswerError):
        case[0](said(case, case[4][number]))


def test_parameters_must_change_a_summary() -> None:
    answer = [{"summary_text": "y"}]
    other = Answered(answer=answer, inputs="x", earlier=([{"summary_text": "z"}],))
    assert answers.other_summary(other) == "1 characters"
    with pytest.raises(WrongAnswerError, match="the parameters changed nothing"):
        answers.other_summary(Answered(answer=answer, inputs="x", earlier=(answer,)))


# Pictures and sounds


def test_examples() -> None:
    assert doctest.testmod(media) == (0, 1)


def test_the_sound() -> None:
    with wave.open(io.BytesIO(sound())) as reader:
        assert (reader.getnchannels(), reader.getframerate()) == (1, 16000)
        frames = reader.readframes(reader.getnframes())
    assert len(frames) == 16000
    assert len(set(frames)) > 100


def test_the_picture_is_a_whole_png() -> None:
    png, place, kinds = picture(), 8, []
    while place < len(png):
        (size,) = struct.unpack_from(">I", png, place)
        body = png[place + 4 : place + 8 + size]
        assert struct.unpack_from(">I", png, place + 8 + size) == (zlib.crc32(body),)
        kinds.append(body[:4])
        place += size + 12
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]


@pytest.mark.parametrize(
    ("kind", "second"),
    [
        (0, (4, 6, 9)),
        (1, (4, 2, 3)),  # each less the one to the left
        (2, (3, 4, 6)),  # less the one above
        (3, (4, 3, 5)),  # less the middle of both, rounded down
        (4, (3, 2, 3)),  # less the nearest to left + above - corner
    ],
)
def test_filters_of_png(kind: int, second: tuple[int, ...]) -> None:
    png = grey([bytes((1, 2, 3)), bytes(second)], kinds=bytes([0, kind]))
    assert pixels(png) == [bytes((1, 2, 3)), bytes((4, 6, 9))]


@pytest.mark.parametrize("png", [b"", b"GIF89a", grey([b"ab"])[:-40], grey([b"ab", b"cd"])[:-20]])
def test_what_is_no_picture(png: bytes) -> None:
    with pytest.raises(ValueError, match="PNG"):
        pixels(png)
