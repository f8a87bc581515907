"""Where a model comes from: the Hub, by its id and with the user's token, or a model.tar.gz."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import pytest

from builder.contract.conftest import Serve
from builder.contract.hub import Hub, HubModel, Request, stand_in
from builder.contract.protocol import logged
from builder.contract.subject import Subject
from builder.engine.containers import refused, text
from builder.errors import ContainerError
from builder.serve.model_archive import pack, tiny_files
from builder.serve.server import QUESTION, Server

pytestmark = pytest.mark.inference

PUBLIC, REDIRECTED, PRIVATE = "tests/public", "tests/redirected", "tests/private"
WITH_CODE = "tests/with-code"
CANARY = "/tmp/canary"  # noqa: S108 - a path of the container
CODE = f"open({CANARY!r}, 'w').close()\n".encode()
LABELS = {"NEGATIVE", "POSITIVE"}
OTHER_LABELS = {"WORSE", "BETTER"}

# Weights of frameworks that nobody asks for; whoever loads them fails.
FOREIGN = {
    "pytorch": ("tf_model.h5", "flax_model.msgpack"),
    "tensorflow": ("pytorch_model.bin", "flax_model.msgpack"),
}

END_SECONDS = 120
LISTEN_SECONDS = 120

Load = Callable[..., Server]


@pytest.fixture(scope="module")
def tiny(client: docker.DockerClient, subject: Subject) -> Mapping[str, bytes]:
    """The files of a tiny model of the image's own framework."""
    return tiny_files(client, subject.image)


@pytest.fixture(scope="module")
def hub(client: docker.DockerClient, subject: Subject, tiny: Mapping[str, bytes]) -> Iterator[Hub]:
    """A Hub that has the tiny model in public, in private, and with an older revision."""
    if "torch-neuron" in subject.packages:
        pytest.skip("the toolkit refuses HF_MODEL_ID where torch-neuron is installed")
    config = json.loads(tiny["config.json"])
    config["id2label"] = dict(enumerate(sorted(OTHER_LABELS)))
    older = {**tiny, "config.json": json.dumps(config).encode()}
    foreign = dict.fromkeys(FOREIGN[subject.repository.framework], b"none of yours")
    models = {
        PUBLIC: HubModel(revisions={"main": {**tiny, **foreign}, "older": older, "v1.0": older}),
        REDIRECTED: HubModel(revisions={"main": tiny}, redirects=True),
        PRIVATE: HubModel(revisions={"main": tiny}, private=True),
        WITH_CODE: HubModel(
            revisions={"main": {**tiny, "inference.py": CODE, "code/inference.py": CODE}}
        ),
    }
    with stand_in(client, subject.image, models) as found:
        yield found


@pytest.fixture
def load(serve: Serve, hub: Hub) -> Load:
    """Starts a server that has the Hub, and nothing else of the world."""

    def start(environment: Mapping[str, str], *, ready: bool = True) -> Server:
        return serve(
            environment={**hub.environment, "SAGEMAKER_MODEL_SERVER_WORKERS": "1", **environment},
            files=hub.files,
            options={"network": hub.network},
            ready=ready,
        )

    return start


@pytest.fixture
def asked(hub: Hub) -> Callable[[], list[Request]]:
    """What the Hub was asked since the test began."""
    before = len(hub.requests())
    return lambda: hub.requests()[before:]


def test_model_by_id(load: Load, subject: Subject, asked: Callable[[], list[Request]]) -> None:
    """HF_MODEL_ID alone: the newest revision, its task by its config.json, its own weights only."""
    server = load({"HF_MODEL_ID": PUBLIC})
    assert label(server) in LABELS
    requests = asked()
    assert {request.token for request in requests} == {"none"}
    downloaded = {request.file for request in requests if request.method == "GET"}
    assert {"config.json", "tokenizer_config.json"} <= downloaded
    assert not downloaded & set(FOREIGN[subject.repository.framework])


def test_model_behind_redirects(load: Load) -> None:
    """The same, from a Hub that answers as today's does."""
    server = load({"HF_MODEL_ID": REDIRECTED, "HF_TASK": "text-classification"})
    assert label(server) in LABELS


@pytest.mark.parametrize("kind", ["branch", "tag", "commit"])
def test_revision(kind: str, load: Load, hub: Hub, asked: Callable[[], list[Request]]) -> None:
    """HF_MODEL_REVISION: a branch, a tag or a commit, and nothing of another revision."""
    commit = hub.models[PUBLIC].commit("older")
    revision = {"branch": "older", "tag": "v1.0", "commit": commit}[kind]
    server = load({"HF_MODEL_ID": PUBLIC, "HF_MODEL_REVISION": revision})
    assert label(server) in OTHER_LABELS
    files = [request.path for request in asked() if request.file]
    assert files
    assert all(f"/resolve/{revision}/" in path or f"/{commit}/" in path for path in files)


@pytest.mark.parametrize("name", ["HF_API_TOKEN", "HF_TOKEN"])
def test_private_model(name: str, load: Load, hub: Hub, asked: Callable[[], list[Request]]) -> None:
    """A private model, with the user's token under the toolkit's name or everybody else's."""
    server = load({"HF_MODEL_ID": PRIVATE, name: hub.token})
    assert label(server) in LABELS
    # Since its version 2 huggingface_hub asks the Hub for a list of agents too, which is public.
    of_model = [each for each in asked() if each.host == "huggingface.co" and PRIVATE in each.path]
    assert {each.token for each in of_model} == {"good"}
    assert hub.token not in server.logs(1000)
    assert files_with(server, hub.token) == ""


