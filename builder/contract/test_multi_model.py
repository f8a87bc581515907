"""Many models in one container, loaded and unloaded as SageMaker does."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from builder.contract.conftest import Serve
from builder.contract.protocol import ECHO, HANDLER, JSON, error, post, processes
from builder.engine.containers import put
from builder.serve.model_archive import TAR_END, tar_header
from builder.serve.server import Response, Server

if TYPE_CHECKING:
    import docker

    from builder.contract.subject import Subject

pytestmark = pytest.mark.inference

Record = Callable[[str, object], None]

# Where SageMaker unpacks a model: a directory named by a digest, in it always `model`.
URL = "/opt/ml/models/{}/model"
GOOD = {"inputs": "I love this movie."}

FAILING = b"""
def model_fn(model_dir):
    raise RuntimeError("these weights are not whole")
"""
UNMET = b"transformers\nno-such-package==1.0  # nobody has it\n"
MET = b"-i https://index.invalid/simple\ntransformers>=4\nnobody; python_version < '2'\n"
FILES: Mapping[str, tuple[str, bytes]] = {
    "met": ("code/requirements.txt", MET),
    "unmet": ("code/requirements.txt", UNMET),
    "echo": ("code/inference.py", ECHO.read_bytes()),
    "failing": ("code/inference.py", FAILING),
    "broken": ("config.json", b"{"),
}


@pytest.fixture(scope="module")
def many(client: docker.DockerClient, subject: Subject) -> Iterator[Server]:
    """A server of no model yet, with some to load in its file system."""
    environment = {"SAGEMAKER_MULTI_MODEL": "true"}
    with ExitStack() as stack:
        server = Serve(client, subject.image, stack)(environment=environment)
        folders = ("models", "models/tiny", *(f"models/{name}/model" for name in FILES))
        tar = b"".join(tar_header(folder) for folder in folders)
        tar += b"".join(
            _file(f"models/{name}/model/{FILES[name][0]}", FILES[name][1]) for name in FILES
        )
        put(server.container, "/opt/ml", tar + TAR_END)
        copies = " && ".join(
            f"cp -r /opt/ml/model/. {URL.format(name)}" for name in ("tiny", "met", "unmet")
        )
        copied: Any = server.container.exec_run(["sh", "-c", copies])
        assert copied.exit_code == 0, copied
        yield server


def test_no_model_yet(many: Server) -> None:
    """Without a model the server is healthy, lists none, and knows none."""
    answer = many.ask("GET", "/ping")
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "Healthy"})
    assert _list(many) == {}
    error(_invoke(many, "tiny", GOOD), 404, "ModelNotFoundException")
    error(many.ask("GET", "/models/tiny"), 404, "ModelNotFoundException")
    error(many.ask("DELETE", "/models/tiny"), 404, "ModelNotFoundException")


def test_load_and_invoke(many: Server, record_property: Record) -> None:
    """POST /models loads a model; then it is listed, described and answers."""
    _loaded(many, "tiny", "echo")
    assert _list(many) == {"tiny": URL.format("tiny"), "echo": URL.format("echo")}
    for name in ("tiny", "echo"):
        answer = many.ask("GET", f"/models/{name}")
        assert (answer.status, answer.content_type) == (200, JSON)
        described = json.loads(answer.body)
        assert (described["modelName"], described["modelUrl"]) == (name, URL.format(name))
        assert [worker["status"] for worker in described["workers"]] == ["READY"]
    _, workers = processes(many.container)
    assert {name: len(pids) for name, pids in workers.items()} == {"tiny": 1, "echo": 1}
    record_property("detail", "one worker for each model")


def test_two_at_once(many: Server) -> None:
    """Two models answer at the same time, each for itself."""
    _loaded(many, "tiny", "echo")
    wanted = {name: _invoke(many, name, GOOD).body for name in ("tiny", "echo")}
    assert json.loads(wanted["tiny"])[0].keys() == {"label", "score"}
    assert json.loads(wanted["echo"]) == {"type": "str", "value": GOOD["inputs"]}
    names = ["tiny", "echo"] * 20
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(pool.map(lambda name: _invoke(many, name, GOOD), names))
    assert [answer.body for answer in answers] == [wanted[name] for name in names]


def test_load_twice(many: Server) -> None:
    """A name that is taken is 409, and the model that has it goes on."""
    _loaded(many, "tiny")
    message = error(_load(many, "tiny"), 409, "ConflictStatusException")
    assert "tiny is already registered" in message
    assert _invoke(many, "tiny", GOOD).status == 200


def test_load_nothing(many: Server) -> None:
    """A path where nothing is, is 404; a request without a path or a name is 400."""
    message = error(_load(many, "nothing"), 404, "ModelNotFoundException")
    assert URL.format("nothing") in message
    error(post(many, {"model_name": "x"}, path="/models"), 400, "BadRequestException")
    nameless = {"model_name": "", "url": URL.format("tiny")}
    error(post(many, nameless, path="/models"), 400, "BadRequestException")
    assert "nothing" not in _list(many)


@pytest.mark.parametrize(
    ("name", "why"), [("failing", "these weights are not whole"), ("broken", "config")]
)
def test_broken_model(many: Server, record_property: Record, name: str, why: str) -> None:
    """A model that cannot be loaded is loaded all the same, and says why when it is invoked."""
    record_property("detail", "it loads with 200; invoked it is 503 and says why")
    try:
        assert _load(many, name).status == 200
        assert why in error(_invoke(many, name, GOOD), 503, HANDLER)
        assert json.loads(many.ask("GET", "/ping").body) == {"status": "Healthy"}
        _loaded(many, "tiny")
        assert _invoke(many, "tiny", GOOD).status == 200
    finally:
        assert many.ask("DELETE", f"/models/{name}").status == 200


def test_requirements(many: Server) -> None:
    """A model is loaded if the image has what it requires, and refused with what it lacks."""
    message = error(_load(many, "unmet"), 400, "BadRequestException")
    assert "asks for no-such-package==1.0, which this image does not have" in message
    assert "unmet" not in _list(many)
    try:
        _loaded(many, "met")
        assert _invoke(many, "met", GOOD).status == 200
    finally:
        many.ask("DELETE", "/models/met")


def test_a_name_with_a_slash(many: Server) -> None:
    """A name that no path could ask for is refused when the model is loaded."""
    body = {"model_name": "team/sentiment", "url": URL.format("tiny")}
    message = error(post(many, body, path="/models"), 400, "BadRequestException")
    assert "none of them a slash" in message


@pytest.mark.parametrize(
    "more",
    [
        {"url": "http://127.0.0.1:9876/evil.mar"},
        {"url": "file:///etc"},
        {"url": "/etc"},
        {"url": "/opt/ml/models/../../../etc"},
        {"handler": "os:system"},
    ],
)
def test_load_elsewhere(many: Server, more: Mapping[str, str]) -> None:
    """A model is a folder below /opt/ml/models, with the image's own handler."""
    body = {"model_name": "x", "url": URL.format("tiny"), **more}
    error(post(many, body, path="/models"), 400, "BadRequestException")
    assert "x" not in _list(many)


