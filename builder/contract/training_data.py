"""What training jobs are given and asked for: values, texts, metrics, and who serves a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from builder.contract.subject import Subject, parse
from builder.engine.namespace import NAMESPACE_LABEL, visible
from builder.errors import TagError

if TYPE_CHECKING:
    import docker

__all__ = [
    "ANY_NUMBER",
    "CANARY",
    "HOSTILE",
    "QUESTIONS",
    "VALUES",
    "last",
    "metrics",
    "serving_image",
    "table",
]

PROMPT = 'it\'s $HOME; "quoted" & more'

CANARY = "/tmp/canary"  # noqa: S108 - a path of the container
# What a shell would run, expand or write.
HOSTILE = {
    "command": f"$(touch {CANARY})",
    "backticks": f"`touch {CANARY}`",
    "sequence": f"a; touch {CANARY} #",
    "pipe": f"a | tee {CANARY} && touch {CANARY}",
    "output": f"> {CANARY}",
    "pattern": "/*",
    "variable": "${PATH}",
    "lines": f"a\ntouch {CANARY}",
    "backslash": "a\\",
    "quotes": "a'b\"c",
}

# Every type of JSON, and texts that a shell or a second decoding would spoil. With each, what the
# script gets after --name, and in SM_HP_NAME.
VALUES: Mapping[str, tuple[object, str, str]] = {
    "epochs": (3, "3", "3"),
    "learning_rate": (5e-5, "5e-05", "5e-05"),
    "offset": (-7, "-7", "-7"),
    "fp16": (True, "True", "true"),
    "bf16": (False, "False", "false"),
    "nothing": (None, "", ""),
    "empty": ("", "", ""),
    "model_id": ("distilbert-base-uncased", "distilbert-base-uncased", "distilbert-base-uncased"),
    "prompt": (PROMPT, PROMPT, PROMPT),
    "layers": ([1, 2, "x"], "[1, 2, 'x']", '[1,2,"x"]'),
    "labels": ({"bad": 0, "good": 1}, "bad=0,good=1", '{"bad":0,"good":1}'),
    "s": ("one letter", "one letter", "one letter"),
    **{name: (text, text, text) for name, text in HOSTILE.items()},
}


GOOD = "i love this movie|it was very good|this is a great film|i like it|a very great movie|good"
BAD = "i hate this movie|it was very bad|this is a bad film|i hate it|a very bad movie|bad"
QUESTIONS = ("it is a great movie", "it is a bad movie")

# Of notebook 06, and of SageMaker's own examples for Keras.
TRAINER = (
    *("loss", "learning_rate", "epoch", "eval_loss", "eval_accuracy", "eval_f1", "eval_precision"),
    *("eval_recall", "eval_runtime", "eval_samples_per_second"),
)
NOTEBOOK = {name: rf"'{name}': ([0-9]+(.|e\-)[0-9]+),?" for name in TRAINER}
KERAS = {
    "train:loss": r".*loss: ([0-9\.]+) - accuracy: [0-9\.]+.*",
    "train:accuracy": r".*loss: [0-9\.]+ - accuracy: ([0-9\.]+).*",
    "validation:loss": r".*val_loss: ([0-9\.]+) - val_accuracy: [0-9\.]+.*",
    "validation:accuracy": r".*val_accuracy: ([0-9\.]+).*",
}

# Transformers 5 rounds to four digits and quotes what is left: '0.5957', '5e-05', '1'. These find
# the numbers of every release, whole; docs/training.md has them for users.
QUOTED = (5,)
ANY_NUMBER = r"'?(-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)"
ANY_RELEASE = {name: f"'{name}': {ANY_NUMBER}" for name in TRAINER}


def metrics(subject: Subject) -> Sequence[Mapping[str, str]]:
    """The sets of expressions which must all find their metrics in a log of the image."""
    if subject.repository.framework == "tensorflow":
        return [KERAS]
    quoted = subject.version("transformers") >= QUOTED
    return [ANY_RELEASE] if quoted else [ANY_RELEASE, NOTEBOOK]


def last(pattern: str, log: str) -> float | None:
    """The last number that an expression finds in a log.

    >>> last("'f1': ([0-9.]+)", "{'f1': 0.5}, {'f1': 0.75}")
    0.75
    """
    found = [match[1] for match in re.finditer(pattern, log)]
    return float(found[-1]) if found else None


def table(copies: int) -> bytes:
    """Texts and labels, as a CSV file."""
    rows = [
        f"{text},{label}" for label, texts in ((1, GOOD), (0, BAD)) for text in texts.split("|")
    ]
    return "\n".join(["text,label", *(rows * copies)]).encode() + b"\n"


def serving_image(client: docker.DockerClient, subject: Subject) -> str:
    """An inference image on the engine of the same Transformers and framework; empty if none is.

    One of the same framework's version comes first, then one for the CPU: a release may serve with
    another version than it trains with, and what is saved loads there too.
    """
    found = []
    # Not client.images.list, which asks for every image once more: another job may remove one.
    names = (
        name
        for image in client.api.images()
        for name in image["RepoTags"] or ()
        if visible(name, (image["Labels"] or {}).get(NAMESPACE_LABEL, ""))
    )
    for name in names:
        try:
            repository, tag = parse(name)
        except TagError:
            continue
        if (
            repository.mode == "inference"
            and not repository.neuron
            and repository.framework == subject.repository.framework
            and tag.transformers == subject.tag.transformers
        ):
            other = tag.framework_version != subject.tag.framework_version
            found.append((other, tag.device, name))
    return min(found)[-1] if found else ""
