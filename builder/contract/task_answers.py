"""What an answer to each task must look like; a check says what it found, or raises
WrongAnswerError.

The models are random: what they answer means nothing, but its form, its labels, its offsets and its
numbers are as bound as a good model's.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from builder.contract.media import HEIGHT, WIDTH, pixels

__all__ = ["Answered", "WrongAnswerError", "need"]

NEAR = 1e-3


class WrongAnswerError(Exception):
    """An answer that is not of the form its task promises."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """An answer from JSON, with what was asked, the model's configuration and earlier answers."""

    answer: Any
    inputs: Any
    parameters: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    earlier: Sequence[Any] = ()

    @property
    def labels(self) -> list[str]:
        """The labels that the model knows."""
        return list(self.config["id2label"].values())

    def items(self, number: int) -> list[Any]:
        """The answer, which must be a list of so many."""
        need(isinstance(self.answer, list), f"no list: {_short(self.answer)}")
        need(len(self.answer) == number, f"{len(self.answer)} items instead of {number}")
        items: list[Any] = self.answer
        return items


def classes(response: Answered) -> str:
    """The likeliest label of the model's, for each of the inputs."""
    number = len(response.inputs) if isinstance(response.inputs, list) else 1
    items = response.items(number)
    for item in items:
        _keys(item, "label", "score")
        need(item["label"] in response.labels, f"{item['label']!r} is no label of the model's")
        score = _score(item["score"])
        need(score >= 1 / len(response.labels) - NEAR, f"{score} is not the highest of the scores")
    return ", ".join(f"{item['label']} {item['score']:.2f}" for item in items)


def ranks(response: Answered) -> str:
    """Labels of the model's from the likeliest on: all, or as many as `top_k` says."""
    number = response.parameters.get("top_k", len(response.labels))
    items = response.items(number)
    for item in items:
        _keys(item, "label", "score")
    found = [item["label"] for item in items]
    need(set(found) <= set(response.labels), f"labels {found} are not of {response.labels}")
    need(len(set(found)) == number, f"a label is twice in {found}")
    _descending([item["score"] for item in items], whole=number == len(response.labels))
    return ", ".join(f"{item['label']} {item['score']:.2f}" for item in items)


def candidates(response: Answered) -> str:
    """The candidate labels of the request, from the likeliest on."""
    wanted = response.parameters["candidate_labels"]
    if isinstance(response.answer, dict):
        _keys(response.answer, "labels", "scores", "sequence")
        need(
            response.answer["sequence"] == response.inputs, "another sequence than was asked about"
        )
        labels, scores = response.answer["labels"], response.answer["scores"]
    else:
        items = response.items(len(wanted))
        for item in items:
            _keys(item, "label", "score")
        labels, scores = [i["label"] for i in items], [i["score"] for i in items]
    need(sorted(labels) == sorted(wanted), f"labels {labels} instead of {wanted}")
    need(len(scores) == len(labels), f"{len(scores)} scores for {len(labels)} labels")
    _descending(scores, whole=True)
    return ", ".join(f"{label} {score:.2f}" for label, score in zip(labels, scores, strict=True))


def entities(response: Answered) -> str:
    """A label for every piece of the text: together they are the whole of it."""
    need(isinstance(response.answer, list), f"no list: {_short(response.answer)}")
    covered = ""
    for item in response.answer:
        _keys(item, "entity", "score", "word", "start", "end")
        need(item["entity"] in response.labels, f"{item['entity']!r} is no label of the model's")
        _score(item["score"])
        covered += _span(response.inputs, item["start"], item["end"])
    need(covered == response.inputs.replace(" ", ""), f"the offsets cover {covered!r}")
    return f"{len(response.answer)} pieces"


def features(response: Answered) -> str:
    """A vector of the model's width for each token."""
    [vectors] = response.items(1)
    need(isinstance(vectors, list) and len(vectors) > 2, "not a vector for each token")
    width = response.config["dim"]
    for vector in vectors:
        need(isinstance(vector, list) and len(vector) == width, f"a vector not {width} wide")
        need(all(isinstance(v, float) and math.isfinite(v) for v in vector), "not all numbers")
    need(vectors[0] != vectors[1], "two tokens have the same vector")
    return f"{len(vectors)} tokens by {width}"


def masked(response: Answered) -> str:
    """Words for the mask, from the likeliest on."""
    items = response.items(response.parameters.get("top_k", 5))
    for item in items:
        _keys(item, "sequence", "score", "token", "token_str")
        need(0 <= item["token"] < response.config["vocab_size"], f"no token {item['token']}")
        need("[MASK]" not in item["sequence"], f"the mask is still in {item['sequence']!r}")
    _descending([item["score"] for item in items], whole=False)
    return ", ".join(f"{item['token_str']} {item['score']:.2f}" for item in items)


def summary(response: Answered) -> str:
    """A summary."""
    return _generated(response, "summary_text")


def other_summary(response: Answered) -> str:
    """A summary that the parameters changed."""
    found = _generated(response, "summary_text")
    need(response.answer != response.earlier[-1], "the parameters changed nothing")
    return found


def translation(response: Answered) -> str:
    """A translation."""
    return _generated(response, "translation_text")


def generated(response: Answered) -> str:
    """A text made of a text."""
    return _generated(response, "generated_text")


def continued(response: Answered) -> str:
    """As many texts as `num_return_sequences` says that begin with the prompt and go on."""
    items = response.items(response.parameters.get("num_return_sequences", 1))
    for item in items:
        _keys(item, "generated_text")
        found = item["generated_text"]
        need(found.startswith(response.inputs), f"{found!r} does not begin with the prompt")
        need(len(found) > len(response.inputs), "nothing was generated")
    return f"{len(items)} texts"


