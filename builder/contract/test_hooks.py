"""Hooks as people write them for other images of SageMaker's: arguments, answers and exceptions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import docker
import pytest

from builder.contract.conftest import Serve
from builder.contract.protocol import HANDLER, JSON, error
from builder.contract.subject import Subject
from builder.serve.server import Response, Server

pytestmark = pytest.mark.inference

# One model each; what the first does is what it is asked for.
MODELS = {
    "defaults": """
from mms.service import PredictionException

def model_fn(model_dir):
    return "none"

def predict_fn(data, model, temperature=1.0):
    if data["inputs"] == "quota":
        raise PredictionException("quota exceeded", 429)
    assert data["inputs"] != "assert"
    return data["inputs"], temperature

def output_fn(prediction, accept):
    asked, temperature = prediction
    if asked == "pair":
        return "a pair", "text/x-pair"
    return b"\\x00\\xff" if asked == "bytes" else str(temperature)
""",
    "keywords": """
def model_fn(model_dir):
    return "none"

def predict_fn(data, model, **kwargs):
    return sorted(kwargs)
""",
    "impossible": """
def model_fn(model_dir):
    return "none"

def predict_fn(data):
    return data
""",
}

Ask = Callable[..., Response]


@pytest.fixture(scope="module")
def ask(
    client: docker.DockerClient, subject: Subject, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ask]:
    """Asks one of the models, which a server for several has loaded."""
    folder = tmp_path_factory.mktemp("hooks")
    for name, code in MODELS.items():
        path = folder / name / "code" / "inference.py"
        path.parent.mkdir(parents=True)
        path.write_text(code, "utf-8")
    with ExitStack() as stack:
        server = Serve(client, subject.image, stack)(
            model=folder, environment={"SAGEMAKER_MULTI_MODEL": "true"}
        )
        for name in MODELS:
            load(server, name)

        def invoke(name: str, inputs: str, accept: str = "*/*") -> Response:
            body = json.dumps({"inputs": inputs}).encode()
            headers = {"Content-Type": JSON, "Accept": accept}
            return server.ask("POST", f"/models/{name}/invoke", body=body, headers=headers)

        yield invoke


def test_arguments_with_defaults(ask: Ask) -> None:
    """Are the team's own; the server's context is not put in their place."""
    answer = ask("defaults", "x")
    assert (answer.status, answer.body) == (200, b"1.0"), answer


def test_keywords(ask: Ask) -> None:
    """A predict_fn that takes any keyword is given none."""
    answer = ask("keywords", "x")
    assert (answer.status, json.loads(answer.body)) == (200, []), answer


def test_arguments_that_do_not_fit(ask: Ask) -> None:
    """The function is named, with what it is given."""
    assert "predict_fn(data) cannot be called: it is given 2 arguments" in error(
        ask("impossible", "x"), 503, HANDLER
    )


def test_answers(ask: Ask) -> None:
    """A body with its content type, and bytes, are sent as they are."""
    pair = ask("defaults", "pair")
    assert (pair.status, pair.body, pair.content_type) == (200, b"a pair", "text/x-pair"), pair
    answer = ask("defaults", "bytes", accept="application/x-own")
    assert (answer.status, answer.body) == (200, b"\x00\xff"), answer
    assert answer.content_type == "application/x-own"


def test_accept_that_no_header_can_hold(ask: Ask) -> None:
    """Other characters than ASCII in Accept reach output_fn, and cost no worker."""
    answer = ask("defaults", "x", accept="text/pl\xe4in")
    assert (answer.status, answer.body, answer.content_type) == (200, b"1.0", "text/pl?in"), answer


def test_exceptions(ask: Ask) -> None:
    """The status of a PredictionException is kept; one without a text is told by its type."""
    assert error(ask("defaults", "quota"), 429, HANDLER) == "quota exceeded"
    assert error(ask("defaults", "assert"), 500, HANDLER) == "AssertionError"


def load(server: Server, name: str) -> None:
    """Load a model of the folder."""
    body = json.dumps({"model_name": name, "url": f"/opt/ml/model/{name}"}).encode()
    headers = {"Content-Type": JSON}
    answer = server.ask("POST", "/models", body=body, headers=headers, timeout=120)
    assert answer.status == 200, answer.body
