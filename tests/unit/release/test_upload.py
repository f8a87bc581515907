"""An image goes from what an engine exports into a registry, whatever the engine and the start."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.engine.image import KEY_LABEL, TargetImage
from builder.errors import Interrupted, RegistryError
from builder.registry.client import Manifest
from builder.release.compare import OCI, SAGEMAKER, misfit, oci_misfit
from builder.release.layer_store import LayerStore
from builder.release.progress import Bytes
from builder.release.upload import upload
from builder.util.state import state_directory
from tests.unit.engine.test_export import LAYERS, Engine, oci, sha

DIFF_IDS = [f"sha256:{sha(each)}" for each in LAYERS]
CONFIG = json.dumps(
    {"config": {"Labels": {KEY_LABEL: "k"}}, "rootfs": {"diff_ids": DIFF_IDS}}
).encode()
WAYS = {
    "before 25": {
        **{f"{number}/layer.tar": each for number, each in enumerate(LAYERS)},
        "c.json": CONFIG,
    },
    "graph driver": oci([*LAYERS, CONFIG]),
    "containerd": oci([*(gzip.compress(each, mtime=0) for each in LAYERS), CONFIG]),
}


class Registry:
    """What the client of registries does, in memory."""

    host = "registry.example"

    def __init__(self) -> None:
        self.blobs: dict[str, dict[str, bytes]] = {}
        self.sent: list[tuple[str, str]] = []
        self.most = 99  # files that it takes
        self.lock = threading.Lock()

    def has_blob(self, repository: str, digest: str) -> bool:
        return digest in self.blobs.get(repository, {})

    def mount(self, repository: str, digest: str, sources: list[str]) -> bool:
        found = [self.blobs[each][digest] for each in sources if self.has_blob(each, digest)]
        if found:
            self.blobs.setdefault(repository, {})[digest] = found[0]
        return bool(found)

    def put_file(
        self, repository: str, digest: str, path: Path, moved: Callable[[int], None]
    ) -> None:
        content = path.read_bytes()
        with self.lock:
            if not self.most:
                raise RegistryError("it has no room")
            self.most -= 1
            self.sent.append((repository, digest))
        assert digest == f"sha256:{sha(content)}"
        self.blobs.setdefault(repository, {})[digest] = content
        moved(len(content))

    def put_blob(self, repository: str, content: bytes) -> str:
        digest = f"sha256:{sha(content)}"
        self.blobs.setdefault(repository, {})[digest] = content
        return digest


class Pusher:
    """What an upload needs of one; the engine exports only as long as it has something."""

    def __init__(self, registry: Registry, files: dict[str, bytes], profile: str) -> None:
        self.client, self.profile = registry, profile
        self.store = LayerStore(zstd=profile == OCI)
        self.stop = threading.Event()
        self.engine, self.watcher = Exporting(files), self
        self.told: list[Bytes] = []

    def run(self, repository: str, *, done: bool = True) -> Manifest:
        local: Any = TargetImage(
            target=type("Target", (), {"name": "a:1"}),  # type: ignore[arg-type]
            id="sha256:1",
            labels={KEY_LABEL: "k"},
            layers=tuple(DIFF_IDS),
        )
        pusher: Any = self
        with self.store.opened():
            manifest = upload(pusher, local, repository)
            self.store.done = done
        for layer in manifest.document["layers"]:
            content = self.client.blobs[repository][layer["digest"]]
            assert len(content) == layer["size"]
        assert self.client.blobs[repository][manifest.document["config"]["digest"]] == CONFIG
        return manifest

    def news(self, _name: str, _text: str) -> None:
        pass

    def moved(self, _name: str, done: Bytes) -> None:
        self.told.append(done)


class Exporting:
    """An engine whose client exports some files; without any it does not."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def client(self, timeout: int) -> Any:
        assert timeout
        if not self.files:
            raise AssertionError("the engine is asked again")
        found: Any = Engine(self.files)
        found.close = lambda: None
        return found


def pusher(registry: Registry, files: dict[str, bytes], profile: str = SAGEMAKER) -> Pusher:
    return Pusher(registry, files, profile)


@pytest.fixture(autouse=True)
def state_of_each_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DLC_STATE", str(tmp_path / "state"))


def left() -> list[Path]:
    return [each for each in (state_directory() / "push/blobs").rglob("*") if each.is_file()]


@pytest.mark.parametrize("profile", [SAGEMAKER, OCI])
def test_one_manifest_from_all_engines(
    profile: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = set()
    for way, files in WAYS.items():
        monkeypatch.setenv("DLC_STATE", str(tmp_path / way))
        pushing = pusher(Registry(), files, profile)
        manifest = pushing.run("team/a")
        found.add(manifest.content)
        assert (oci_misfit if profile == OCI else lambda each: misfit(each, profile))(
            manifest
        ) == ""
        last = pushing.told[-1]
        assert (last.done, last.layers) == (last.total, last.of_layers)
        assert left() == []
    assert len(found) == 1


@pytest.mark.parametrize("way", WAYS)
def test_push_that_broke_off_goes_on_without_the_engine(way: str) -> None:
    registry = Registry()
    first = pusher(registry, WAYS[way])
    registry.most = 1
    with pytest.raises(RegistryError, match="no room"):
        first.run("team/a")
    registry.most = 99
    # What the engine was not asked for any more when it broke off is asked for now.
    second = pusher(registry, WAYS[way])
    second.run("team/a", done=False)
    assert len(registry.sent) == len(set(registry.sent)) == len(LAYERS)
    other = Registry()  # all of it is here, as it would be after a kill
    pusher(other, {}).run("team/a")
    assert len(other.sent) == len(LAYERS)
    assert left() == []


def test_another_repository_mounts_what_one_has() -> None:
    registry = Registry()
    pusher(registry, WAYS["containerd"]).run("team/a")
    pusher(registry, {}).run("team/b")
    assert {repository for repository, _ in registry.sent} == {"team/a"}


def test_registry_that_lost_a_layer_gets_it_again() -> None:
    registry = Registry()
    before = pusher(registry, WAYS["graph driver"]).run("team/a")
    lost = before.document["layers"][1]["digest"]
    del registry.blobs["team/a"][lost]
    pushing = pusher(registry, WAYS["graph driver"])
    assert pushing.run("team/a") == before
    assert registry.sent[len(LAYERS) :] == [("team/a", lost)]


def test_interruption() -> None:
    pushing = pusher(Registry(), WAYS["containerd"])
    pushing.stop.set()
    with pytest.raises(Interrupted):
        pushing.run("team/a")


def test_files_of_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another push at work, and of one that was killed today; not of one of long ago."""
    store = LayerStore(zstd=False)
    with store.opened():
        layer = store.compress([b"abc"])
        with LayerStore(zstd=False).opened() as other:
            assert other.file(layer) is not None
            other.done = True
        assert store.file(layer) is not None
    assert len(left()) == 1
    with LayerStore(zstd=False).opened():
        assert len(left()) == 1
    later = time.time() + 90_000
    monkeypatch.setattr("builder.release.layer_store.time.time", lambda: later)
    with LayerStore(zstd=False).opened():
        assert left() == []
    assert store.known(layer.diff_id) == layer
    assert layer.diff_id == f"sha256:{hashlib.sha256(b'abc').hexdigest()}"


def test_layer_that_ends_early_leaves_no_file() -> None:
    def broken() -> Iterator[bytes]:
        yield b"abc"
        raise OSError("the engine is gone")

    store = LayerStore(zstd=False)
    with store.opened():
        with pytest.raises(OSError, match="is gone"):
            store.compress(broken())
        assert left() == []
