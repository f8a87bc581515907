"""What each task is asked: the reference pages' own bodies where they give one."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from builder.contract import task_answers as answers
from builder.contract.task_answers import Answered, WrongAnswerError, need
from builder.contract.task_models import MEDIA
from builder.contract.tasks import BODY, Facts, Limit
from builder.serve.server import Response

__all__ = ["ASKS", "Ask", "refused"]

_TYPES = {"picture.png": "image/png", "sound.wav": "audio/wave"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """A request and the check of its answer.

    `file` is a picture or a sound: the body itself, of its own content type or of `kind`, or base64
    in JSON where `named`. `limit` is why
    an image that can do the task may refuse this request.
    """

    check: Callable[[Answered], str]
    inputs: Any = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""
    named: bool = False
    kind: str = ""
    limit: Limit | None = None

    def body(self) -> tuple[bytes, str]:
        """The body and its content type."""
        if self.file and not self.named:
            return MEDIA[self.file], self.kind or _TYPES[self.file]
        content = base64.b64encode(MEDIA[self.file]).decode() if self.file else self.inputs
        asked = {"inputs": content}
        if self.parameters:
            asked["parameters"] = self.parameters
        return json.dumps(asked).encode(), "application/json"

    def limits(self, limit: Limit | None, facts: Facts) -> list[Limit]:
        """Why an image refuses it: the task's reason, its own, or both; none if it does not."""
        own = self.limit if self.limit and self.limit.applies(facts) else None
        return [found for found in (limit, own) if found]

    def found(self, reply: Response, config: Mapping[str, Any], earlier: list[object]) -> str:
        """What the check says of an answer, which then is an earlier one; WrongAnswerError."""
        if reply.status != 200:
            raise WrongAnswerError(f"{reply.status}: {reply.body.decode('utf-8', 'replace')}")
        answered = Answered(
            answer=json.loads(reply.body),
            inputs=self.inputs,
            parameters=self.parameters,
            config=config,
            earlier=tuple(earlier),
        )
        earlier.append(answered.answer)
        return self.check(answered)


def refused(reply: Response, limits: Sequence[Limit]) -> str:
    """What the server says, which must be why: WrongAnswerError if its message names no reason."""
    shown = reply.body.decode("utf-8", "replace")
    need(400 <= reply.status < 600, f"answered, although {limits[0].why}: {shown[:200]}")
    try:
        error = json.loads(shown)
        code, kind, message = error["code"], error["type"], str(error["message"])
    except (ValueError, KeyError, TypeError) as wrong:
        raise WrongAnswerError(f"not the toolkit's error: {shown[:200]}") from wrong
    need(code == reply.status and bool(kind), f"not the toolkit's error: {shown[:200]}")
    named = any(re.search(limit.says, message) for limit in limits)
    need(named, f"it does not say that {limits[0].why}: {message}")
    return f"{reply.status}: {message.strip().splitlines()[0][:160]}"


def _media(file: str, check: Callable[[Answered], str], **parameters: Any) -> tuple[Ask, ...]:
    return (
        Ask(file=file, check=check, limit=BODY),
        Ask(file=file, check=check, limit=BODY, kind="application/octet-stream"),
        Ask(file=file, check=check, named=True, parameters=parameters),
    )


_REVIEW = (
    "This sound track was beautiful! It paints the senery in your mind so well I would recomend it "
    "even to people who hate vid. game music!"
)
_COMPLAINT = (
    "Don't waste your time.  We had two different people come to our house to give us estimates "
    "for\na deck (one of them the OWNER).  Both times, we never heard from them.  Not a call, not "
    "the estimate, nothing."
)
_NAMES = "My name is Sylvain and I work at Hugging Face in Brooklyn."
_REFUND = (
    "Hi, I recently bought a device from your company but it is not working as advertised and I "
    "would like to get reimbursed!"
)
_ARTICLE = (
    "Hugging Face, the winner of VentureBeat's Innovation in Natural Language "
    "Process/Understanding Award for 2021, is looking to level the playing field. The team, "
    "launched by Clément Delangue and Julien Chaumond in 2016, was recognized for its work in "
    "democratizing NLP, the global market value for which is expected to hit $35.1 billion by "
    "2026. This week, Google's former head of Ethical AI Margaret Mitchell joined the team."
)
_SHORT = {"min_length": 5, "max_length": 20}
_LABELS = ["refund", "legal", "faq"]

ASKS: Mapping[str, tuple[Ask, ...]] = {
    "text-classification": (
        Ask(inputs=_REVIEW, check=answers.classes),
        Ask(inputs=[_REVIEW, _COMPLAINT], check=answers.classes),
    ),
    "sentiment-analysis": (Ask(inputs=_COMPLAINT, check=answers.classes),),
    "token-classification": (Ask(inputs=_NAMES, check=answers.entities),),
    "ner": (Ask(inputs=_NAMES, check=answers.entities),),
    "feature-extraction": (Ask(inputs=_NAMES, check=answers.features),),
    "fill-mask": (
        Ask(inputs="The movie is very [MASK].", check=answers.masked),
        Ask(inputs="The movie is very [MASK].", check=answers.masked, parameters={"top_k": 2}),
    ),
    "summarization": (Ask(inputs=_ARTICLE, check=answers.summary, parameters=_SHORT),),
    "parameterized-request": (
        Ask(inputs=_ARTICLE, check=answers.summary),
        Ask(
            inputs=_ARTICLE,
            check=answers.other_summary,
            parameters={"repetition_penalty": 4.0, "length_penalty": 1.5},
        ),
    ),
    "translation_xx_to_yy": (Ask(inputs=_NAMES, check=answers.translation, parameters=_SHORT),),
    "text2text-generation": (Ask(inputs=_NAMES, check=answers.generated, parameters=_SHORT),),
    "text-generation": (
        Ask(
            inputs="The playing field is",
            check=answers.continued,
            parameters={"max_length": 40, "do_sample": True, "num_return_sequences": 2},
        ),
    ),
    "question-answering": (
        Ask(
            inputs={
                "question": "What is used for inference?",
                "context": "My Name is Philipp and I live in Nuremberg. This model is used with "
                "sagemaker for inference.",
            },
            check=answers.answered,
        ),
    ),
    "zero-shot-classification": (
        Ask(inputs=_REFUND, check=answers.candidates, parameters={"candidate_labels": _LABELS}),
    ),
    "table-question-answering": (
        Ask(
            inputs={
                "query": "How many stars does the transformers repository have?",
                "table": {
                    "Repository": ["Transformers", "Datasets", "Tokenizers"],
                    "Stars": ["36542", "4512", "3934"],
                    "Contributors": ["651", "77", "34"],
                    "Programming language": ["Python", "Python", "Rust, Python and NodeJS"],
                },
            },
            check=answers.cells,
        ),
    ),
    "conversational": (
        Ask(
            inputs={
                "text": "Is it any good?",
                "past_user_inputs": ["Which movie is the best?"],
                "generated_responses": ["It is hard to say."],
            },
            check=answers.replied,
        ),
    ),
    "audio-classification": _media("sound.wav", answers.ranks),
    "automatic-speech-recognition": _media("sound.wav", answers.heard),
    "image-classification": _media("picture.png", answers.ranks, top_k=1),
    "image-segmentation": _media("picture.png", answers.masks),
    "object-detection": _media("picture.png", answers.boxes),
    "zero-shot-image-classification": (
        Ask(
            file="picture.png",
            named=True,
            check=answers.candidates,
            parameters={"candidate_labels": ["cat", "bird"]},
        ),
    ),
}
