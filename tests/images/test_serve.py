"""A real inference image under a real engine: start, readiness, answers, stop."""

from __future__ import annotations

import json
import tarfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import docker.errors
import pytest

from builder.containers import Server, run, smoke
from builder.errors import ContainerError

if TYPE_CHECKING:
    import docker

pytestmark = pytest.mark.images

READY_SECONDS = 240
ENTRYPOINT = "/usr/local/bin/dockerd-entrypoint.py"


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


def execute(server: Server, *command: str) -> tuple[int, str]:
    result: Any = server.container.exec_run(list(command))
    return result.exit_code, result.output.decode().strip()


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

    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 10


def test_server_whose_java_dies_ends(server: Server) -> None:
    script = """
        import os, tempfile
        os.kill(int(open(tempfile.gettempdir() + "/.model_server.pid").read()), 9)
    """
    assert execute(server, "python", "-c", textwrap.dedent(script))[0] == 0
    assert server.container.wait(timeout=30)["StatusCode"] == 137
    assert "the model server (Java) ended with exit code 137" in server.logs(20)


def test_readiness_is_not_liveness(inference_image: InferenceImage, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "inference.py").write_text(
        textwrap.dedent(
            """
            import time

            def model_fn(model_dir):
                time.sleep(15)
                return "slow"

            def transform_fn(model, data, content_type, accept):
                return '"late"'
            """
        )
    )
    ready = ("python", ENTRYPOINT, "ready")
    with run(inference_image.client, inference_image.tag, model=tmp_path) as server:
        code, said = execute(server, *ready)
        assert code == 1
        assert said.startswith("not ready: the model server does not answer yet")
        # Alive, by what /ping says, long before the model is there.
        deadline = time.monotonic() + READY_SECONDS
        while server.container.exec_run(["python", "-c", PING]).exit_code:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        alive_seconds = time.monotonic() - server.started
        assert execute(server, *ready) == (1, "not ready: model model is still loading")

        assert server.wait_ready(READY_SECONDS) > alive_seconds + 5
        assert execute(server, *ready) == (0, "ready")
        began = time.monotonic()
        assert server.invoke(b"{}").body == b'"late"'
        assert time.monotonic() - began < 5


PING = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/ping')"


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
    with run(inference_image.client, inference_image.tag, model=echo, command=command) as server:
        began = time.monotonic()
        with pytest.raises(ContainerError) as caught:
            server.wait_ready(READY_SECONDS)
        assert time.monotonic() - began < 30
    assert "ended with exit code 7 before it was ready" in caught.value.message
    assert caught.value.remedy == "mend what its log says:\nno room"


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_no_container_is_left_behind(
    inference_image: InferenceImage, echo: Path, failure: type[BaseException]
) -> None:
    client = inference_image.client
    with (
        pytest.raises(failure),
        run(client, inference_image.tag, model=echo, command=("sleep", "60")) as server,
    ):
        assert client.containers.get(server.container_id).labels["dlc.role"] == "serve"
        raise failure
    with pytest.raises(docker.errors.NotFound):
        client.containers.get(server.container_id)


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
