"""`dlc plan`: against no engine, and against another commit."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from builder.build import build_times
from builder.build.bake import Outcome
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from tests.conftest import Dlc


@pytest.fixture(scope="module")
def targets(part: Path) -> tuple[Target, ...]:
    """Those of the checkout."""
    return load_targets(part / "matrix.yaml")


@pytest.fixture(scope="module")
def committed(part: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git checkout of a part of the matrix, with templates, in one commit; not to be changed."""
    folder = tmp_path_factory.mktemp("committed") / "checkout"
    shutil.copytree(part, folder)
    for name in ("templates", "runtime"):
        shutil.copytree(root / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "All")
    return folder


@pytest.fixture(autouse=True)
def no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.engine.connection.candidates", lambda: iter(()))
    monkeypatch.setenv("DLC_STATE", str(tmp_path / "state"))


@pytest.fixture
def checkout(committed: Path, tmp_path: Path) -> Path:
    """The same to be changed."""
    return shutil.copytree(committed, tmp_path / "checkout")


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.com")
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True)


def states(dlc: Dlc, folder: Path, *arguments: str) -> dict[str, dict[str, object]]:
    """The rows of a plan that are not up to date, by image."""
    run = dlc("--matrix", str(folder / "matrix.yaml"), "plan", *arguments, "--format", "json")
    assert run.code == 0, run.err
    return {row["image"]: row for row in json.loads(run.out) if row["state"] != "up to date"}


@pytest.mark.integration
def test_nothing_changed_since_the_commit(dlc: Dlc, committed: Path) -> None:
    found = states(dlc, committed, "--since", "HEAD")
    assert {row["state"] for row in found.values()} == {"blocked"}
    assert all("-neuron" in name for name in found)


@pytest.mark.integration
def test_nothing_to_build_is_a_sentence_and_no_empty_table(dlc: Dlc, committed: Path) -> None:
    where = ("--matrix", committed / "matrix.yaml")
    run = dlc(*where, "plan", "--since", "HEAD", "--device", "cpu", "--framework", "pytorch")
    assert (run.code, run.out) == (0, "")
    assert re.fullmatch(r"nothing to build: all \d+ targets are up to date\n", run.err)


@pytest.mark.integration
def test_a_template_changes_what_it_is_part_of(
    dlc: Dlc, checkout: Path, targets: tuple[Target, ...]
) -> None:
    stage = checkout / "templates/stages/training.j2"
    stage.write_text(stage.read_text("utf-8") + "ENV MORE=1\n", "utf-8")
    run = ("--templates", str(checkout / "templates"), "--matrix", str(checkout / "matrix.yaml"))
    found = json.loads(dlc(*run, "plan", "--since", "HEAD", "--format", "json").out)
    changed = {row["image"]: row["why"] for row in found if row["state"] == "build"}
    assert changed == {
        target.name: ["Dockerfile changed"]
        for target in targets
        if target.mode == "training" and target.device != "neuronx"
    }


