"""What is said about an image: its packages, what it was made from, and how both are attached."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.matrix.target import Target
from builder.registry.client import OCI_MANIFEST, Manifest
from builder.release.attestations import attestations, index
from builder.release.compare import Local
from builder.release.provenance import commit_of, predicate
from builder.release.sbom import Package, document, of_dpkg, of_lock

DIGEST = "sha256:" + "1" * 64
WORDS = st.text(alphabet="ab-+.:~_1", min_size=1, max_size=8)
PACKAGES = st.builds(
    Package, kind=st.sampled_from(["deb", "pypi"]), name=WORDS, version=WORDS, architecture=WORDS
)


@given(packages=st.lists(PACKAGES))
def test_every_package_has_an_identifier_of_its_own(packages: list[Package]) -> None:
    found = document(
        packages, name="x", digest=DIGEST, created="2026-11-21T06:05:49Z", distribution="debian"
    )
    identifiers = [each["SPDXID"] for each in found["packages"]]
    assert len(identifiers) == len(set(identifiers)) == len(set(packages)) + 1
    assert all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", each) for each in identifiers)
    related = [each["relatedSpdxElement"] for each in found["relationships"]]
    assert sorted(related) == sorted(identifiers)


def test_packages_of_the_committed_locks(root: Path) -> None:
    for lock in root.glob("images/*/*/*.lock"):
        text = lock.read_text("utf-8")
        names = [each.name for each in of_lock(text)]
        requirements = re.findall(r"^[A-Za-z0-9].*(?:==| @ )", text, re.MULTILINE)
        assert len(names) == len(requirements), lock
        assert len(names) == len(set(names)), lock


def test_versions_of_wheels_with_an_address() -> None:
    text = "torch @ ${WHEELS}/cu111/torch-1.9.1%2Bcu111-cp38-cp38-linux_x86_64.whl \\\n"
    assert of_lock(text) == [Package(kind="pypi", name="torch", version="1.9.1+cu111")]


def test_only_what_dpkg_has_installed() -> None:
    status = "Package: a\nStatus: install ok installed\n\nPackage: b\nStatus: deinstall ok config\n"
    assert [each.name for each in of_dpkg(status)] == ["a"]
    assert of_dpkg("") == []


@pytest.fixture
def local(targets: Sequence[Target]) -> Local:
    labels = {
        "dlc.key": "a" * 64,
        "dlc.inputs": "Dockerfile=01 base=02",
        "dlc.base": "bootstrapped sha256:" + "3" * 64,
    }
    return Local(target=targets[0], id=DIGEST, labels=labels, layers=(), created="2026")


def test_provenance_names_inputs_bases_and_commit(local: Local) -> None:
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
