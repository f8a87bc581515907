"""A real inference image under a real engine: start, answers, stop."""

from __future__ import annotations

import json
import tarfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import docker.errors
import pytest

from builder.errors import ContainerError
from builder.serve.run import run, smoke
from builder.serve.server import Server

if TYPE_CHECKING:
    import docker

pytestmark = pytest.mark.images

READY_SECONDS = 240


class InferenceImage(Protocol):
    """What the fixture inference_image gives."""

    client: docker.DockerClient
    tag: str


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    """A model without weights that repeats what it is asked and tells its token, as an archive."""
    code = tmp_path / "inference.py"
    code.write_text(
        textwrap.dedent(
            """
            import json, os

            def model_fn(model_dir):
                return "echo"

            def transform_fn(model, data, content_type, accept):
                return json.dumps({"asked": json.loads(data), "token": os.getenv("HF_API_TOKEN")})
            """
        )
    )
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.add(code, "code/inference.py")
    return tmp_path / "model.tar.gz"


@pytest.fixture
def server(inference_image: InferenceImage, echo: Path) -> Iterator[Server]:
    """A server of the echo, ready, started with the user's token."""
    environment = {"HF_TOKEN": "secret", "SAGEMAKER_MODEL_SERVER_WORKERS": "1"}
    with run(
        inference_image.client, inference_image.tag, model=echo, environment=environment
    ) as server:
        server.wait_ready(READY_SECONDS)
        yield server


def test_image_answers(inference_image: InferenceImage) -> None:
    said: list[str] = []
    prediction = smoke(inference_image.client, inference_image.tag, say=said.append)
    [answer] = prediction.answer
    assert answer["label"] in {"NEGATIVE", "POSITIVE"}
    assert 0 <= answer["score"] <= 1
    assert 0 < prediction.ready_seconds < prediction.answer_seconds
    assert said[-1].startswith("answer after ")


def test_server_answers_knows_the_token_and_stops(server: Server) -> None:
    response = server.invoke(b'{"inputs": "hello"}')
    assert (response.status, response.content_type) == (200, "application/json")
    # The user's HF_TOKEN, under the only name that the toolkit reads.
    assert json.loads(response.body) == {"asked": {"inputs": "hello"}, "token": "secret"}

    assert server.stop() == 0, "the engine kills what does not end within ten seconds: 137"


@pytest.mark.parametrize(
    ("command", "code", "output"),
    [
        (("python", "-c", "print('hello')"), 0, "hello"),
        (("sh", "-c", "exit 7"), 7, ""),
        (("sh", "-c", "kill -KILL $$"), 137, ""),
        (("nothing",), 127, "dockerd-entrypoint: nothing: command not found in this image"),
    ],
)
def test_other_commands_keep_their_exit_code(
    inference_image: InferenceImage, echo: Path, command: tuple[str, ...], code: int, output: str
) -> None:
    with run(inference_image.client, inference_image.tag, model=echo, command=command) as server:
        assert server.container.wait(timeout=60)["StatusCode"] == code
        assert server.logs(10) == output


def test_container_that_ends_is_told_with_its_log(
    inference_image: InferenceImage, echo: Path
) -> None:
    command = ("sh", "-c", "echo no room; exit 7")
    with (
        run(inference_image.client, inference_image.tag, model=echo, command=command) as server,
        pytest.raises(ContainerError) as caught,
    ):
        server.wait_ready(READY_SECONDS)
    assert "ended with exit code 7 before it was ready" in caught.value.message
    assert caught.value.remedy == "fix what its log says:\nno room"


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_no_container_is_left_behind(
    inference_image: InferenceImage, echo: Path, failure: type[BaseException]
) -> None:
    client = inference_image.client
    with (
        pytest.raises(failure),
        run(client, inference_image.tag, model=echo, command=("sleep", "60")) as server,
    ):
        assert client.containers.get(str(server.container.id)).labels["dlc.role"] == "serve"
        raise failure
    with pytest.raises(docker.errors.NotFound):
        client.containers.get(str(server.container.id))


def test_missing_image_and_taken_port(inference_image: InferenceImage, echo: Path) -> None:
    client, tag = inference_image.client, inference_image.tag
    with (
        pytest.raises(ContainerError, match="no container of no-such-image can be made"),
        run(client, "no-such-image", model=echo),
    ):
        pass
    with run(client, tag, model=echo, command=("sleep", "60")) as server:
        port = int(server.url.rsplit(":", 1)[1])
        with (
            pytest.raises(ContainerError, match="if the port is taken, choose another"),
            run(client, tag, model=echo, port=port),
        ):
            pass
