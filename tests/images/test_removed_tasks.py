"""The pipelines that an image has of its own answer as those that Transformers dropped."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from builder.contract.task_models import make
from tests.images.conftest import Image

pytestmark = [pytest.mark.images, pytest.mark.slow, pytest.mark.timeout(900)]

SCORE = 1e-4


def test_the_same_answers_as_before(inference_image: Image, tmp_path: Path) -> None:
    """In an image of Transformers 4.57, which has them still."""
    made = make(inference_image.client, inference_image.tag, tmp_path)
    program = Path(__file__).with_name("removed_tasks.py")
    output = inference_image.client.containers.run(
        inference_image.tag,
        ["/test/removed_tasks.py", "/models"],
        entrypoint="python",
        environment={"TRANSFORMERS_OFFLINE": "1", "PYTHONPATH": "/usr/local/bin"},
        network_mode="none",
        remove=True,
        stderr=False,
        volumes={
            str(tmp_path): {"bind": "/models", "mode": "ro"},
            str(program.parent): {"bind": "/test", "mode": "ro"},
        },
    )
    assert {"seq2seq", "questions"} <= made.models.keys()
    rows = json.loads(output.splitlines()[-1])
    asked = Counter(row["task"] for row in rows)
    texts = ("summarization", "translation_en_to_de", "text2text-generation")
    assert asked == {**dict.fromkeys(texts, 20), "question-answering": 14}
    wrong = [row for row in rows if not same(row["theirs"], row["ours"])]
    assert wrong == []


def same(one: Any, other: Any) -> bool:
    """Equal but for the last digits of scores."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) < SCORE
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
