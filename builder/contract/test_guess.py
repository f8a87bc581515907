"""Which task a model is for, by its config.json, where HF_TASK is not set."""

from __future__ import annotations

from collections.abc import Callable

import docker
import pytest

from builder.contract.subject import Subject
from builder.serve.programs import run_report

pytestmark = pytest.mark.inference

Record = Callable[[str, object], None]

# The family of each class and its tasks, best first: the first that the image's Transformers has.
MODELS = {
    "WhisperForConditionalGeneration": ("whisper", ["automatic-speech-recognition"]),
    "BlipForConditionalGeneration": ("blip", ["image-to-text", "image-text-to-text"]),
    "Qwen2_5_VLForConditionalGeneration": ("qwen2_5_vl", ["image-text-to-text", "image-to-text"]),
}
TEXTS = {"T5ForConditionalGeneration": "t5", "DistilBertForSequenceClassification": "distilbert"}


def test_guess(client: docker.DockerClient, subject: Subject, record_property: Record) -> None:
    """Models that see or hear are not taken for text: they have their task, or an error.

    Texts are left to the toolkit.
    """
    families = {name: family for name, (family, _) in MODELS.items()} | TEXTS
    asked = [f"{name}:{family}" for name, family in families.items()]
    found = run_report(client, subject.image, "guess_report.py", *asked)
    record_property("detail", "; ".join(f"{name}: {found[name]}" for name in MODELS))
    for name, (_, tasks) in MODELS.items():
        error = str(found[name])
        refused = error.startswith("error: ") and name in error and "set HF_TASK" in error
        assert found[name] in tasks or refused, (name, found[name])
    assert [found[name] for name in TEXTS] == [None, None]
    if subject.repository.framework == "pytorch" and subject.version("transformers") >= (4, 49):
        assert all(found[name] in tasks for name, (_, tasks) in MODELS.items()), found
