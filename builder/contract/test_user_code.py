"""What a model brings besides its files: code/inference.py, and code/requirements.txt."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import docker
import pytest

from builder.contract.conftest import Serve
from builder.contract.index import Index, stand_in, wheel
from builder.contract.protocol import TOOLKIT
from builder.contract.subject import Subject
from builder.engine.containers import refused
from builder.errors import ContainerError
from builder.serve.model_archive import tiny_files
from builder.serve.server import Response, Server

pytestmark = pytest.mark.inference

# The release of the toolkit that hands a hook the server's context, if it asks for it.
CONTEXT = (2, 3, 0)

END_SECONDS = 120
ONE_WORKER = {"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}
DEPENDENCY = wheel("dlc_tiny_dependency", "1.2.3", "ANSWER = 'from the index'\n")

# One model each, and all of them in one server, which is started for several models.
HOOKS = {
    "model_fn": """
def model_fn(model_dir):
    return lambda inputs: [{"made in": model_dir, "asked": inputs}]
""",
    "input_fn": """
def input_fn(data, content_type):
    return {"inputs": [content_type] * len(data.split())}
""",
    "predict_fn": """
def predict_fn(data, model):
    return {"data": data, "model": type(model).__name__}
""",
    "output_fn": """
def output_fn(prediction, accept):
    return accept + "; " + ",".join(sorted(prediction[0]))
""",
    "mixture": """
def transform_fn(model, data, content_type, accept):
    return "transformed"

def output_fn(prediction, accept):
    return "put out"
""",
    "context": """
def model_fn(model_dir, context):
    return [context.model_name]

def input_fn(data, content_type, context):
    return [data, context.model_name]

def predict_fn(data, model, context):
    return model + data + [context.model_name]

def output_fn(prediction, accept, context):
    return " ".join(prediction + [context.model_name])
""",
    "transform_context": """
def model_fn(model_dir):
    return "made"

def transform_fn(model, data, content_type, accept, context):
    return " ".join([model, data, content_type, accept, context.model_name])
""",
}

# A model of its own for each framework: its tensors in the answer.
TENSORS = {
    "pytorch": """
import torch

def predict_fn(data, model):
    half = torch.tensor([0.5])
    brain = torch.tensor([0.5, float("nan")], dtype=torch.bfloat16)
    return {"vectors": torch.ones(2, 3), "half": half.half(), "brain": brain}
""",
    "tensorflow": """
import tensorflow

def predict_fn(data, model):
    half = tensorflow.constant([0.5], "float16")
    brain = tensorflow.constant([0.5, float("nan")], "bfloat16")
    return {"vectors": tensorflow.ones((2, 3)), "half": half, "brain": brain}
""",
}

ALL_HOOKS = """
import dlc_tiny_dependency

def model_fn(model_dir):
    return ["made"]

def input_fn(data, content_type):
    return [content_type, data]

def predict_fn(data, model):
    return model + data

def output_fn(prediction, accept):
    return " ".join(prediction + [accept, dlc_tiny_dependency.ANSWER])
"""

TRANSFORM = """
def model_fn(model_dir):
    return "made"

def transform_fn(model, data, content_type, accept):
    return " ".join([model, data, content_type, accept])
"""

Ask = Callable[..., Response]


@pytest.fixture(scope="module")
def many(
    client: docker.DockerClient, subject: Subject, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server for several models, which has the tiny model once with every hook."""
    folder = tmp_path_factory.mktemp("models")
    tiny = tiny_files(client, subject.image)
    for name, code in {**HOOKS, "tensors": TENSORS[subject.repository.framework]}.items():
        write(folder / name, {**tiny, "code/inference.py": code.encode()})
    with ExitStack() as stack:
        serve = Serve(client, subject.image, stack)
        yield serve(model=folder, environment={"SAGEMAKER_MULTI_MODEL": "true"})


@pytest.fixture
def ask(many: Server, request: pytest.FixtureRequest) -> Ask:
    """Loads one of the models, asks it, and unloads it when the test ends."""

    def invoke(
        name: str, body: str, content_type: str = "application/json", accept: str = "*/*"
    ) -> Response:
        model = {"model_name": name, "url": f"/opt/ml/model/{name}"}
        headers = {"Content-Type": "application/json"}
        loaded = many.ask(
            "POST", "/models", body=json.dumps(model).encode(), headers=headers, timeout=120
        )
        assert loaded.status == 200, loaded.body
        request.addfinalizer(lambda: many.ask("DELETE", f"/models/{name}"))
        headers = {"Content-Type": content_type, "Accept": accept}
        path = f"/models/{name}/invoke"
        return many.ask("POST", path, body=body.encode(), headers=headers, timeout=120)

    return invoke


@pytest.fixture(scope="module")
def index(client: docker.DockerClient, subject: Subject) -> Iterator[Index]:
    """A package index that has one package."""
    with stand_in(client, subject.image, DEPENDENCY) as found:
        yield found


def test_model_fn(ask: Ask) -> None:
    """Makes the model; the rest is the toolkit's."""
    assert answer(ask("model_fn", '{"inputs": "x"}')) == [
        {"made in": "/opt/ml/model/model_fn", "asked": "x"}
    ]


