"""`dlc verify` without a registry: what it tells of an image and of its second build."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from builder.build import reproduce
from builder.build.bakefile import Job, definition, target_id
from builder.build.reproduce import Rebuilt
from builder.inventory.diff import Change, Setting
from builder.inventory.tree import FileChange
from builder.matrix.target import Target
from tests.conftest import Dlc

FILES = (FileChange(path="/etc/shadow", what="content"),)
OF_ENGINE = (FileChange(path="/etc", what="time"),)
PACKAGES = (Change(what="upgraded", kind="system", name="libc6", before="1", after="2"),)
SETTINGS = (Setting(what="label", name="dlc.base", before="pulled", after=None),)


@pytest.fixture
def named(targets: Sequence[Target]) -> Target:
    return next(each for each in targets if each.device == "cpu")


def answer(monkeypatch: pytest.MonkeyPatch, **differs: Any) -> None:
    """Have the second build give the same image, but for what `differs`."""
    given = {"second": "sha256:2", **differs}

    def verify_build(target: Target, **_: object) -> Rebuilt:
        return Rebuilt(target=target, first="sha256:1", count=5, **given)

    monkeypatch.setattr(reproduce, "verify_build", verify_build)


def test_the_same(dlc: Dlc, named: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, second="sha256:1")
    run = dlc("verify", named.name)
    assert (run.code, run.out) == (0, "")
    assert run.err.endswith(": one digest, sha256:1\n")
    answer(monkeypatch, created=False)
    run = dlc("verify", named.name)
    assert (run.code, run.out) == (0, "")
    assert run.err.endswith(
        ": two digests; 0 of 5 layers differ, in 0 files; the engine dates images by itself\n"
    )


@pytest.mark.parametrize(
    ("created", "files", "code"),
    [(False, OF_ENGINE, 0), (True, OF_ENGINE, 7), (False, (), 7), (False, (*OF_ENGINE, *FILES), 7)],
    ids=["an old engine", "a new one", "nothing is named", "another file"],
)
def test_what_an_old_engine_leaves(
    created: bool,
    files: tuple[FileChange, ...],
    code: int,
    dlc: Dlc,
    named: Target,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer(monkeypatch, created=created, layers=("RUN a",), files=files)
    assert dlc("verify", named.name).code == code


@pytest.mark.parametrize(
    "differs",
    [{"layers": ("RUN a",)}, {"packages": PACKAGES}, {"settings": SETTINGS}],
    ids=str,
)
def test_whatever_differs_fails(
    differs: dict[str, Any], dlc: Dlc, named: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, **differs)
    run = dlc("verify", named.name, "--format", "json")
    assert run.code == 7
    assert f"not the same when built again: {named.name}" in run.err
    [document] = json.loads(run.out)
    assert not document["same"]
    [row] = document["differences"]
    assert row in (
        {"what": "layer", "name": "RUN a", "differs": "digest"},
        {"what": "system", "name": "libc6", "differs": "1 -> 2"},
        {"what": "label", "name": "dlc.base", "differs": "pulled -> none"},
    )


def test_files_of_a_layer_are_named(
    dlc: Dlc, named: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, layers=("RUN a",), files=FILES)
    run = dlc("verify", named.name)
    assert "two digests; 1 of 5 layers differ, in 1 file\n" in run.err
    for words in (["layer", "RUN a", "digest"], ["file", "/etc/shadow", "content"]):
        assert any(all(word in line for word in words) for line in run.out.splitlines())


def test_nothing_is_built_by_mistake(dlc: Dlc, named: Target) -> None:
    assert "each would be built again" in dlc("verify").err
    run = dlc("verify", named.name, "--key", "cosign.pub")
    assert (run.code, "asked of a --registry" in run.err) == (2, True)


def test_no_step_comes_from_a_cache(named: Target, tmp_path: Any) -> None:
    job = Job(target=named, context=tmp_path, arguments={}, labels={}, aside=True)
    assert definition([job], {})["target"][target_id(named)]["no-cache"] is True
