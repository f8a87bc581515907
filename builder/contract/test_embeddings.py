"""Vectors of texts, by feature-extraction: one for each token, of one text and of several."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import docker
import pytest

from builder.contract.conftest import Serve
from builder.contract.protocol import HANDLER, error
from builder.contract.subject import Subject
from builder.contract.task_models import Made, make
from builder.serve.server import Response

pytestmark = pytest.mark.inference

SINCE = (4, 26)  # of Transformers: the pipeline's tokenize_kwargs
TEXTS = ["I love this movie", "It was not very good, I would say"]

Ask = Callable[..., Response]


@pytest.fixture(scope="module")
def made(
    client: docker.DockerClient, subject: Subject, tmp_path_factory: pytest.TempPathFactory
) -> Made:
    """The model."""
    if subject.version("transformers") < SINCE:
        pytest.skip(
            f"a tokenizer's parameters are for Transformers {SINCE[0]}.{SINCE[1]} and later"
        )
    makings = make(client, subject.image, tmp_path_factory.mktemp("vectors"), ("features",))
    return makings.models["features"]


@pytest.fixture(scope="module")
def ask(client: docker.DockerClient, subject: Subject, made: Made) -> Iterator[Ask]:
    """Asks a server of the model."""
    with ExitStack() as stack:
        server = Serve(client, subject.image, stack)(
            model=made.path, environment={"HF_TASK": "feature-extraction"}
        )

        def invoke(inputs: Any, accept: str = "application/json", **parameters: Any) -> Response:
            body = {"inputs": inputs, **({"parameters": parameters} if parameters else {})}
            return server.invoke(json.dumps(body).encode(), accept=accept, timeout=120)

        yield invoke


def vectors(answer: Any, width: int) -> list[list[float]]:
    """The vectors of one text: all of the model's width, and numbers."""
    [found] = answer
    assert len(found) > 2
    for vector in found:
        assert len(vector) == width
        assert all(isinstance(value, float) and math.isfinite(value) for value in vector)
    tokens: list[list[float]] = found
    return tokens


def found(answer: Response) -> Any:
    """The answer, from JSON."""
    assert answer.status == 200, answer
    return json.loads(answer.body)


def test_several_texts(ask: Ask, made: Made) -> None:
    """Each has the vectors that it has alone, in the order of the texts."""
    width = made.config["dim"]
    answers = found(ask(TEXTS))
    assert len(answers) == len(TEXTS)
    for text, answer in zip(TEXTS, answers, strict=True):
        alone = vectors(found(ask(text)), width)
        beside = vectors(answer, width)
        assert len(alone) == len(beside)
        for one, other in zip(alone, beside, strict=True):
            assert one == pytest.approx(other, abs=1e-5)
    assert len(vectors(answers[0], width)) != len(vectors(answers[1], width))


def test_parameters_of_the_tokenizer(ask: Ask, made: Made) -> None:
    """Count, as parameters and as tokenize_kwargs; one that is given twice is refused."""
    width = made.config["dim"]
    cut = found(ask(TEXTS, truncation=True, max_length=4))
    assert [len(vectors(each, width)) for each in cut] == [4, 4]
    kwargs = {"truncation": True, "max_length": 4}
    assert found(ask(TEXTS, tokenize_kwargs=kwargs)) == cut
    bare = vectors(found(ask(TEXTS[0], add_special_tokens=False)), width)
    assert len(bare) == len(vectors(found(ask(TEXTS[0])), width)) - 2
    told = error(ask(TEXTS, max_length=4, tokenize_kwargs={"max_length": 5}), 400, HANDLER)
    assert "given twice" in told


def test_tensors(ask: Ask) -> None:
    """Are numbers and lists in JSON, as without."""
    assert found(ask(TEXTS[0], return_tensors=True)) == found(ask(TEXTS[0]))


def test_an_array(ask: Ask, made: Made) -> None:
    """One text's vectors are an array, too, for clients with NumPy."""
    answer = ask(TEXTS[0], accept="application/x-npy")
    assert (answer.status, answer.content_type) == (200, "application/x-npy"), answer
    head = io.BytesIO(answer.body).read(128).decode("latin-1")
    tokens = len(vectors(found(ask(TEXTS[0])), made.config["dim"]))
    assert f"'shape': (1, {tokens}, {made.config['dim']})" in head
