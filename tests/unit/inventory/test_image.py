"""Reading an image once, and keeping what was found; the engine is a stand-in."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from builder.engine.image import KEY_LABEL
from builder.errors import InventoryError
from builder.inventory import image as module
from builder.inventory.image import of_image, record_of
from tests.unit.inventory.trees import SITE, metadata

ID, KEY = "sha256:" + "1" * 64, "2" * 64
OTHER = "sha256:" + "3" * 64
LAYERS = ["sha256:" + "8" * 64, "sha256:" + "9" * 64]


class Engine:
    """As much of docker's client as is asked for; counts its exports."""

    def __init__(self, content: bytes, layers: Sequence[str] = ()) -> None:
        self.content, self.exports = content, 0
        self.made: dict[str, Any] = {}
        self.api = SimpleNamespace(containers=lambda **_: [])
        self.labels = {KEY_LABEL: KEY, "dlc.components": "efa=1.30.0"}
        self.env = ["VIRTUAL_ENV=/opt/venv", "A=b=c"]
        self.layers = list(layers)
        self.images = SimpleNamespace(get=self._get)
        self.containers = SimpleNamespace(create=self._create)

    def _get(self, name: str) -> Any:
        attributes = {
            "Id": name,
            "Created": "2026-11-21T06:05:49.1Z",
            "Size": 10,
            "Architecture": "amd64",
            "RootFS": {"Layers": self.layers},
            "Config": {
                "Env": self.env,
                "Labels": self.labels,
                "Entrypoint": ["python"],
                "ExposedPorts": {"8080/tcp": {}},
            },
        }
        history = [{"CreatedBy": "RUN make", "Size": 5} for _ in self.layers]
        return SimpleNamespace(id=name, attrs=attributes, history=lambda: history)

    def info(self) -> dict[str, Any]:
        return {}

    def _create(self, image: str, **options: Any) -> Any:
        self.made = {"image": image, **options}
        return SimpleNamespace(export=self._export, remove=lambda **_: None)

    def _export(self, **_: Any) -> Iterator[bytes]:
        self.exports += 1
        yield self.content


def tree() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for path, text in {
            f"{SITE}/a-1.dist-info/METADATA": metadata("a", "1"),
            "opt/dlc/framework.lock": "a==2 --hash=sha256:00\n",
        }.items():
            member = tarfile.TarInfo(path)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return stream.getvalue()


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLC_STATE", str(tmp_path / "state"))


def test_it_is_read_once_and_kept_by_key() -> None:
    engine: Any = Engine(tree())
    found = of_image(engine, ID, "team/a:1")
    assert (found.key, found.config.env["A"], found.config.ports) == (KEY, "b=c", ("8080/tcp",))
    assert [(each.kind, each.name, each.layer) for each in found.packages] == [
        ("binary", "efa", ""),
        ("python", "a", "framework"),
    ]
    assert found.differences == ("a is 1, and framework.lock has 2",)
    assert engine.made["network_mode"] == "none"
    assert engine.made["read_only"]
    other = of_image(engine, ID, "another/name:1")
    assert other.image == "another/name:1"
    assert other.packages == found.packages
    assert engine.exports == 1


def test_another_image_of_the_same_layers_is_not_read_again() -> None:
    engine: Any = Engine(tree(), LAYERS)
    found = of_image(engine, ID, "a")
    engine.labels = {**engine.labels, KEY_LABEL: "4" * 64, "new": "yes"}
    engine.env = [*engine.env, "MORE=1"]
    other = of_image(engine, OTHER, "b")
    assert engine.exports == 1
    assert (other.id, other.key, other.image) == (OTHER, "4" * 64, "b")
    assert (other.config.labels["new"], other.config.env["MORE"]) == ("yes", "1")
    assert (other.packages, other.differences) == (found.packages, found.differences)
    assert json.loads(record_of("4" * 64, OTHER).read_text("utf-8"))["id"] == OTHER


@pytest.mark.parametrize(
    "change",
    [
        {"layers": [*LAYERS, "sha256:" + "b" * 64]},
        {"layers": LAYERS[::-1]},
        {"labels": {KEY_LABEL: KEY, "dlc.components": "efa=1.31.0"}},
        {"env": ["VIRTUAL_ENV=/opt/other"]},
    ],
    ids=str,
)
def test_an_image_that_holds_something_else_is_read(change: dict[str, Any]) -> None:
    engine: Any = Engine(tree(), LAYERS)
    of_image(engine, ID, "a")
    for name, value in change.items():
        setattr(engine, name, value)
    of_image(engine, OTHER, "b")
    assert engine.exports == 2


@pytest.mark.parametrize("content", ["{", "[]", '{"dlc_inventory": 99}', None])
def test_what_is_damaged_or_another_versions_is_read_again(content: str | None) -> None:
    engine: Any = Engine(tree())
    found = of_image(engine, ID, "x")
    record = record_of(KEY, ID)
    document = json.loads(record.read_text("utf-8"))
    record.write_text(content or json.dumps({**document, "program": "other"}))
    assert of_image(engine, ID, "x") == found
    assert engine.exports == 2
    assert json.loads(record.read_text("utf-8")) == document


def test_state_that_cannot_be_written_is_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DLC_STATE", str(tmp_path / "file"))
    engine: Any = Engine(tree())
    assert of_image(engine, ID, "x").packages
    assert module.record_of(KEY, ID).parts[-3:-1] == ("inventories", KEY)


def test_an_export_that_breaks_off_is_an_error() -> None:
    engine: Any = Engine(tree()[:700])
    with pytest.raises(InventoryError, match="breaks off"):
        of_image(engine, ID, "x")
    assert not record_of(KEY, ID).exists()
