"""Which tasks an image can do, how it is asked, and the committed table of what came of it."""

from __future__ import annotations

import base64
import doctest
import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from builder.contract import tasks
from builder.contract.run import Result
from builder.contract.task_answers import WrongAnswerError
from builder.contract.task_models import MEDIA
from builder.contract.task_requests import ASKS, Ask, refused
from builder.contract.task_table import Row, TaskResult, load, results, save, table, wrong
from builder.contract.tasks import BODY, TASKS, TOOLKIT, Facts, Limit
from builder.matrix.target import Target
from builder.serve.programs import FILES
from builder.serve.server import Response

NAMES = [task.name for task in TASKS]
# As the reference pages name them; `ner` is what the pipelines call token-classification too.
PAGES = """
text-classification sentiment-analysis token-classification ner feature-extraction fill-mask
summarization parameterized-request translation_xx_to_yy text2text-generation text-generation
question-answering zero-shot-classification table-question-answering conversational
audio-classification automatic-speech-recognition image-classification image-segmentation
object-detection zero-shot-image-classification
"""


def facts(
    framework: str, transformers: str, toolkit: str, *names: str, programs: tuple[str, ...] = ()
) -> Facts:
    """What an image has with these versions, and other packages."""
    packages = {"transformers": transformers, TOOLKIT: toolkit, **dict.fromkeys(names, "1")}
    return Facts(framework=framework, packages=packages, programs=frozenset(programs))


OLDEST = facts("pytorch", "4.6.1", "1.0.0")
TENSORFLOW = facts("tensorflow", "4.12.3", "1.1.2")
NEWEST = facts("pytorch", "4.57.1", "2.6.0")

SOUND = {"audio-classification": "ffmpeg", "automatic-speech-recognition": "ffmpeg"}
SEEING = ("image-classification", "image-segmentation", "object-detection")
REFUSED: list[tuple[Facts, Mapping[str, str]]] = [
    (
        OLDEST,
        {
            "table-question-answering": "torch-scatter",
            "conversational": "since 1.1",
            "audio-classification": "since 4.11",
            "automatic-speech-recognition": "since 4.9",
            "image-segmentation": "since 4.12",
            "object-detection": "since 4.11",
            "zero-shot-image-classification": "since 4.17",
        },
    ),
    (
        TENSORFLOW,
        {
            "zero-shot-image-classification": "since 4.17",
            **dict.fromkeys((*SOUND, *SEEING, "table-question-answering"), "PyTorch alone"),
        },
    ),
    (
        facts("tensorflow", "4.17.0", "1.3.1"),
        {
            "table-question-answering": "tensorflow-probability",
            **dict.fromkeys((*SOUND, *SEEING[1:]), "PyTorch alone"),
        },
    ),
    (
        facts("pytorch", "4.12.3", "1.1.2"),
        {
            "table-question-answering": "torch-scatter",
            "image-segmentation": "timm",
            "object-detection": "timm",
            "zero-shot-image-classification": "since 4.17",
            **SOUND,
        },
    ),
    (
        facts("pytorch", "4.17.0", "1.3.1"),
        {
            "table-question-answering": "torch-scatter",
            "image-segmentation": "toolkit writes",
            "object-detection": "timm",
            **SOUND,
        },
    ),
    (
        facts("pytorch", "4.26.0", "2.1.1", programs=("ffmpeg",)),
        {"table-question-answering": "pandas"},
    ),
    (
        facts("pytorch", "4.26.0", "2.1.1", "pandas", "torch-scatter", programs=("ffmpeg",)),
        {},
    ),
    (
        NEWEST,
        {"table-question-answering": "pandas", **SOUND},
    ),
    (
        facts("pytorch", "5.5.3", "2.6.0", "pandas", programs=("ffmpeg",)),
        {"image-segmentation": "torchvision"},
    ),
    (
        facts("pytorch", "5.23.0", "2.6.0", "pandas", programs=("ffmpeg",)),
        {},
    ),
]


def test_tasks_are_those_of_the_pages() -> None:
    assert PAGES.split() == NAMES
    assert set(ASKS) == set(NAMES)


