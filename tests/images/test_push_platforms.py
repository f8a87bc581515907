"""Two platforms of one row in a real registry: an index with the profile `oci`, else two tags."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from builder.matrix.targets import load_targets
from builder.registry.client import DOCKER_MANIFEST, OCI_INDEX, RegistryClient
from tests.images.pushing import Workshop
from tests.images.registries import Registry, noise, running
from tests.images.test_push_oci import FILES

pytestmark = pytest.mark.images

BOTH = "origin: own, platforms: [linux/amd64, linux/arm64]"
ROW = "inference: {libraries: small, pytorch: [{version: 9.9.7, devices: [cpu]"
REPOSITORY = "team/huggingface-pytorch-inference"


@pytest.fixture
def shop(client: docker.DockerClient, tmp_path: Path) -> Iterator[Workshop]:
    """A workshop whose inference row is for both platforms."""
    folder = tmp_path / "shop"
    folder.mkdir()
    workshop = Workshop(client=client, folder=folder)
    text = workshop.matrix.read_text("utf-8")
    assert text.count(ROW) == 1
    workshop.matrix.write_text(text.replace(ROW, f"{ROW}, {BOTH}"), "utf-8")
    workshop.targets = load_targets(workshop.matrix)
    yield workshop
    workshop.remove()


@pytest.fixture
def registry(registry_program: str, tmp_path: Path) -> Iterator[Registry]:
    folder = tmp_path / "registry"
    folder.mkdir()
    with running(Registry(program=registry_program, folder=folder)) as found:
        yield found


def platforms(reader: RegistryClient, tag: str) -> list[str]:
    """The platforms of the images in the index under a tag."""
    index = reader.manifest(REPOSITORY, tag)
    assert index is not None
    assert index.media_type == OCI_INDEX
    entries = [entry["platform"] for entry in index.document["manifests"]]
    named = [f"{entry['os']}/{entry['architecture']}" for entry in entries]
    return [name for name in named if name != "unknown/unknown"]


def digest(reader: RegistryClient, tag: str) -> str:
    found = reader.head(REPOSITORY, tag)
    assert found is not None, tag
    return found.digest


def test_one_tag_for_both(shop: Workshop, registry: Registry) -> None:
    amd64, arm64 = (each for each in shop.targets if each.mode == "inference")
    reader, where = RegistryClient(registry.host, pause=0.05), f"{registry.host}/team"
    shop.image(amd64, [noise(2000)], files=FILES)
    shop.image(arm64, [noise(3000)], files=FILES)

    alone = shop.push(amd64.name, "--profile", "oci", registry=where)
    assert alone.returncode == 0, alone.stderr
    assert f"not for linux/arm64: {arm64.tag} is not there" in alone.stderr
    assert platforms(reader, amd64.tag) == ["linux/amd64"]
    first = digest(reader, f"{amd64.tag}-v1.0")

    both = shop.push("*inference*", "--profile", "oci", registry=where)
    assert both.returncode == 0, both.stderr
    assert platforms(reader, amd64.tag) == ["linux/amd64", "linux/arm64"]
    assert platforms(reader, arm64.tag) == ["linux/arm64"]
    shown = digest(reader, amd64.tag)
    assert digest(reader, f"{amd64.tag}-v1.1") == shown
    assert digest(reader, f"{amd64.tag}-v1.0") == first != shown
    assert f"{where}/huggingface-pytorch-inference:{amd64.tag}@{shown}" in both.stdout
    assert (
        reader.labels(REPOSITORY, amd64.tag, "linux/arm64")
        == reader.labels(REPOSITORY, arm64.tag, "linux/arm64")
        != reader.labels(REPOSITORY, amd64.tag)
    )

    tags = reader.tags(REPOSITORY)
    again = shop.push("*inference*", "--profile", "oci", registry=where)
    assert again.returncode == 0, again.stderr
    assert (reader.tags(REPOSITORY), digest(reader, amd64.tag)) == (tags, shown)

    shop.image(arm64, [noise(4000)], files=FILES)
    newer = shop.push("*inference*", "--profile", "oci", registry=where)
    assert newer.returncode == 0, newer.stderr
    assert digest(reader, f"{amd64.tag}-v1.1") == shown
    assert digest(reader, f"{amd64.tag}-v1.2") == digest(reader, amd64.tag) != shown
    assert platforms(reader, amd64.tag) == ["linux/amd64", "linux/arm64"]


def test_two_tags_for_sagemaker(shop: Workshop, registry: Registry) -> None:
    amd64, arm64 = (each for each in shop.targets if each.mode == "inference")
    reader, where = RegistryClient(registry.host, pause=0.05), f"{registry.host}/team"
    for target in (amd64, arm64):
        shop.image(target, [noise(2000), target.tag.encode()])
    done = shop.push("*inference*", registry=where)
    assert done.returncode == 0, done.stderr
    found = [reader.head(REPOSITORY, each.tag) for each in (amd64, arm64)]
    assert [each.media_type for each in found if each] == [DOCKER_MANIFEST, DOCKER_MANIFEST]
    assert len({each.digest for each in found if each}) == 2
