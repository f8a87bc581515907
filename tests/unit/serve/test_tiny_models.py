"""The tiny model of an image is made by it once, and kept by what the image holds."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import docker
import docker.errors
import pytest

from builder.errors import ContainerError
from builder.serve import model_archive
from builder.serve.model_archive import make_tiny_model, tiny_files
from builder.util.state import state_directory


def _tar(content: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        member = tarfile.TarInfo("model/config.json")
        member.size, member.mode = len(content), 0o600
        tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


@dataclass(kw_only=True)
class Engine:
    """Images by name, and how often each was started; its models hold the image's id.

    `attributes` are what the engine says besides, by id.
    """

    ids: Mapping[str, str]
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)

    @property
    def client(self) -> docker.DockerClient:
        found: Any = SimpleNamespace(
            api=SimpleNamespace(containers=lambda **_: []),
            containers=SimpleNamespace(create=self._create),
            images=SimpleNamespace(get=self._get),
        )
        return cast(docker.DockerClient, found)

    def _get(self, name: str) -> SimpleNamespace:
        if name not in self.ids:
            raise docker.errors.ImageNotFound("No such image")
        found = self.ids[name]
        return SimpleNamespace(id=found, attrs=self.attributes.get(found, {}))

    def _create(self, image: str, **_: object) -> SimpleNamespace:
        self.started.append(image)
        return SimpleNamespace(
            start=lambda: None,
            wait=lambda **_: {"StatusCode": 0},
            get_archive=lambda _: ([_tar(self.ids[image].encode())], {}),
            remove=lambda **_: None,
        )


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DLC_STATE", str(tmp_path / "state"))
    return state_directory()


def test_an_image_is_asked_once_under_all_of_its_names() -> None:
    engine = Engine(ids={"one": "sha256:1", "same": "sha256:1", "other": "sha256:2"})
    first = make_tiny_model(engine.client, "one")
    assert make_tiny_model(engine.client, "one") == make_tiny_model(engine.client, "same") == first
    assert engine.started == ["one"]
    assert tiny_files(engine.client, "other")["config.json"] == b"sha256:2"
    assert engine.started == ["one", "other"]


def test_images_of_the_same_layers_and_variables_are_asked_once() -> None:
    alike = {"RootFS": {"Layers": ["sha256:a"]}, "Config": {"Env": ["A=1"], "Labels": {}}}
    labelled = {**alike, "Config": {"Env": ["A=1"], "Labels": {"b": "c"}}}
    other = {**alike, "Config": {"Env": ["A=2"]}}
    more = {**alike, "RootFS": {"Layers": ["sha256:a", "sha256:b"]}}
    said = {"one": alike, "labelled": labelled, "other": other, "more": more}
    engine = Engine(ids={name: name for name in said}, attributes=said)
    found = {name: make_tiny_model(engine.client, name) for name in said}
    assert engine.started == ["one", "other", "more"]
    assert found["one"] == found["labelled"] != found["other"]


def test_a_name_that_leads_to_another_image_gets_that_one_s() -> None:
    first = make_tiny_model(Engine(ids={"one": "sha256:1"}).client, "one")
    rebuilt = Engine(ids={"one": "sha256:2"})
    assert make_tiny_model(rebuilt.client, "one") != first
    assert rebuilt.started == ["one"]


def test_the_models_of_the_oldest_images_go(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_archive, "MODELS_KEPT", 3)
    engine = Engine(ids={f"image{number}": f"sha256:{number}" for number in range(5)})
    for name in engine.ids:
        make_tiny_model(engine.client, name)
    assert len(list((state / "tiny-models").iterdir())) == 3
    make_tiny_model(engine.client, "image4")
    assert engine.started == list(engine.ids)


def test_a_state_that_cannot_be_written_is_no_hindrance(state: Path) -> None:
    state.write_bytes(b"a file where the folder would be")
    engine = Engine(ids={"one": "sha256:1"})
    assert make_tiny_model(engine.client, "one") == make_tiny_model(engine.client, "one")
    assert engine.started == ["one", "one"]


def test_an_image_that_is_not_there() -> None:
    with pytest.raises(ContainerError) as caught:
        make_tiny_model(Engine(ids={}).client, "none")
    assert caught.value.message.startswith("no container of none can be made")
    assert caught.value.remedy == "build or pull the image first"
