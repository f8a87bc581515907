"""What is said about an image: its packages, what it was made from, and how both are attached."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from builder.engine.image import TargetImage
from builder.matrix.target import Target
from builder.registry.client import OCI_MANIFEST, Manifest
from builder.release.attestations import attestations, index
from builder.release.provenance import commit_of, predicate

DIGEST = "sha256:" + "1" * 64


@pytest.fixture
def local(targets: Sequence[Target]) -> TargetImage:
    labels = {
        "dlc.key": "a" * 64,
        "dlc.inputs": "Dockerfile=01 base=02",
        "dlc.base": "bootstrapped sha256:" + "3" * 64,
    }
    return TargetImage(target=targets[0], id=DIGEST, labels=labels, layers=())


def test_provenance_names_inputs_bases_and_commit(local: TargetImage) -> None:
    said = predicate(local, commit="4" * 40)
    assert said["invocation"]["parameters"]["inputs"] == {"Dockerfile": "01", "base": "02"}
    assert said["invocation"]["configSource"]["digest"] == {"sha1": "4" * 40}
    assert said["materials"] == [
        {"uri": "urn:dlc:bootstrapped:ubuntu18.04", "digest": {"sha256": "3" * 64}}
    ]
    pulled = replace(local, labels={**local.labels, "dlc.base": f"pulled {DIGEST}"})
    [base] = predicate(pulled, commit="")["materials"]
    assert base["uri"].startswith("pkg:docker/ubuntu@18.04?platform=linux%2Famd64")
    assert local.target.base.image.endswith(base["digest"]["sha256"])
    assert "digest" not in predicate(local, commit="")["invocation"]["configSource"]


@pytest.mark.integration
def test_commit_is_told_only_of_what_is_committed(tmp_path: Path) -> None:
    assert commit_of(tmp_path / "missing") == ""
    images = tmp_path / "images"
    images.mkdir()
    (images / "Dockerfile").write_text("FROM scratch\n")
    assert commit_of(images) == ""
    me = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    for command in (("init", "-q"), ("add", "."), (*me, "commit", "-q", "-m", "x")):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    assert re.fullmatch("[0-9a-f]{40}", commit_of(images))
    (tmp_path / "elsewhere").write_text("x")
    assert commit_of(images)
    (images / "Dockerfile").write_text("FROM other\n")
    assert commit_of(images) == ""


def test_index_is_the_same_for_the_same() -> None:
    image, about = (
        Manifest(content=json.dumps({"x": text}).encode(), media_type=OCI_MANIFEST)
        for text in ("image", "about")
    )
    first, second = index(image, about), index(image, about)
    assert first == second
    entries = first.document["manifests"]
    assert [each["digest"] for each in entries] == [image.digest, about.digest]
    assert entries[1]["annotations"]["vnd.docker.reference.digest"] == image.digest
    [statement] = attestations("x", image.digest, {"kind": {"a": 1}})
    assert statement["subject"][0]["digest"]["sha256"] == image.digest.removeprefix("sha256:")
