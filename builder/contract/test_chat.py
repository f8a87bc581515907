"""Chats as lists of messages, which Transformers reads by the model's own template."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import docker
import pytest

from builder.contract.conftest import Serve
from builder.contract.protocol import HANDLER, error
from builder.contract.subject import Subject
from builder.contract.task_models import Makings, make
from builder.serve.server import Response

pytestmark = pytest.mark.inference

SINCE = (4, 42)  # of Transformers: text generation and conversations by messages
SHORT = {"max_new_tokens": 6, "do_sample": False}
CHAT = [
    {"role": "system", "content": "Answer in one word."},
    {"role": "user", "content": "Which movie is the best?"},
]
OTHER = [{"role": "user", "content": "Is it any good?"}]

Ask = Callable[..., Response]
Start = Callable[..., Ask]
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def models(
    client: docker.DockerClient, subject: Subject, tmp_path_factory: pytest.TempPathFactory
) -> Makings:
    """A model with a template for messages, and one without."""
    if subject.version("transformers") < SINCE:
        pytest.skip(f"messages are for Transformers {SINCE[0]}.{SINCE[1]} and later")
    if not subject.version("jinja2"):
        pytest.skip("templates of chats need jinja2, which is not in the image")
    return make(client, subject.image, tmp_path_factory.mktemp("chat"), ("causal", "chat"))


@pytest.fixture(scope="module")
def start(client: docker.DockerClient, subject: Subject, models: Makings) -> Iterator[Start]:
    """Starts a server of a model for a task; what asks it for JSON."""
    with ExitStack() as stack:

        def started(task: str, model: str = "chat") -> Ask:
            server = Serve(client, subject.image, stack)(
                model=models.models[model].path, environment={"HF_TASK": task}
            )

            def ask(body: dict[str, Any]) -> Response:
                return server.invoke(json.dumps(body).encode(), timeout=120)

            return ask

        yield started


@pytest.fixture(scope="module")
def ask(start: Start) -> Ask:
    """Asks for text generation, by a model with a template."""
    return start("text-generation")


def found(answer: Response) -> Any:
    """The answer, from JSON."""
    assert answer.status == 200, answer
    return json.loads(answer.body)


def reply(chat: list[dict[str, str]], answer: Any) -> str:
    """What was replied to a chat, which comes back whole with it."""
    [only] = answer
    *before, last = only["generated_text"]
    assert before == chat
    assert last.keys() == {"role", "content"}
    assert last["role"] == "assistant"
    text: str = last["content"]
    assert text != ""
    return text


def test_messages(ask: Ask, record_property: Record) -> None:
    """Are answered with the chat and a message more, by either key."""
    answer = found(ask({"inputs": CHAT, "parameters": SHORT}))
    assert len(reply(CHAT, answer)) <= SHORT["max_new_tokens"]
    assert found(ask({"messages": CHAT, "parameters": SHORT})) == answer
    record_property("detail", f"a reply of {len(reply(CHAT, answer))} characters")


def test_several_chats(ask: Ask) -> None:
    """Each is answered as alone."""
    answers = found(ask({"inputs": [CHAT, OTHER], "parameters": SHORT}))
    assert len(answers) == 2
    for chat, answer in zip((CHAT, OTHER), answers, strict=True):
        assert found(ask({"inputs": chat, "parameters": SHORT})) == answer
    assert reply(CHAT, answers[0]) != reply(OTHER, answers[1])


def test_parameters(ask: Ask) -> None:
    """Only what is new, several replies, and longer ones."""
    short = reply(CHAT, found(ask({"inputs": CHAT, "parameters": SHORT})))
    new = found(ask({"inputs": CHAT, "parameters": {**SHORT, "return_full_text": False}}))
    assert new == [{"generated_text": short}]
    longer = reply(
        CHAT, found(ask({"inputs": CHAT, "parameters": {**SHORT, "max_new_tokens": 40}}))
    )
    assert len(longer) > len(short)
    several = {"do_sample": True, "num_return_sequences": 2, "max_new_tokens": 20}
    answers = found(ask({"inputs": CHAT, "parameters": several}))
    assert len({reply(CHAT, [answer]) for answer in answers}) == 2


def test_a_reply_that_is_begun(ask: Ask) -> None:
    """Is gone on with, in the same message."""
    begun = [*CHAT, {"role": "assistant", "content": "The one with"}]
    [answer] = found(ask({"inputs": begun, "parameters": SHORT}))
    *before, last = answer["generated_text"]
    assert before == CHAT
    assert last["content"].startswith("The one with")
    assert len(last["content"]) > len("The one with")


def test_what_is_refused(ask: Ask) -> None:
    """With the reason, and the server goes on."""
    for body, why in (
        ({"inputs": [{"role": "user"}]}, "each message must have a role, and as content"),
        ({"inputs": [{"role": "tool", "content": "4"}]}, "no tools are known here"),
        ({"messages": CHAT, "max_tokens": 4}, "beside messages there is max_tokens"),
        ({"inputs": CHAT, "parameters": {"chat_template": "{{ 1 }}"}}, "'chat_template'"),
    ):
        assert why in error(ask(body), 400, HANDLER)
    assert ask({"inputs": CHAT, "parameters": SHORT}).status == 200


def test_a_model_without_a_template(start: Start) -> None:
    """Says so; it is no model for chats."""
    ask = start("text-generation", "causal")
    assert "chat_template" in error(ask({"inputs": CHAT}), 400, HANDLER)
    assert ask({"inputs": "A text", "parameters": SHORT}).status == 200


def test_conversations(start: Start) -> None:
    """The older task takes messages, too, one chat or several, and its own form as before."""
    ask = start("conversational")
    answer = found(ask({"inputs": CHAT, "parameters": SHORT}))
    assert reply(CHAT, answer)
    assert found(ask({"messages": CHAT, "parameters": SHORT})) == answer
    answers = found(ask({"inputs": [CHAT, OTHER], "parameters": SHORT}))
    assert answers[0] == answer
    assert reply(OTHER, answers[1])
    older = found(ask({"inputs": {"text": OTHER[0]["content"]}, "parameters": SHORT}))
    assert older["generated_text"] == reply(OTHER, answers[1])
    assert older["conversation"]["past_user_inputs"] == [OTHER[0]["content"]]
