"""Which task a model is for, by its config.json and the tables of the Transformers at hand."""

import importlib
import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FILES = Path(__file__).parents[3] / "runtime"

# As of releases of Transformers: the tables that have these classes, and the pipelines.
SPEECH = {"SPEECH_SEQ_2_SEQ": {"whisper": "WhisperForConditionalGeneration"}}
HEARS = {"CTC": {"wav2vec2": "Wav2Vec2ForCTC"}}
SOUNDS = {"AUDIO_CLASSIFICATION": {"wav2vec2": "Wav2Vec2ForSequenceClassification"}}
SEEN = {
    "blip": "BlipForConditionalGeneration",
    "vision-encoder-decoder": "VisionEncoderDecoderModel",
}
QWEN = {"qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration"}
CLASSES = {"IMAGE_CLASSIFICATION": {"perceiver": ("PerceiverA", "PerceiverB")}}
SPEAKS = {
    "automatic-speech-recognition": {"pt": (1,), "tf": ()},
    "audio-classification": {"pt": (1,)},
}
RELEASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "4.6.1": ({}, {}),
    "4.26.0": (
        {**SPEECH, **HEARS, **SOUNDS, **CLASSES, "VISION_2_SEQ": SEEN},
        {**SPEAKS, "image-to-text": {"pt": (1,)}, "image-classification": {"pt": (1,), "tf": (1,)}},
    ),
    "4.57.1": (
        {**SPEECH, "VISION_2_SEQ": {**SEEN, **QWEN}, "IMAGE_TEXT_TO_TEXT": {**SEEN, **QWEN}},
        {**SPEAKS, "image-to-text": {"pt": (1,)}, "image-text-to-text": {"pt": (1,)}},
    ),
    "5.5.3": (
        {**SPEECH, "IMAGE_TEXT_TO_TEXT": {**SEEN, **QWEN}},
        {**SPEAKS, "image-text-to-text": {"pt": (1,)}},
    ),
}
TEXTS = ("T5ForConditionalGeneration", "BertForSequenceClassification", "GPT2LMHeadModel")

Guess = Callable[..., Any]


@pytest.fixture
def guess(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Guess:
    """Asks for the task of a configuration, with a release of Transformers."""
    monkeypatch.syspath_prepend(FILES)
    monkeypatch.delenv("HF_TASK", raising=False)

    def ask(release: str, config: Any, *, torch: bool = True) -> Any:
        tables, pipelines = RELEASES[release]
        names = {f"MODEL_FOR_{name}_MAPPING_NAMES": table for name, table in tables.items()}
        known = {
            name: object
            for table in tables.values()
            for name in table.values()
            if isinstance(name, str)
        }
        known |= dict.fromkeys(TEXTS, object) | {"PerceiverB": object}
        modules: dict[str, dict[str, Any]] = {
            "transformers": {"__version__": release, "is_torch_available": lambda: torch, **known},
            "transformers.pipelines": {"SUPPORTED_TASKS": pipelines},
            "transformers.models": {},
            "transformers.models.auto": {},
            "transformers.models.auto.modeling_auto": names,
        }
        for name, values in modules.items():
            module = types.ModuleType(name)
            vars(module).update(values)
            monkeypatch.setitem(sys.modules, name, module)
            parent, _, last = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], last, module)
        path = tmp_path / "config.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        return importlib.import_module("dlc_tasks").task_of_config(str(path))

    return ask


def config(name: str, family: str = "") -> dict[str, Any]:
    return {"architectures": [name], "model_type": family}


@pytest.mark.parametrize(
    ("release", "name", "family", "task"),
    [
        ("4.26.0", "WhisperForConditionalGeneration", "whisper", "automatic-speech-recognition"),
        ("4.26.0", "Wav2Vec2ForCTC", "wav2vec2", "automatic-speech-recognition"),
        ("4.26.0", "Wav2Vec2ForSequenceClassification", "wav2vec2", "audio-classification"),
        ("4.26.0", "BlipForConditionalGeneration", "blip", "image-to-text"),
        ("4.26.0", "VisionEncoderDecoderModel", "vision-encoder-decoder", "image-to-text"),
        ("4.26.0", "PerceiverB", "perceiver", "image-classification"),
        ("4.57.1", "BlipForConditionalGeneration", "blip", "image-to-text"),
        ("4.57.1", "Qwen2_5_VLForConditionalGeneration", "qwen2_5_vl", "image-text-to-text"),
        ("5.5.3", "BlipForConditionalGeneration", "blip", "image-text-to-text"),
        *((release, name, "", None) for release in RELEASES for name in TEXTS),
    ],
)
def test_tasks(guess: Guess, release: str, name: str, family: str, task: str | None) -> None:
    assert guess(release, config(name, family)) == task


@pytest.mark.parametrize(
    ("release", "wrong", "torch", "why"),
    [
        (
            "4.26.0",
            config("Qwen2_5_VLForConditionalGeneration"),
            True,
            "Qwen2_5_VLForConditionalGeneration, which Transformers 4.26.0 does not have",
        ),
        (
            "4.26.0",
            config("WhisperForConditionalGeneration"),
            False,
            "which does automatic-speech-recognition; Transformers 4.26.0 of this image cannot",
        ),
        ("4.26.0", {}, True, "does not say what the model is"),
        ("4.26.0", {"architectures": []}, True, "does not say what the model is"),
        ("4.26.0", {"architectures": [None]}, True, "does not say what the model is"),
    ],
)
def test_no_task(guess: Guess, release: str, wrong: Any, torch: bool, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        guess(release, wrong, torch=torch)
    assert "set HF_TASK" in str(caught.value)


def test_a_class_of_the_models_own_code_is_left_to_the_toolkit(guess: Guess) -> None:
    own = {**config("OwnForCausalLM"), "auto_map": {"AutoModel": "own.Own"}}
    assert guess("4.57.1", own) is None


def test_the_toolkits_guess_comes_after(guess: Guess, tmp_path: Path) -> None:
    guess("4.57.1", config("WhisperForConditionalGeneration"))
    module = types.SimpleNamespace(infer_task_from_model_architecture=lambda *_: "by the toolkit")
    importlib.import_module("dlc_tasks").replace_guess(module)
    path = str(tmp_path / "config.json")
    assert module.infer_task_from_model_architecture(path) == "automatic-speech-recognition"
    assert os.environ.pop("HF_TASK") == "automatic-speech-recognition"
    guess("4.57.1", config(TEXTS[0]))
    assert module.infer_task_from_model_architecture(path) == "by the toolkit"