@pytest.mark.parametrize(("has", "refused"), REFUSED)
def test_what_an_image_cannot_do(has: Facts, refused: Mapping[str, str]) -> None:
    limits = {task.name: task.limit(has) for task in TASKS}
    found = {name: limit.why for name, limit in limits.items() if limit}
    assert found.keys() == refused.keys()
    for name, part in refused.items():
        assert part in found[name]


def test_a_limit_needs_every_condition() -> None:
    limit = Limit(why="", says="", framework="pytorch", transformers="<4.26", lacks="timm")
    assert limit.applies(facts("pytorch", "4.17.0", "1"))
    assert not limit.applies(facts("tensorflow", "4.17.0", "1"))
    assert not limit.applies(facts("pytorch", "4.26.0", "1"))
    assert not limit.applies(facts("pytorch", "4.17.0", "1", "timm"))
    assert not limit.applies(facts("pytorch", "4.17.0", "1", programs=("timm",)))
    assert not limit.applies(Facts(framework="pytorch", packages={}))


def test_examples() -> None:
    assert doctest.testmod(tasks) == (0, 1)


def test_every_task_has_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FILES))
    made = importlib.import_module("tiny_tasks").makers()
    for name in ("tiny_tasks", "tiny_media", "tiny_model"):
        sys.modules.pop(name, None)
    # And chats: no task of the reference pages, see test_chat.
    assert {task.model for task in TASKS} | {"chat"} == set(made)


# Requests


def media(name: str) -> tuple[Ask, Ask]:
    """The requests of a task with a file: as the body, and named; a third has another type."""
    raw, bare, named = ASKS[name]
    assert bare.body() == (raw.body()[0], "application/octet-stream")
    return raw, named


def test_a_file_is_the_body() -> None:
    raw, _ = media("image-classification")
    assert raw.body() == (MEDIA["picture.png"], "image/png")
    raw, _ = media("audio-classification")
    assert raw.body() == (MEDIA["sound.wav"], "audio/wave")
    assert raw.limit is BODY
    assert BODY.applies(OLDEST)
    assert not BODY.applies(NEWEST)


def test_a_file_is_named() -> None:
    _, named = media("image-classification")
    body, kind = named.body()
    assert kind == "application/json"
    asked = json.loads(body)
    assert asked["parameters"] == {"top_k": 1}
    assert base64.b64decode(asked["inputs"]) == MEDIA["picture.png"]
    _, named = media("audio-classification")
    assert base64.b64decode(json.loads(named.body()[0])["inputs"]) == MEDIA["sound.wav"]


def test_a_request_in_json() -> None:
    [ask] = ASKS["zero-shot-classification"]
    body, kind = ask.body()
    assert kind == "application/json"
    assert json.loads(body)["parameters"] == {"candidate_labels": ["refund", "legal", "faq"]}
    [ask] = ASKS["question-answering"]
    assert json.loads(ask.body()[0]).keys() == {"inputs"}


# What is made of an answer


def error(message: str, status: int = 400, code: int = 400) -> Response:
    """An error as the toolkit tells it."""
    body = {"code": code, "type": "InternalServerException", "message": message}
    return Response(status=status, body=json.dumps(body).encode(), content_type="application/json")


TIMM = Limit(why="without timm", says="needs the timm")


def test_a_refusal_must_name_the_reason() -> None:
    assert refused(error("it needs the timm library"), [TIMM]) == "400: it needs the timm library"
    assert refused(error("it needs the timm library"), [BODY, TIMM])


@pytest.mark.parametrize(
    ("response", "told"),
    [
        (error("list index out of range"), "it does not say that without timm: list index"),
        (error("it needs the timm library", status=200), "answered, although without timm"),
        (error("it needs the timm library", code=500), "not the toolkit's error"),
        (Response(status=503, body=b"<html>", content_type="text/html"), "not the toolkit's error"),
        (Response(status=503, body=b"[]", content_type="text/html"), "not the toolkit's error"),
        (Response(status=503, body=b"{}", content_type="text/html"), "not the toolkit's error"),
    ],
)
def test_a_refusal_that_helps_nobody(response: Response, told: str) -> None:
    with pytest.raises(WrongAnswerError, match=told):
        refused(response, [TIMM])