@pytest.mark.integration
def test_a_program_in_images_is_that_of_the_commit(
    dlc: Dlc, checkout: Path, targets: tuple[Target, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = checkout / "runtime"
    for module in ("builder.build.git_ref", "builder.dockerfile.render"):
        monkeypatch.setattr(f"{module}.default_runtime", lambda: runtime)
    with (runtime / "dlc_serving.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    found = states(dlc, checkout, "--since", "HEAD")
    changed = {name: row["why"] for name, row in found.items() if row["state"] == "build"}
    assert changed == {
        target.name: ["dlc_serving.py changed"]
        for target in targets
        if target.mode == "inference" and "neuron" not in target.device
    }


@pytest.mark.integration
def test_a_matrix_that_cannot_be_read_any_more(dlc: Dlc, checkout: Path) -> None:
    matrix = checkout / "matrix.yaml"
    good = matrix.read_text("utf-8")
    matrix.write_text("old: 1\n", "utf-8")
    git(checkout, "commit", "--all", "--quiet", "--message", "Old")
    matrix.write_text(good, "utf-8")
    run = dlc("--matrix", str(matrix), "plan", "*2.13.0-transformers4.57.1*", "--since", "HEAD")
    assert run.code == 0
    assert "everything counts as changed" in run.err
    assert "2 to build, 0 up to date" in run.err


@pytest.mark.integration
def test_no_such_commit(dlc: Dlc, committed: Path) -> None:
    run = dlc("--matrix", str(committed / "matrix.yaml"), "plan", "--since", "nowhere")
    assert run.code == 4
    assert "nowhere" in run.err
    assert "name a commit" in run.err


def test_without_an_engine_everything_is_to_be_built(
    dlc: Dlc, part: Path, targets: tuple[Target, ...]
) -> None:
    target = targets[-1]
    build_times.record([Outcome(target=target, seconds=31.44, size=1_630_000_000)])
    run = dlc("--matrix", str(part / "matrix.yaml"), "plan", target.name)
    assert run.code == 0
    assert "there is no image" in run.out
    assert "31.4" in run.out
    assert "1.63 GB" in run.out
    assert "1 to build, 0 up to date, about 31 s, one after the other, and 1.63 GB" in run.err


def test_a_broken_history_is_none(tmp_path: Path) -> None:
    assert build_times.load() == {}
    (tmp_path / "state").mkdir()
    for text in ("", "[]", "null", '{"a": 1}', '{"a": {"seconds": 1}}', "[" * 100_000):
        (tmp_path / "state" / "builds.json").write_text(text, "utf-8")
        assert build_times.load() == {}


@pytest.mark.parametrize(
    "row",
    [
        {"seconds": "a", "size": 1},
        {"seconds": 1.0, "size": "a"},
        {"seconds": None, "size": 1},
        {"seconds": float("nan"), "size": 1},
        {"seconds": float("inf"), "size": 1},
        {"seconds": -1, "size": 1},
        {"seconds": True, "size": 1},
        {"seconds": 1, "size": 1.5},
        {"seconds": 1, "size": 1, "more": 1},
    ],
)
def test_a_broken_row_of_the_history_is_left_out(
    dlc: Dlc, part: Path, tmp_path: Path, targets: tuple[Target, ...], row: dict[str, object]
) -> None:
    name, other = targets[-1].name, targets[-2].name
    (tmp_path / "state").mkdir()
    rows = {name: row, other: {"seconds": 2, "size": 3}}
    (tmp_path / "state" / "builds.json").write_text(json.dumps(rows), "utf-8")
    assert build_times.load() == {other: build_times.BuildTime(seconds=2, size=3)}
    assert dlc("--matrix", str(part / "matrix.yaml"), "plan", name).code == 0


def test_what_tells_nothing_is_no_history(targets: tuple[Target, ...]) -> None:
    wrong = Outcome(target=targets[0], seconds=3.0, error="it broke")
    old = Outcome(target=targets[1], seconds=0.0, size=1, up_to_date=True)
    cached = Outcome(target=targets[2], seconds=0.4, size=1, from_cache=True)
    build_times.record([wrong, old, cached])
    assert build_times.load() == {}


def test_a_build_on_a_cached_framework_fills_a_gap_only(targets: tuple[Target, ...]) -> None:
    def built(seconds: float, *, cached: bool) -> float:
        outcome = Outcome(target=targets[0], seconds=seconds, size=1, on_a_cached_framework=cached)
        build_times.record([outcome])
        return build_times.load()[targets[0].name].seconds

    assert built(20.0, cached=True) == 20.0
    assert built(48.7, cached=False) == 48.7
    assert built(21.0, cached=True) == 48.7
    assert built(60.0, cached=True) == 60.0
    assert built(40.0, cached=False) == 40.0


def test_what_was_never_built_is_estimated_from_like_targets(
    dlc: Dlc, part: Path, targets: tuple[Target, ...]
) -> None:
    """The median of the same framework, mode and device, else of the same framework and mode."""
    built = [
        t for t in targets if (t.framework, t.mode, t.device) == ("pytorch", "inference", "cpu")
    ]
    outcomes = [
        Outcome(target=target, seconds=seconds, size=size)
        for target, seconds, size in zip(
            built, (10.0, 20.0, 60.0), (1_000_000_000, 2_000_000_000, 6_000_000_000), strict=False
        )
    ]
    build_times.record(outcomes)
    run = dlc("--matrix", str(part / "matrix.yaml"), "plan", "--format", "json")
    rows = {row["image"]: row for row in json.loads(run.out)}
    for target in targets:
        row = rows[target.name]
        told = (row["seconds"], row["size"], row["estimated_from"])
        if target in built[:3]:
            assert told[2] == 0
        elif (target.framework, target.mode) == ("pytorch", "inference"):
            assert told == (20.0, 2_000_000_000, 3)
        else:
            assert told == (None, None, None)
    run = dlc("--matrix", str(part / "matrix.yaml"), "plan", built[0].name, built[3].name)
    assert "~20.0" in run.out
    assert "~2 GB" in run.out
    assert (
        "2 to build, 0 up to date, about 30 s, one after the other, and 3 GB for all, "
        "1 of them estimated from similar targets" in run.err
    )


def test_a_target_that_cannot_be_built_has_no_inputs_to_show(dlc: Dlc, part: Path) -> None:
    run = dlc("--matrix", str(part / "matrix.yaml"), "plan", "--why", "*1.9.1-*-neuron-*")
    assert (run.code, run.out) == (0, "")
    assert "cannot be built" in run.err


def test_a_long_reason_widens_no_other_row(
    dlc: Dlc, part: Path, targets: tuple[Target, ...]
) -> None:
    """JSON has all of it, and so has --why."""
    matrix = ("--matrix", str(part / "matrix.yaml"))
    blocked = next(target for target in targets if target.device.startswith("neuron"))
    names = (blocked.name, targets[0].name)
    rows = json.loads(dlc(*matrix, "plan", *names, "--format", "json").out)
    [long] = [", ".join(row["why"]) for row in rows if row["state"] == "blocked"]
    assert len(long) > 100
    lines = dlc(*matrix, "plan", *names).out.splitlines()
    other = next(line for line in lines if targets[0].name in line)
    assert other.endswith("  there is no image")
    assert len(other) < max(map(len, names)) + 60
    [short] = [line.split("  ")[-1].strip() for line in lines if blocked.name in line]
    assert short.endswith("…")
    assert long.startswith(short.removesuffix("…"))
    assert all(line == line.rstrip() for line in lines)
    assert long in dlc(*matrix, "plan", "--why", blocked.name).err
