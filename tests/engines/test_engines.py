"""What dlc promises, on each engine and image store that packages of Debian have."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from builder.engine.buildx import numbers
from builder.engine.export import read_export
from builder.engine.layers import from_engine
from builder.engine.unpacked import unpacked_size
from builder.registry.client import DOCKER_MANIFEST, OCI_INDEX, RegistryClient
from tests.engines.conftest import Session, Shop
from tests.engines.contents import contents, pull, remove_all

pytestmark = [pytest.mark.engines, pytest.mark.timeout(1800)]

# Of an image's bytes: classic stores count a layer that was loaded or pulled a little otherwise
# than the same layer when it was built.
CLOSE = 1e-5
# The first engine that unpacks layers of zstd.
ZSTD = (23, 0)
# The first whose BuildKit heeds SOURCE_DATE_EPOCH.
DATES = (23, 0)
PROFILES = {"sagemaker": DOCKER_MANIFEST, "oci": OCI_INDEX}


@pytest.fixture
def inference(shop: Shop) -> str:
    """The name of the inference image."""
    return next(each.name for each in shop.targets if each.mode == "inference")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that nobody reads."""
    (tmp_path / "config.json").write_text("{}", "utf-8")
    return tmp_path


def test_build(shop: Shop) -> None:
    shop.dlc("lock")
    rows = json.loads(shop.dlc("build", "--all", "--format", "json"))
    shop.built.update({row["image"]: row for row in rows})
    assert len(shop.built) == 2
    shop.row["build"] = f"{max(row['seconds'] for row in rows):.0f} s"


def test_plan(shop: Shop) -> None:
    planned = json.loads(shop.dlc("plan", "--format", "json"))
    assert {row["image"]: row["state"] for row in planned} == dict.fromkeys(
        shop.built, "up to date"
    )
    again = json.loads(shop.dlc("build", "--all", "--format", "json"))
    assert {row["image"]: row["id"] for row in again} == {
        name: row["id"] for name, row in shop.built.items()
    }


def test_smoke(shop: Shop, inference: str, model: Path) -> None:
    assert "asked" in json.loads(shop.dlc("smoke", inference, "--model", str(model)))


def test_size(shop: Shop) -> None:
    """One number for an image, wherever it stands."""
    layers = json.loads(shop.dlc("layers", "--format", "json"))
    sizes = {row["image"]: row["size"] for row in layers["images"]}
    assert sizes == {name: row["size"] for name, row in shop.built.items()}
    told = json.loads(shop.dlc("size", "--format", "json"))
    assert sizes == {row["image"]: row["size"] for row in told}
    planned = json.loads(shop.dlc("plan", "--format", "json"))
    assert sizes == {row["image"]: row["size"] for row in planned}
    shop.row["size"] = f"{max(sizes.values()):,}"


def test_layers(shop: Shop, session: Session) -> None:
    layers = json.loads(shop.dlc("layers", "--format", "json"))["layers"]
    found = {(row["step"], len(row["users"])) for row in layers}
    assert found == session.found.setdefault("layers", found)


def test_files(shop: Shop, session: Session, inference: str) -> None:
    """Images of one build on two engines have the same files."""
    found = contents(shop.client, inference)
    first = session.found.setdefault("files", found)
    assert {
        name: (found.get(name), first.get(name))
        for name in found.keys() | first.keys()
        if found.get(name) != first.get(name)
    } == {}


def test_same_image(shop: Shop, session: Session) -> None:
    """Two builds with no step from a cache are one image, and so are those of two engines."""
    training = next(each.name for each in shop.targets if each.mode == "training")
    [document] = json.loads(shop.dlc("verify", training, "--format", "json"))
    assert document["same"]
    if numbers(shop.isolated.engine.version) < DATES:
        assert not document["created"]
        shop.row["same image"] = "its files; it leaves times of its own"
        return
    own = shop.built[training]["id"]
    assert document["ids"] == [own, own]
    layers = {name: shop.client.images.get(name).attrs["RootFS"]["Layers"] for name in shop.built}
    assert layers == session.found.setdefault(f"layers, {shop.store}", layers)
    config = read_export(
        shop.client,
        training,
        is_config=lambda content: b'"rootfs"' in content,
        wanted=lambda _: False,
        take=lambda _name, _blocks: None,
    )
    assert config == session.found.setdefault(f"configuration, {shop.store}", config)


