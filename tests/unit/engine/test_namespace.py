"""Two jobs on one engine: neither names, takes or finds an image of the other."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from types import SimpleNamespace
from typing import Any, cast

import docker
import pytest

from builder.engine.connection import Engine
from builder.engine.image import KEY_LABEL
from builder.engine.images import images_of
from builder.engine.namespace import NAMESPACE, NAMESPACE_LABEL, labels, local_name, prefix
from builder.engine.tagging import name_image
from builder.errors import EngineError
from builder.matrix.target import Target

NAME = "huggingface-pytorch-training:1"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine that knows nothing but a list of images."""
    there = [
        {"Id": "ours", "Size": 1, "Labels": {NAMESPACE_LABEL: "one"}, "RepoTags": [f"one/{NAME}"]},
        {
            "Id": "theirs",
            "Size": 1,
            "Labels": {NAMESPACE_LABEL: "two"},
            "RepoTags": [f"two/{NAME}"],
        },
        {"Id": "users", "Size": 1, "Labels": None, "RepoTags": [NAME, "one/users:1"]},
        {"Id": "unnamed", "Size": 1, "Labels": {}, "RepoTags": ["<none>:<none>"]},
        {"Id": "of the first", "Size": 1, "Labels": {NAMESPACE_LABEL: "one"}, "RepoTags": ["x:1"]},
    ]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(there).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return ""

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingMixIn, UnixStreamServer):
        daemon_threads = True

    path = tmp_path / "docker.sock"
    with Server(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Engine(host=f"unix://{path}", version="20.10", private=False)
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("namespace", "found"),
    [
        ("", {NAME: "users", "one/users:1": "users"}),
        ("one", {NAME: "ours", "users:1": "users"}),
        ("two", {NAME: "theirs"}),
        ("three", {}),
    ],
)
def test_what_each_sees(
    engine: Engine, namespace: str, found: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names come without the namespace, so that plans need not know of it."""
    monkeypatch.setenv(NAMESPACE, namespace)
    assert {name: image.id for name, image in images_of(engine).items()} == found


@dataclass(kw_only=True)
class Api:
    """Takes down which names are given and taken."""

    named: list[str] = field(default_factory=list)

    def tag(self, _image: str, repository: str, tag: str) -> None:
        self.named.append(f"{repository}:{tag}")

    def get(self, name: str) -> Any:
        self.named.append(f"? {name}")
        raise docker.errors.ImageNotFound(name)


def test_an_image_gets_names_of_the_namespace(
    small: dict[str, Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NAMESPACE, "one")
    target, api = next(iter(small.values())), Api()
    client = cast("docker.DockerClient", SimpleNamespace(api=api, images=api))
    name_image(client, "sha256:1", target, "ab" * 32)
    key = f"one/{target.repository}:key-{'ab' * 8}"
    assert api.named == [f"? one/{target.name}", key, f"one/{target.name}"]


@pytest.mark.parametrize("kept", [False, True])
def test_the_key_of_the_image_before_goes_unless_another_checkout_builds_it(
    small: dict[str, Target], kept: bool
) -> None:
    target, old, new = next(iter(small.values())), "ab" * 32, "cd" * 32
    removed: list[str] = []
    name = f"{target.repository}:key-{old[:16]}"
    before = SimpleNamespace(labels={KEY_LABEL: old}, tags=[name, target.name])

    def remove(what: str, *, noprune: bool) -> None:
        assert noprune
        removed.append(what)
        if what.endswith("gone"):
            raise docker.errors.ImageNotFound(what)

    images = SimpleNamespace(get=lambda _: before, remove=remove)
    client = cast("docker.DockerClient", SimpleNamespace(api=Api(), images=images))
    name_image(
        client, "sha256:1", target, new, keeps=lambda key: kept and key == old, superseded=["gone"]
    )
    gone = f"{target.repository}:key-gone"
    assert removed == ([gone] if kept else [name, gone])


def test_without_one_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAMESPACE, raising=False)
    assert (prefix(), local_name(NAME), labels()) == ("", NAME, {})


@pytest.mark.parametrize("wrong", ["One", "a/b", "a:1", "-a", "a..b", "a b"])
def test_a_name_that_no_engine_takes(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAMESPACE, wrong)
    with pytest.raises(EngineError, match=f"invalid DLC_NAMESPACE '{wrong}'"):
        prefix()


def test_names_that_engines_take(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("job-1", "a.b_c__d", "42"):
        monkeypatch.setenv(NAMESPACE, name)
        assert labels() == {NAMESPACE_LABEL: name}