def test_an_answer_must_be_one() -> None:
    config = {"id2label": {"0": "POSITIVE", "1": "NEGATIVE"}}
    ask = ASKS["sentiment-analysis"][0]
    good = b'[{"label": "POSITIVE", "score": 0.75}]'
    response = Response(status=200, body=good, content_type="application/json")
    earlier: list[object] = []
    assert ask.found(response, config, earlier) == "POSITIVE 0.75"
    assert earlier == [json.loads(good)]
    with pytest.raises(WrongAnswerError, match=r"400: .*it failed"):
        ask.found(error("it failed"), config, earlier)


def test_why_a_request_is_refused() -> None:
    raw, named = media("object-detection")
    assert raw.limits(TIMM, OLDEST) == [TIMM, BODY]
    assert named.limits(TIMM, OLDEST) == [TIMM]
    assert raw.limits(None, OLDEST) == [BODY]
    assert raw.limits(None, NEWEST) == []


# The table


def result(name: str, **changes: str | bool | float) -> TaskResult:
    """A task that was answered, with changes."""
    plain = TaskResult(
        task=name, supported=True, outcome="passed", seconds=8.0, reason="", detail="yes"
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def row(*found: TaskResult) -> Row:
    """An image that was asked."""
    versions = {"framework": "PyTorch 1.7.1", "transformers": "4.6.1", "toolkit": "1.0.0"}
    return Row(image="x:1", stand_in="y", versions=versions, date="2021-06-25", tasks=found)


def test_a_row_that_is_as_it_should_be() -> None:
    assert wrong(row(result("a"), result("b", supported=False, reason="old")), ["a", "b"]) == []


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (result("b"), "x:1: a was not asked"),
        (result("a", outcome="failed", detail="no"), "x:1: a failed: no"),
        (result("a", supported=False), "x:1: a is refused without a reason"),
    ],
)
def test_a_row_that_is_not(found: TaskResult, told: str) -> None:
    assert told in wrong(row(found), ["a"])


def test_a_page_sums_up_each_image() -> None:
    name = "huggingface-pytorch-inference:1.7.1-transformers4.6.1-cpu-py3{}-ubuntu18.04"
    first = row(
        result("a"), result("b", supported=False, reason="old"), result("c", reason="named")
    )
    second = row(result("a", outcome="failed"), result("c", supported=False, reason="old"))
    image = "PyTorch 1.7.1, Transformers 4.6.1"
    asked = "1.0.0 | 2021-06-25, on a stand-in"
    assert table([first]).splitlines()[-1] == f"| {image} | {asked} | 2 of 3 | `b` |"
    # Two of the same versions are told apart.
    both = [replace(first, image=name.format(6)), replace(second, image=name.format(8))]
    assert table(both).splitlines()[-2:] == [
        f"| {image}, Python 3.6 | {asked} | 2 of 3 | `b` |",
        f"| {image}, Python 3.8 | {asked} | 0 of 2 | `c`; **failed**: `a` |",
    ]


def test_results_of_tasks_alone(tmp_path: Path) -> None:
    said = {"task": "a", "supported": "False", "reason": "old", "seconds": "7.5"}
    found = [
        Result(test="first::answers", outcome="passed", seconds=8),
        Result(test="x", outcome="passed", seconds=0, detail="yes", properties=said),
    ]
    kept = row(*results(found))
    assert kept.tasks == (result("a", supported=False, reason="old", seconds=7.5),)
    save(tmp_path / "tasks.json", [kept])
    assert load(tmp_path / "tasks.json") == {"x:1": kept}
    assert load(tmp_path / "none.json") == {}


def test_the_committed_table_is_of_the_committed_results(root: Path) -> None:
    rows = list(load(root / "docs" / "tasks.json").values())
    assert rows
    assert (root / "docs" / "tasks.md").read_text("utf-8") == table(rows)


def test_every_task_was_as_it_should_be(root: Path, targets: tuple[Target, ...]) -> None:
    rows = load(root / "docs" / "tasks.json")
    assert [line for found in rows.values() for line in wrong(found, NAMES)] == []
    reasons = {limit.why for task in TASKS for limit in (*task.limits, BODY)} | {""}
    told = {found.reason for kept in rows.values() for found in kept.tasks}
    assert told <= reasons, "ask again: make tasks"
    order = [target.name for target in targets if target.name in rows]
    assert list(rows) == order