def test_no_more_of_management(many: Server) -> None:
    """Neither scaling nor a description."""
    _loaded(many, "tiny")
    error(many.ask("PUT", "/models/tiny?min_worker=4"), 405, "MethodNotAllowedException")
    for path in ("/", "/models", "/models/tiny"):
        assert many.ask("OPTIONS", path).status == 405


def test_unload(many: Server) -> None:
    """DELETE ends the model's worker; the others stay, and it can be loaded again."""
    _loaded(many, "tiny", "echo")
    java, workers = processes(many.container)
    assert many.ask("DELETE", "/models/echo").status == 200
    error(_invoke(many, "echo", GOOD), 404, "ModelNotFoundException")
    error(many.ask("DELETE", "/models/echo"), 404, "ModelNotFoundException")
    assert _list(many) == {"tiny": URL.format("tiny")}
    assert processes(many.container) == (java, {"tiny": workers["tiny"]})
    assert _invoke(many, "tiny", GOOD).status == 200
    _loaded(many, "echo")
    _, again = processes(many.container)
    assert not again["echo"] & workers["echo"]


def test_no_default_model(many: Server) -> None:
    """/invocations has no model here: the path names it."""
    message = error(post(many, GOOD), 400, "BadRequestException")
    assert "model_name" in message


def _loaded(server: Server, *names: str) -> None:
    """Have models loaded, whichever tests ran before."""
    there = _list(server)
    for name in names:
        if name not in there:
            answer = _load(server, name)
            assert (answer.status, answer.content_type) == (200, JSON), answer


def _load(server: Server, name: str) -> Response:
    return post(server, {"model_name": name, "url": URL.format(name)}, path="/models")


def _invoke(server: Server, name: str, body: object) -> Response:
    return post(server, body, path=f"/models/{name}/invoke")


def _list(server: Server) -> dict[str, str]:
    models = json.loads(server.ask("GET", "/models").body)["models"]
    return {model["modelName"]: model["modelUrl"] for model in models}


def _file(path: str, content: bytes) -> bytes:
    return tar_header(path, len(content)) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