def test_input_fn(ask: Ask) -> None:
    """Reads what the toolkit does not; the model and the answer are the toolkit's."""
    found = answer(ask("input_fn", "three of them", "application/x-words"))
    assert [sorted(one) for one in found] == [["label", "score"]] * 3


def test_predict_fn(ask: Ask) -> None:
    """Asks the toolkit's model, with the toolkit's input."""
    assert answer(ask("predict_fn", '{"inputs": "x"}')) == {
        "data": {"inputs": "x"},
        "model": "TextClassificationPipeline",
    }


def test_output_fn(ask: Ask) -> None:
    """Writes the toolkit's answer in a way of its own, and of the type that was asked for."""
    response = ask("output_fn", '{"inputs": "x"}', accept="text/x-own")
    assert (response.status, response.body) == (200, b"text/x-own; label,score")
    assert response.content_type == "text/x-own"


def test_transform_fn_with_output_fn(ask: Ask) -> None:
    """Is refused, and the client is told which does not go with what."""
    response = ask("mixture", "{}")
    message = refusal(response, 503)
    assert ("Cannot use transform_fn implementation in conjunction with") in message
    assert "output_fn" in message


def test_tensors(ask: Ask) -> None:
    """In an answer become lists, of either framework and of every precision."""
    response = ask("tensors", '{"inputs": "x"}')
    assert answer(response) == {"vectors": [[1.0] * 3] * 2, "half": [0.5], "brain": [0.5, None]}


def test_context(ask: Ask, subject: Subject) -> None:
    """Is handed to every hook that asks for it, since the toolkit can."""
    response = ask("context", "asked", "text/csv", "text/csv")
    if subject.version(TOOLKIT) < CONTEXT:
        assert "missing 1 required positional argument: 'context'" in refusal(response, 503)
        pytest.skip(f"hooks have no context before toolkit {'.'.join(map(str, CONTEXT))}")
    assert response.body == b"context asked context context context"


def test_context_of_transform_fn(ask: Ask, subject: Subject) -> None:
    """Is handed to transform_fn too."""
    response = ask("transform_context", "asked", "text/csv", "text/x-own")
    if subject.version(TOOLKIT) < CONTEXT:
        assert "missing 1 required positional argument: 'context'" in refusal(response)
        pytest.skip(f"hooks have no context before toolkit {'.'.join(map(str, CONTEXT))}")
    assert response.body == b"made asked text/csv text/x-own transform_context"


def test_all_hooks_and_requirements(serve: Serve, index: Index, tmp_path: Path) -> None:
    """inference.py with all hooks, and with a package that requirements.txt names."""
    write(
        tmp_path,
        {
            "code/inference.py": ALL_HOOKS.encode(),
            "code/requirements.txt": b"dlc-tiny-dependency==1.2.3\n",
        },
    )
    server = serve(
        model=tmp_path,
        environment={**ONE_WORKER, **index.environment},
        options={"network": index.network},
    )
    response = server.invoke(b"asked", content_type="text/csv", accept="text/x-own")
    assert response.body == b"made text/csv asked text/x-own from the index"
    assert next(iter(DEPENDENCY)) in index.requests()


def test_requirements_that_do_not_exist(serve: Serve, index: Index, tmp_path: Path) -> None:
    """End the container with what pip says; a model without its packages is not served."""
    write(
        tmp_path,
        {
            "code/inference.py": TRANSFORM.encode(),
            "code/requirements.txt": b"dlc-tiny-dependency==9\n",
        },
    )
    server = serve(
        model=tmp_path,
        environment={**ONE_WORKER, **index.environment},
        options={"network": index.network},
        ready=False,
    )
    with refused(f"the server did not end in {END_SECONDS} s", "see what keeps it"):
        code = server.container.wait(timeout=END_SECONDS)["StatusCode"]
    assert code == 1
    log = server.logs(1000)
    assert "No matching distribution found for dlc-tiny-dependency==9" in log
    assert "failed to install required packages" in log
    with pytest.raises(ContainerError, match="no answer from"):
        server.invoke(b"asked", timeout=5)


def test_program(serve: Serve, tmp_path: Path) -> None:
    """SAGEMAKER_PROGRAM names the script, here one with transform_fn; inference.py is not read."""
    write(
        tmp_path,
        {
            "code/inference.py": b"raise RuntimeError('not this one')\n",
            "code/own_script.py": TRANSFORM.encode(),
        },
    )
    server = serve(model=tmp_path, environment={**ONE_WORKER, "SAGEMAKER_PROGRAM": "own_script.py"})
    response = server.invoke(b"asked", content_type="text/csv", accept="text/x-own")
    assert (response.status, response.body) == (200, b"made asked text/csv text/x-own")
    assert response.content_type == "text/x-own"


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder, by their paths."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def answer(response: Response) -> Any:
    """An answer, decoded from JSON."""
    assert response.status == 200, response.body
    return json.loads(response.body)


def refusal(response: Response, status: int = 500) -> str:
    """What the client is told instead of an answer."""
    assert response.status == status, response.body
    return str(json.loads(response.body)["message"])
