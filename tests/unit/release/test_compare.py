"""What is decided from what a registry has: same or not, and what the error says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from builder.engine.image import TargetImage
from builder.matrix.target import Target
from builder.registry.client import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Manifest
from builder.release.compare import (
    OCI,
    SAGEMAKER,
    Remote,
    conflict,
    is_same,
    misfit,
    oci_misfit,
)

CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
MINE, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def manifest(
    *layers: str, media_type: str = DOCKER_MANIFEST, config: str = CONFIG, digest: str = OTHER
) -> Manifest:
    document: dict[str, Any] = {
        "mediaType": media_type,
        "config": {"mediaType": config, "digest": digest, "size": 1},
        "layers": [{"mediaType": each, "size": 2} for each in layers],
    }
    return Manifest(content=json.dumps(document).encode(), media_type=media_type)


@pytest.fixture
def local(targets: Sequence[Target]) -> TargetImage:
    return TargetImage(
        target=targets[0],
        id=MINE,
        labels={"dlc.key": "a" * 64, "dlc.inputs": "Dockerfile=01 base=02"},
        layers=(),
    )


def remote(digest: str = OTHER, **labels: str) -> Remote:
    found = manifest(LAYER, digest=digest)
    named = {f"dlc.{name}": value for name, value in labels.items()}
    return Remote(top=found, manifest=found, labels=named)


def test_same_by_config_or_by_key(local: TargetImage) -> None:
    assert is_same(local, remote(MINE))
    assert is_same(local, remote(key="a" * 64))
    assert not is_same(local, remote())
    assert not is_same(local, remote(key="b" * 64))


@pytest.mark.parametrize(
    ("tag", "labels", "said"),
    [
        ("x", {"inputs": "Dockerfile=09 base=02"}, "Dockerfile changed; the repository keeps"),
        ("x-v1.0", {"inputs": "Dockerfile=01 base=09"}, "base changed; a release never changes"),
        ("x", {}, "the one there does not say what it was built from"),
        ("x", {"inputs": "Dockerfile=01 base=02"}, "built from something else"),
        ("x", {"key": "a" * 64}, "not the same bytes or format; to push a profile beside"),
        ("key-aaaaaaaaaaaaaaaa", {}, "see who pushed it"),
    ],
)
def test_conflicts_name_both_and_why(
    local: TargetImage, tag: str, labels: dict[str, str], said: str
) -> None:
    there = remote(**labels)
    error = conflict(f"r.example/x:{tag}", local, there)
    assert f"r.example/x:{tag} is {there.top.digest}, image {OTHER}" in str(error)
    assert f"must not become image {MINE}: " in str(error)
    assert said in str(error)
    assert OTHER in str(conflict("r.example/x:y", local, there, OTHER))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (manifest(LAYER, LAYER), ""),
        (manifest(), "no layers"),
        (
            manifest(LAYER, "application/vnd.docker.image.rootfs.diff.tar"),
            "found application/vnd.docker.image.rootfs.diff.tar",
        ),
        (manifest(LAYER, config="application/vnd.oci.image.config.v1+json"), "oci.image.config"),
        (manifest(LAYER, media_type=OCI_MANIFEST), "oci.image.manifest"),
        (manifest(LAYER, media_type=OCI_INDEX), "an index"),
        (manifest(LAYER, media_type=DOCKER_LIST), "an index"),
    ],
)
def test_what_sagemaker_takes(found: Manifest, said: str) -> None:
    assert said in misfit(found, SAGEMAKER)
    assert bool(said) == bool(misfit(found, SAGEMAKER))


def test_what_oci_is() -> None:
    layer = "application/vnd.oci.image.layer.v1.tar+zstd"
    inner = manifest(
        layer, media_type=OCI_MANIFEST, config="application/vnd.oci.image.config.v1+json"
    )
    assert oci_misfit(inner) == ""
    assert misfit(manifest(layer, media_type=OCI_INDEX), OCI) == ""
    assert "not an OCI index" in misfit(inner, OCI)
    assert "docker.image.rootfs" in oci_misfit(
        manifest(LAYER, media_type=OCI_MANIFEST, config="application/vnd.oci.image.config.v1+json")
    )