@pytest.mark.parametrize("trust", ["", "False", "1"])
def test_code_of_a_model(
    trust: str,
    load: Load,
    asked: Callable[[], list[Request]],
    record_property: Callable[[str, object], None],
) -> None:
    """inference.py in a model's root or its code/ runs only if the operator trusts it."""
    environment = {"HF_MODEL_ID": WITH_CODE, "HF_TASK": "text-classification"}
    server = load(environment | ({"HF_TRUST_REMOTE_CODE": trust} if trust else {}))
    assert label(server) in LABELS
    ran = server.container.exec_run(["test", "-e", CANARY]).exit_code == 0
    if all(request.file != "inference.py" for request in asked()):
        record_property("detail", "this toolkit downloads no code")
        assert not ran
        return
    assert ran == (trust == "1")
    assert ("dlc: left out code of the repository" in server.logs(1000)) != ran


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        pytest.param({"HF_MODEL_ID": PRIVATE}, f"/{PRIVATE}", id="private"),
        pytest.param({"HF_MODEL_ID": "tests/unknown"}, "/tests/unknown", id="unknown"),
        pytest.param(
            {"HF_MODEL_ID": PUBLIC, "HF_MODEL_REVISION": "v9"}, f"/{PUBLIC}/revision/v9", id="v9"
        ),
        pytest.param({"HF_MODEL_ID": PRIVATE, "HF_TOKEN": "hf_bad"}, "/api/", id="bad-token"),
    ],
)
def test_no_such_model(environment: Mapping[str, str], path: str, load: Load) -> None:
    """What the Hub does not give ends the container, with the Hub's status and what was asked."""
    server = load(environment, ready=False)
    with refused(f"the server did not end in {END_SECONDS} s", "see what keeps it"):
        code = server.container.wait(timeout=END_SECONDS)["StatusCode"]
    assert code == 1
    with pytest.raises(ContainerError, match="no answer from"):
        server.invoke(QUESTION, timeout=5)
    log = server.logs(1000)
    status = "404" if "HF_MODEL_REVISION" in environment else "401"
    # As requests has it, and as httpx, which newer clients of the Hub use.
    assert re.search(f"{status} Client Error|Client error '{status} ", log), log
    assert f"url: https://huggingface.co/api/models{path}" in log or path == "/api/"
    assert "the model server ended by itself with exit code 1" in log
    assert "hf_bad" not in log


def test_wrong_task(load: Load) -> None:
    """A task that does not exist is told to whoever asks, with the tasks that do."""
    server = load({"HF_MODEL_ID": PUBLIC, "HF_TASK": "text-clasification"}, ready=False)
    message = refusal(server)
    assert "Unknown task text-clasification" in message
    assert "'text-classification'" in message


def test_model_archive(serve: Serve, tiny: Mapping[str, bytes], tmp_path: Path) -> None:
    """A model.tar.gz with the model's files at its root, without HF_TASK."""
    model = archive(tmp_path, tiny)
    server = serve(model=model, environment={"SAGEMAKER_MODEL_SERVER_WORKERS": "1"})
    assert label(server) in LABELS


def test_model_archive_with_a_folder(
    serve: Serve, tiny: Mapping[str, bytes], tmp_path: Path
) -> None:
    """A model.tar.gz with everything in a folder: what is missing is told, and logged whole."""
    model = archive(tmp_path, {f"my-model/{name}": content for name, content in tiny.items()})
    environment = {"SAGEMAKER_MODEL_SERVER_WORKERS": "1", "HF_TASK": "text-classification"}
    server = serve(model=model, environment=environment, ready=False)
    message = refusal(server)
    assert any(name in message for name in tiny), message
    assert "/opt/ml" not in message
    logged(server, "did not load", "Traceback")


def files_with(server: Server, secret: str) -> str:
    """The files with a text, of those that the server has written, one on each line."""
    written = [str(each["Path"]) for each in server.container.diff() or []]
    # Not pipes, which would be waited for.
    command = ["grep", "--files-with-matches", "-sF", "-D", "skip", "-d", "skip"]
    return text(server.container.exec_run([*command, "--", secret, *written]).output)


def archive(folder: Path, files: Mapping[str, bytes]) -> Path:
    """A model.tar.gz of files, by their paths."""
    path = folder / "model.tar.gz"
    path.write_bytes(gzip.compress(pack(files)))
    return path


def label(server: Server) -> str:
    """The label that a text-classification answers with."""
    response = server.invoke(QUESTION)
    assert response.status == 200, response.body
    [answer] = json.loads(response.body)
    return str(answer["label"])


def refusal(server: Server) -> str:
    """What a server that listens but cannot load its model tells whoever asks it."""
    deadline = time.monotonic() + LISTEN_SECONDS
    while True:
        try:
            if server.ask("GET", "/ping", timeout=5).status == 200:
                break
        except ContainerError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)
    response = server.invoke(QUESTION)
    assert response.status == 503
    answer: Mapping[str, Any] = json.loads(response.body)
    return str(answer["message"])