def replied(response: Answered) -> str:
    """A reply, and the conversation with it and what it is to."""
    _keys(response.answer, "generated_text", "conversation")
    reply = response.answer["generated_text"]
    need(isinstance(reply, str) and reply != "", f"no reply: {_short(response.answer)}")
    users = [*response.inputs["past_user_inputs"], response.inputs["text"]]
    replies = [*response.inputs["generated_responses"], reply]
    wanted = {"past_user_inputs": users, "generated_responses": replies}
    need(
        response.answer["conversation"] == wanted,
        f"another conversation: {_short(response.answer)}",
    )
    return f"a reply of {len(reply)} characters"


def answered(response: Answered) -> str:
    """A part of the context."""
    _keys(response.answer, "score", "start", "end", "answer")
    _score(response.answer["score"])
    part = _span(response.inputs["context"], response.answer["start"], response.answer["end"])
    need(part == response.answer["answer"], f"{response.answer['answer']!r} is not at its offsets")
    return f"{part!r} {response.answer['score']:.2f}"


def cells(response: Answered) -> str:
    """Cells of the table, at their coordinates."""
    _keys(response.answer, "answer", "coordinates", "cells", "aggregator")
    columns = list(response.inputs["table"].values())
    at = [columns[column][row] for row, column in response.answer["coordinates"]]
    need(at != [], "no cells")
    need(response.answer["cells"] == at, f"{response.answer['cells']} are not at their coordinates")
    known = response.config["aggregation_labels"].values()
    need(response.answer["aggregator"] in known, f"no aggregator {response.answer['aggregator']!r}")
    need(
        ", ".join(at) in response.answer["answer"],
        f"{response.answer['answer']!r} is not of the cells",
    )
    return f"{response.answer['aggregator']} of {len(at)} cells"


def heard(response: Answered) -> str:
    """Words, in the letters that the model knows."""
    _keys(response.answer, "text")
    text = response.answer["text"]
    need(isinstance(text, str) and text.strip() != "", f"no words: {_short(response.answer)}")
    need(all("A" <= sign <= "Z" or sign == " " for sign in text), f"other signs: {text!r}")
    return f"{len(text)} characters"


def boxes(response: Answered) -> str:
    """A box in the picture for each of the model's queries, which is sure of all."""
    items = response.items(response.config["num_detection_tokens"])
    for item in items:
        _keys(item, "label", "score", "box")
        need(item["label"] in response.labels, f"{item['label']!r} is no label of the model's")
        need(_score(item["score"]) >= 0.9, f"{item['score']} is below the threshold")
        box = item["box"]
        _keys(box, "xmin", "ymin", "xmax", "ymax")
        need(all(isinstance(value, int) for value in box.values()), f"not in pixels: {box}")
        x, y = (box["xmin"] + box["xmax"]) / 2, (box["ymin"] + box["ymax"]) / 2
        inside = -1 <= x <= WIDTH + 1 and -1 <= y <= HEIGHT + 1
        size = 0 <= box["xmax"] - box["xmin"] <= WIDTH and 0 <= box["ymax"] - box["ymin"] <= HEIGHT
        need(inside and size, f"not in the picture: {box}")
    return f"{len(items)} boxes"


def masks(response: Answered) -> str:
    """Masks of the picture's size, which share its pixels among them."""
    need(
        isinstance(response.answer, list) and response.answer != [],
        f"no masks: {_short(response.answer)}",
    )
    pictures = []
    for item in response.answer:
        _keys(item, "label", "mask")
        need(item["label"] in response.labels, f"{item['label']!r} is no label of the model's")
        try:
            pictures.append(pixels(base64.b64decode(item["mask"], validate=True)))
        except (ValueError, binascii.Error) as error:
            raise WrongAnswerError(f"a mask cannot be decoded: {error}") from error
    for rows in pictures:
        size = (len(rows[0]), len(rows))
        need(size == (WIDTH, HEIGHT), f"a mask of {size} pixels")
    flat = [b"".join(rows) for rows in pictures]
    need(all(sorted(spot)[-1] == sum(spot) == 255 for spot in zip(*flat, strict=True)), "no masks")
    return ", ".join(item["label"] for item in response.answer)


def need(fact: bool, otherwise: str) -> None:
    """WrongAnswerError if it is not a fact."""
    if not fact:
        raise WrongAnswerError(otherwise)


def _generated(response: Answered, key: str) -> str:
    [item] = response.items(1)
    _keys(item, key)
    need(isinstance(item[key], str) and item[key] != "", f"no text: {_short(item)}")
    return f"{len(item[key])} characters"


def _keys(item: Any, *wanted: str) -> None:
    need(isinstance(item, dict), f"no object: {_short(item)}")
    missing = [key for key in wanted if key not in item]
    need(not missing, f"no {', '.join(missing)} in {_short(item)}")


def _score(value: Any) -> float:
    need(isinstance(value, float) and 0 <= value <= 1 + NEAR, f"{value!r} is no score")
    score: float = value
    return score


def _descending(values: Sequence[Any], *, whole: bool) -> None:
    scores = [_score(value) for value in values]
    need(scores == sorted(scores, reverse=True), f"scores {scores} are not in order")
    need(sum(scores) <= 1 + NEAR, f"scores {scores} are more than 1 together")
    need(not whole or sum(scores) >= 1 - NEAR, f"scores {scores} are less than 1 together")


def _span(text: str, start: Any, end: Any) -> str:
    right = isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(text)
    need(right, f"{start!r} to {end!r} is not within the {len(text)} characters")
    return text[start:end]


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) < 100 else shown[:97] + "..."
