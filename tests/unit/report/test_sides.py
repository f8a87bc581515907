"""What `dlc diff` and `dlc inventory` take: files, records, targets and commits; no engine."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from builder.inventory.image import dumps
from builder.inventory.model import Package
from builder.matrix.select import select_one
from builder.matrix.targets import load_targets
from builder.release import inventories
from builder.release.record import record
from tests.conftest import Dlc
from tests.unit.cli.test_plan import git
from tests.unit.conftest import write_part
from tests.unit.inventory.trees import inventory
from tests.unit.release.test_notes import ONE, TWO

CPU = "*inference:1.8.1-transformers4.10.2-cpu*"
GPU = "*inference:1.8.1-transformers4.10.2-gpu*"


def urllib3(version: str) -> Package:
    return Package(kind="python", name="urllib3", version=version)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    one.write_text(dumps(inventory(urllib3("1.26.4"))))
    other.write_text(dumps(inventory(urllib3("1.26.5"), image="team/a:2")))
    return one, other


def test_two_files(files: tuple[Path, Path], dlc: Dlc) -> None:
    run = dlc("diff", *files)
    assert run.code == 0, run.err
    assert run.out.splitlines()[1].split() == ["upgraded", "python", "urllib3", "1.26.4", "1.26.5"]
    [row] = json.loads(dlc("diff", *files, "--format", "json").out)["packages"]
    assert (row["what"], row["after"]) == ("upgraded", "1.26.5")
    assert dlc("diff", *files, "--format", "markdown").out.startswith("# team/a:2\n")
    assert dlc("diff", files[0], files[0]).out == ""


def test_a_file_as_an_sbom(files: tuple[Path, Path], dlc: Dlc) -> None:
    run = dlc("inventory", files[0], "--format", "spdx")
    assert [each["name"] for each in json.loads(run.out)["packages"]] == ["team/a:1", "urllib3"]


def test_what_is_not_as_locked_fails_after_it_is_told(tmp_path: Path, dlc: Dlc) -> None:
    path = tmp_path / "a.json"
    path.write_text(dumps(inventory(urllib3("1"), differences=("urllib3 1 is in no lock",))))
    run = dlc("inventory", path)
    assert run.code == 17
    assert "urllib3" in run.out
    assert "team/a:1 is not as locked: urllib3 1 is in no lock; build it again" in run.err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "is not JSON"),
        ("[]", "is not an inventory"),
        ('{"dlc_inventory": 1}', "is damaged: 'image' is missing"),
    ],
)
def test_a_file_that_is_none(content: str, told: str, tmp_path: Path, dlc: Dlc) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    for arguments in (("inventory", path), ("diff", path, path)):
        run = dlc(*arguments)
        assert (run.code, run.out) == (17, "")
        assert str(path) in run.err
        assert told in run.err
        assert "Traceback" not in run.err


def test_release_records(tmp_path: Path, files: tuple[Path, Path], dlc: Dlc) -> None:
    folder = tmp_path / "releases"
    for released, version in ((ONE, "1"), (TWO, "2")):
        record(folder, "2026-11-21", released)
        inventories.keep(folder, released.digest, inventory(urllib3(version)))
    path = folder / "2026-11-21.json"
    run = dlc("diff", f"{path}:1-x-v1.0", f"{path}:1-x-v1.1")
    assert run.code == 0, run.err
    assert run.out.splitlines()[1].split() == ["upgraded", "python", "urllib3", "1", "2"]
    run = dlc("diff", path, files[0])
    assert run.code == 4
    assert "has 2 images" in run.err
    inventories.file_of(folder, ONE.digest).unlink()
    run = dlc("diff", f"{path}:1-x-v1.0", files[0])
    assert run.code == 17
    assert "there is no inventory of r.example/team/a:1-x beside" in run.err


def test_locks_of_two_targets(dlc: Dlc) -> None:
    run = dlc("diff", "--locks", CPU, GPU, "--format", "json")
    assert run.code == 0, run.err
    found = json.loads(run.out)
    assert found["locks_only"]
    assert [each["name"] for each in found["packages"]] == ["torch"]


def test_several_targets_are_one_too_many(dlc: Dlc) -> None:
    run = dlc("diff", "--locks", "*1.8.1-transformers4.10.2*", GPU)
    assert run.code == 4
    assert "matches" in run.err


@pytest.mark.integration
def test_a_commit(tmp_path: Path, dlc: Dlc) -> None:
    folder = tmp_path / "checkout"
    write_part(folder, "4.10.2")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "One release")
    matrix = folder / "matrix.yaml"
    target = select_one(load_targets(matrix), [CPU])
    lock = folder / "images" / target.folder / "libraries.lock"
    text = lock.read_text("utf-8")
    lock.write_text(re.sub(r"^urllib3==\S+", "urllib3==9.9", text, flags=re.MULTILINE))
    run = dlc("--matrix", matrix, "diff", f"HEAD:{target.name}", target.tag)
    assert run.code == 0, run.err
    assert run.out.splitlines()[1].split()[:3] == ["upgraded", "python", "urllib3"]
    assert run.out.splitlines()[1].split()[-1] == "9.9"
    run = dlc("--matrix", matrix, "diff", f"HEAD:{target.name}", f"HEAD:{target.name}")
    assert (run.code, run.out) == (0, "")
    run = dlc("--matrix", matrix, "diff", "HEAD:*nothing*", target.tag)
    assert run.code == 4
    assert "no target matches '*nothing*'" in run.err