def test_libraries(shop: Shop, session: Session) -> None:
    told = [json.loads(shop.dlc("libraries", each, "--format", "json")) for each in shop.built]
    assert told == session.found.setdefault("libraries", told)


@pytest.mark.parametrize("profile", PROFILES)
def test_push(shop: Shop, inference: str, profile: str, tmp_path: Path) -> None:
    command = (
        *("push", inference, "--registry", f"{shop.registry.host}/{profile}"),
        *("--profile", profile, "--releases", str(tmp_path)),
    )
    told = shop.dlc(*command).strip()
    shop.pushed[profile] = told
    repository, digest = told.split("@")
    name = repository.partition("/")[2].rpartition(":")[0]
    manifest = shop.isolated.within(
        lambda: RegistryClient(shop.registry.host).manifest(name, digest)
    )
    assert manifest is not None
    assert manifest.media_type == PROFILES[profile]
    assert shop.dlc(*command).strip() == told


def test_same_manifest(shop: Shop, session: Session, inference: str, tmp_path: Path) -> None:
    """One image, moved between engines, has one size, and is pushed as the same bytes by all."""
    if not session.image.exists():
        with session.image.open("wb") as file:
            for block in shop.client.images.get(inference).save(named=inference):
                file.write(block)
    own = shop.built[inference]["id"]
    with session.image.open("rb") as file:
        shop.client.images.load(file)
    try:
        size = unpacked_size(shop.client, inference)
        assert size == pytest.approx(session.found.setdefault("moved", size), rel=CLOSE)
        for profile in PROFILES:
            told = shop.dlc(
                *("push", inference, "--registry", f"{shop.registry.host}/moved-{profile}"),
                *("--profile", profile, "--releases", str(tmp_path)),
            )
            name = f"moved-{profile}/{inference.partition(':')[0]}"
            digest = told.strip().partition("@")[2]
            found = shop.isolated.within(
                lambda name=name, digest=digest: RegistryClient(  # type: ignore[misc]
                    shop.registry.host
                ).image_manifest(name, digest)
            )
            assert found is not None
            assert found.digest == session.found.setdefault(f"moved-{profile}", found.digest)
    finally:
        shop.client.images.get(own).tag(inference)


def test_serve_and_stop(shop: Shop, inference: str, model: Path) -> None:
    command = shop.command("serve", inference, "--model", str(model))
    with subprocess.Popen(
        shop.isolated.inside(*command),
        env={**shop.isolated.environment, **shop.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+(?=/invocations)", process.stdout.readline())
        assert found
        url = f"{found[0]}/ping"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        assert shop.isolated.within(lambda: opener.open(url, timeout=30).status) == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert shop.client.containers.list(all=True) == []


@pytest.mark.parametrize("profile", PROFILES)
def test_pull(shop: Shop, inference: str, profile: str) -> None:
    """What was pushed comes back by digest, is the same image, and runs."""
    if not shop.original:
        shop.original = from_engine(shop.client, inference).layers
    repository, digest = shop.pushed[profile].split("@")
    pulled = f"{repository.rpartition(':')[0]}@{digest}"
    # containerd's store would not fetch a layer that is there in other compression.
    remove_all(shop.client)
    why = pull(shop.client, pulled)
    if profile == "oci" and numbers(shop.isolated.engine.version) < ZSTD:
        assert "invalid tar header" in why
        shop.row["pull"] = "sagemaker; it does not know zstd"
        return
    assert not why
    try:
        layers = from_engine(shop.client, pulled).layers
        assert [each.digest for each in layers] == [each.digest for each in shop.original]
        size = unpacked_size(shop.client, pulled)
        assert size == pytest.approx(shop.built[inference]["size"], rel=CLOSE)
        program = "from importlib import metadata as found; print(found.version('tiny-framework'))"
        said = shop.client.containers.run(pulled, ["-c", program], entrypoint="python", remove=True)
        assert said.decode().strip() == "1.0"
    finally:
        shop.client.images.remove(pulled, force=True)
