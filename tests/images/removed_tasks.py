"""Asks Transformers' own pipelines and those of the image the same; prints both answers as JSON.

Runs in an image whose Transformers has the pipelines that later ones dropped: the models are the
.tar.gz files in a folder, its only argument.
"""

from __future__ import annotations

import importlib
import itertools
import json
import sys
import tarfile
import tempfile
import warnings
from pathlib import Path
from typing import Any

transformers: Any = importlib.import_module("transformers")
dlc_pipelines: Any = importlib.import_module("dlc_pipelines")

TEXTS = ["I like you. You like me.", "the cat", "we see a dog and a cat in the house"]
CONTEXT = "My name is Wolfgang and I live in Berlin. " * 12
TO_TEXT: list[dict[str, Any]] = [
    {},
    {"max_new_tokens": 5},
    {"max_new_tokens": 7, "num_beams": 1},
    {"max_new_tokens": 6, "min_new_tokens": 6, "num_beams": 2},
    {"max_new_tokens": 4, "num_return_sequences": 2, "num_beams": 2},
    {"max_new_tokens": 5, "return_tensors": True},
    {"max_new_tokens": 5, "truncation": True},
    {"max_new_tokens": 5, "clean_up_tokenization_spaces": True},
    {"max_new_tokens": 9, "stop_sequence": "cat"},
    {"max_new_tokens": 5, "repetition_penalty": 1.3},
]
QUESTIONS: list[dict[str, Any]] = [
    {},
    {"top_k": 3},
    {"top_k": 2, "max_answer_len": 4},
    {"doc_stride": 8, "max_seq_len": 32},
    {"handle_impossible_answer": True, "top_k": 2},
    {"align_to_words": False, "top_k": 2},
    {"padding": "max_length", "max_seq_len": 64},
]


def main() -> None:
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    folders = {}
    for path in Path(sys.argv[1]).glob("*.tar.gz"):
        folders[path.name.partition(".")[0]] = folder = tempfile.mkdtemp()
        with tarfile.open(path) as tar:
            tar.extractall(folder)  # noqa: S202 - the image made it itself
    asked: list[tuple[str, str, Any, dict[str, Any]]] = [
        (task, "seq2seq", inputs, options)
        for task in ("summarization", "translation_en_to_de", "text2text-generation")
        for inputs, options in itertools.product([TEXTS[0], TEXTS], TO_TEXT)
    ]
    one = {"question": "Where do I live?", "context": CONTEXT}
    asked += [
        ("question-answering", "questions", inputs, options)
        for inputs in (one, [one, {"question": "Who am I?", "context": "I am Wolfgang."}])
        for options in QUESTIONS
    ]
    pipelines = {}
    rows = []
    for task, model, inputs, options in asked:
        if task not in pipelines:
            kind = dlc_pipelines.PIPELINES[dlc_pipelines.usual_name(task)]
            theirs = transformers.pipeline(task, folders[model], device=-1)
            pipelines[task] = theirs, dlc_pipelines.load(kind, task, -1, folders[model])
        given = json.dumps(inputs)
        both = [each(json.loads(given), **options) for each in pipelines[task]]
        rows.append({"task": task, "options": options, "theirs": both[0], "ours": both[1]})
    print(json.dumps(rows, default=lambda tensor: tensor.tolist()))  # noqa: T201


if __name__ == "__main__":
    main()
