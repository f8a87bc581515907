"""Which tags a release carries, and who has those that several targets could have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.engine.image import key_tag
from builder.matrix.tags import aliases
from builder.matrix.target import Target
from builder.release.tags import (
    MAJORS,
    is_fixed,
    moving,
    next_revision,
    revisions,
)

REVISIONS = st.from_regex(r"(?:0|[1-9][0-9]?)\.(?:0|[1-9][0-9]?)", fullmatch=True)


def named(targets: Sequence[Target], name: str) -> Target:
    [found] = [target for target in targets if target.name.endswith(name)]
    return found


def test_official_release_carries_what_the_official_one_does(targets: Sequence[Target]) -> None:
    target = named(targets, "training:1.10.2-transformers4.17.0-gpu-py38-cu113-ubuntu20.04")
    assert moving(target, targets, revision="1.0") == (
        "1.10.2-transformers4.17.0-gpu-py38-cu113-ubuntu20.04",
        "1.10-transformers4.17-gpu-py38-cu113-ubuntu20.04",
        "1.10-transformers4.17-gpu-py38-cu113-ubuntu20.04-v1",
        "1.10.2-gpu-py38-cu113-ubuntu20.04",
        "1.10-gpu-py38-cu113-ubuntu20.04-v1",
        "1.10.2-gpu-py38",
        "1.10-gpu-py38",
    )


def test_neuron_has_no_tags_of_sagemaker(targets: Sequence[Target]) -> None:
    target = named(targets, "neuron:1.9.1-transformers4.12.3-neuron-py37-sdk1.17.1-ubuntu18.04")
    assert moving(target, targets, revision="1.0") == (
        "1.9.1-transformers4.12.3-neuron-py37-sdk1.17.1-ubuntu18.04",
        "1.9-transformers4.12-neuron-py37-sdk1.17.1-ubuntu18.04",
        "1.9-transformers4.12-neuron-py37-sdk1.17.1-ubuntu18.04-v1",
        "1.9.1-neuron-py37-sdk1.17.1-ubuntu18.04",
        "1.9-neuron-py37-sdk1.17.1-ubuntu18.04-v1",
    )


def test_forms_without_transformers_are_the_newest_target_s(targets: Sequence[Target]) -> None:
    old = named(targets, "pytorch-inference:1.9.0-transformers4.11.0-cpu-py38-ubuntu20.04")
    new = named(targets, "pytorch-inference:1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04")
    assert "1.9.0-cpu-py38" in moving(old, targets, revision="1.0")
    assert "1.9-cpu-py38" not in moving(old, targets, revision="1.0")
    assert "1.9-cpu-py38" in moving(new, targets, revision="1.0")
    assert "1.9-cpu-py38-ubuntu20.04-v2" in moving(new, targets, revision="2.1")


@pytest.mark.parametrize(
    "name",
    [
        "2.13.0-transformers4.57.1-cpu-py311-debian12",  # our own
        "2.4.1-transformers4.10.2-gpu-py37-cu110-ubuntu18.04",  # never released
    ],
)
def test_targets_without_short_tags(targets: Sequence[Target], name: str) -> None:
    for target in targets:
        if target.tag == name:
            assert moving(target, targets, revision="1.0") == (name,)


@pytest.mark.parametrize("revision", ["1.0", "2.13"])
def test_no_tag_has_two_owners(targets: Sequence[Target], revision: str) -> None:
    owners: dict[str, str] = {}
    for target in targets:
        for tag in moving(target, targets, revision=revision):
            assert not is_fixed(tag)
            assert owners.setdefault(f"{target.repository}:{tag}", target.name) == target.name
    # And each short form that an official target could have is somebody's.
    for target in targets:
        if target.origin == "official":
            for tag in aliases(target.parts, revision=revision):
                assert is_fixed(tag) or f"{target.repository}:{tag}" in owners


def test_owner_does_not_depend_on_the_order(targets: Sequence[Target]) -> None:
    for target in targets:
        backwards = moving(target, list(reversed(targets)), revision="1.0")
        assert backwards == moving(target, targets, revision="1.0")


def test_another_repository_takes_nothing(small: dict[str, Target]) -> None:
    for target in small.values():
        other = replace(target, mode="training" if target.mode == "inference" else "inference")
        newer = replace(other, transformers="99.0.0")
        assert moving(target, [target, newer], revision="1.0") == moving(
            target, [target], revision="1.0"
        )


@given(known=st.lists(REVISIONS, unique=True), major=st.sampled_from(MAJORS))
def test_next_revision_is_new_and_the_newest(known: list[str], major: str) -> None:
    full = "1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04"
    tags = [f"{full}-v{each}" for each in known]
    found = revisions(full, [*tags, full, f"{full}-v1", f"x{full}-v1.0", "latest"])
    assert sorted(found) == sorted(known)
    new = next_revision(found, major)
    assert new not in known
    newest = [
        each for each in revisions(full, [*tags, f"{full}-v{new}"]) if each.startswith(f"{major}.")
    ]
    assert newest[-1] == new


@given(key=st.from_regex(r"[0-9a-f]{64}", fullmatch=True), revision=REVISIONS)
def test_fixed_tags(key: str, revision: str) -> None:
    assert is_fixed(key_tag(key))
    assert len(key_tag(key)) == 20
    assert is_fixed(f"1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04-v{revision}")
    assert not is_fixed(f"1.9-cpu-py38-v{revision.split('.', maxsplit=1)[0]}")


def test_major_releases_are_those_of_the_official_images(targets: Sequence[Target]) -> None:
    """By AWS's releases on GitHub, like v2.0-hf-4.48.0-pt-2.3.0-inf-py311."""
    found = {t.transformers for t in targets if t.major == "2"}
    assert found == {"4.48.0", "4.49.0", "4.51.3", "5.5.3"}
    assert {t.labels()["dlc_major_version"] for t in targets if t.major == "2"} == {"2"}
    assert {t.labels()["dlc_major_version"] for t in targets if t.major != "2"} == {"1"}
