"""What a change to a small matrix plans, between commits of a real checkout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from tests.conftest import Dlc
from tests.unit.build.test_plan import _edit
from tests.unit.cli.test_plan import git
from tests.unit.conftest import write_part
from tests.unit.locks.test_resolve import (  # noqa: F401 - fixtures too
    CPU,
    TENSORFLOW,
    Index,
    Project,
    cache,
    index,
    nowhere,
    project,
    serve,
)

pytestmark = pytest.mark.integration

# What the older release trains with: two targets that serve are enough of it.
TRAINING = """\
    training:
      libraries: training-2
      pytorch: [1.8.1, 1.9.0]
      tensorflow:
        - version: 2.4.1
          origin: unreleased # AWS released TensorFlow 2.4.3 instead; the tables say 2.4.1
        - 2.5.1
"""


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with two releases of the real matrix, committed; not to be changed."""
    folder = tmp_path_factory.mktemp("committed") / "checkout"
    write_part(folder, "4.10.2", "4.11.0", change=(TRAINING, ""))
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "Two releases")
    return folder


@pytest.fixture
def checkout(committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same to be changed; no engine."""
    folder = shutil.copytree(committed, tmp_path / "checkout")
    monkeypatch.setattr("builder.engine.connection.candidates", lambda: iter(()))
    monkeypatch.setenv("DLC_STATE", str(tmp_path / "state"))
    return folder


def changed(dlc: Dlc, folder: Path, state: str = "build") -> dict[str, list[str]]:
    """What the last commit changed, and why; all of it is in that state."""
    run = dlc(
        *("--matrix", folder / "matrix.yaml", "plan", "--since", "HEAD~1", "--format", "json")
    )
    assert run.code == 0, run.err
    rows = [row for row in json.loads(run.out) if row["state"] != "up to date"]
    assert {row["state"] for row in rows} <= {state}
    return {row["image"]: row["why"] for row in rows}


def names(folder: Path, **wanted: str) -> set[str]:
    return {
        target.name
        for target in load_targets(folder / "matrix.yaml")
        if all(getattr(target, name) == value for name, value in wanted.items())
    }


def test_a_release_s_date_plans_its_targets_only(dlc: Dlc, checkout: Path) -> None:
    matrix = checkout / "matrix.yaml"
    before = matrix.read_text("utf-8")
    assert before.count("date: 2021-09-29") == 1
    matrix.write_text(before.replace("date: 2021-09-29", "date: 2021-09-30"), "utf-8")
    git(checkout, "commit", "--all", "--quiet", "--message", "Another date")
    found = changed(dlc, checkout, "stale")
    assert found.keys() == names(checkout, transformers="4.11.0")
    assert len(found) == 6
    # Their libraries are to be locked as of that day, before they can be built.
    assert all("libraries.lock stale" in why[0] for why in found.values())
    run = dlc("--matrix", matrix, "plan", "--since", "HEAD~1")
    assert run.err.startswith("0 to build, 8 up to date, 6 to lock first (`dlc lock`)")


def test_a_release_s_date_fails_the_matrix_of_jobs_until_its_targets_are_locked(
    index: Index,  # noqa: F811
    project: Project,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "output"
    monkeypatch.setenv("GITHUB_OUTPUT", str(output))
    monkeypatch.setenv("DLC_STATE", str(tmp_path / "state"))
    index.add("2021-02-01", "torch", "1.9.1+cpu", tag="cp38-cp38-linux_x86_64")
    assert project.run("lock", TENSORFLOW).code == 0
    assert project.run("render").code == 0
    git(project.folder, "init", "--quiet")
    git(project.folder, "add", "matrix.yaml", "images")
    git(project.folder, "commit", "--quiet", "--message", "A release")
    jobs = ("ci-matrix", TENSORFLOW, "--since", "HEAD", "--github")
    run = project.run(*jobs)
    assert (run.code, json.loads(run.out)) == (0, {"include": []})
    output.unlink()

    # On that day there was another version of what Transformers needs.
    project.replace(("    date: 2021-11-03\n    inference", "    date: 2022-02-01\n    inference"))
    run = project.run(*jobs)
    assert (run.code, run.out, output.exists()) == (16, "", False)
    assert run.err == (
        f"{TENSORFLOW} has locks that are not fresh: libraries.lock stale\n"
        "dlc: the locks of 1 of 1 target are not fresh; "
        f"run `dlc lock {TENSORFLOW}`, and commit what it writes\n"
    )
    assert project.run("lock", "--refresh", TENSORFLOW).code == 0
    assert project.versions(TENSORFLOW, "libraries")["tokenizers"] == "0.10.4"
    run = project.run(*jobs)
    assert run.code == 0
    assert [job["targets"] for job in json.loads(run.out)["include"]] == [TENSORFLOW]
    assert output.read_text("utf-8").endswith("count=1\n")

    (project.place(TENSORFLOW) / "tools.lock").unlink()
    run = project.run(*jobs)
    assert run.code == 16
    assert "tools.lock missing" in run.err


def test_a_framework_s_lock_plans_its_targets_only(dlc: Dlc, checkout: Path) -> None:
    """Those of both releases that are on that framework's build, and no others."""
    wanted = names(checkout, framework="tensorflow", framework_version="2.5.1", device="cpu")
    for target in load_targets(checkout / "matrix.yaml"):
        if target.name in wanted:
            _edit(checkout / "images" / target.folder, target)
    git(checkout, "commit", "--all", "--quiet", "--message", "Another lock")
    found = changed(dlc, checkout)
    assert found.keys() == wanted
    assert len(wanted) == 2
    for why in found.values():
        assert "framework.lock changed" in why


def test_the_matrix_of_jobs_has_what_changed_only(
    dlc: Dlc, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "output"
    monkeypatch.setenv("GITHUB_OUTPUT", str(output))
    matrix = ("--matrix", checkout / "matrix.yaml")
    run = dlc(*matrix, "ci-matrix", "--since", "HEAD", "--github")
    assert json.loads(run.out) == {"include": []}
    assert output.read_text("utf-8") == 'matrix={"include": []}\ncount=0\n'
    target = next(iter(load_targets(checkout / "matrix.yaml")))
    _edit(checkout / "images" / target.folder, target)
    run = dlc(*matrix, "ci-matrix", "--since", "HEAD")
    [job] = json.loads(run.out)["include"]
    assert job["targets"] == target.name
    assert run.err == "1 target in 1 job, 13 up to date\n"


def test_every_input_is_told(dlc: Dlc, checkout: Path) -> None:
    targets: tuple[Target, ...] = load_targets(checkout / "matrix.yaml")
    _edit(checkout / "images" / targets[0].folder, targets[0])
    why = ("plan", "--since", "HEAD", "--why")
    run = dlc("--matrix", checkout / "matrix.yaml", *why, targets[0].name, "--format", "json")
    told = json.loads(run.out)
    assert told["why"] == ["framework.lock changed", "libraries.lock changed"]
    rows = {row["input"]: row for row in told["inputs"]}
    assert {"Dockerfile", "base", "build.lock", "platform", "tools.lock"} <= rows.keys()
    assert rows["base"]["state"] == "unchanged"
    assert rows["base"]["before"] == rows["base"]["now"]
    assert rows["framework.lock"]["before"] != rows["framework.lock"]["now"]
    run = dlc("--matrix", checkout / "matrix.yaml", *why, targets[1].name)
    assert f"{targets[1].name} is up to date" in run.err
    assert run.out.count("unchanged") == len(run.out.splitlines()) - 1


@pytest.mark.parametrize("missing", ["images", "matrix.yaml"])
def test_a_commit_without_images_or_matrix(dlc: Dlc, checkout: Path, missing: str) -> None:
    """As a new repository's first one, to which the starter's README compares."""
    git(checkout, "rm", "-r", "--cached", "--quiet", missing)
    git(checkout, "commit", "--quiet", "--message", "Without")
    run = dlc("--matrix", checkout / "matrix.yaml", "plan", "--since", "HEAD", "*4.10.2*")
    assert run.code == 0, run.err
    assert f"everything counts as changed, as HEAD has no {missing}" in run.err
    assert "0 up to date" in run.err


def test_a_new_repository(dlc: Dlc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "team"
    assert dlc("init", folder).code == 0
    monkeypatch.chdir(folder)
    git(folder, "init", "--quiet")
    assert dlc("plan", "--since", "HEAD").code == 4, "there is no commit yet"
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "Begin")
    run = dlc("plan", "--since", "HEAD")
    assert (run.code, "0 to build" in run.err) == (0, True), run.err
    git(folder, "rm", "--quiet", "-r", "images")
    git(folder, "commit", "--quiet", "--message", "Without locks")
    run = dlc("plan", "--since", "HEAD")
    assert (run.code, "Traceback" in run.err) == (0, False)
    assert "everything counts as changed, as HEAD has no images" in run.err


def _stage(folder: Path, text: str) -> Path:
    path = folder / "stages/labels.j2"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return folder


@pytest.mark.parametrize("place", ["ours/templates", "../elsewhere", "templates"])
def test_the_commit_is_rendered_with_the_same_templates(
    dlc: Dlc, checkout: Path, place: str
) -> None:
    """Those of the folder that is named: as they were then, if it is in the checkout."""
    templates = _stage(checkout / place, "LABEL team=1\n")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "--allow-empty", "--message", "Templates")
    options = ("--matrix", checkout / "matrix.yaml", "--templates", templates)
    run = dlc(*options, "plan", "--since", "HEAD", "*4.10.2*")
    assert (run.code, "nothing to build" in run.err) == (0, True), run.err
    _stage(templates, "LABEL team=2\n")
    run = dlc(*options, "plan", "--since", "HEAD", "*4.10.2*", "--format", "json")
    told = {why for row in json.loads(run.out) for why in row["why"]}
    assert told == (set() if place.startswith("..") else {"Dockerfile changed"})


def test_images_outside_of_the_checkout(dlc: Dlc, committed: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    options = ("--matrix", committed / "matrix.yaml", "--images", elsewhere)
    run = dlc(*options, "plan", "--since", "HEAD")
    assert run.code == 4
    assert f"{elsewhere} is not in the checkout {committed}" in run.err


@pytest.mark.parametrize("ref", ["--help", "--output=x", "nowhere", "HEAD:images", "HEAD^{tree}"])
def test_what_is_no_commit(dlc: Dlc, committed: Path, ref: str) -> None:
    run = dlc("--matrix", committed / "matrix.yaml", "plan", f"--since={ref}")
    assert (run.code, run.out) == (4, "")
    assert f"git knows no commit {ref} in {committed}; name a commit that is there" in run.err


def test_templates_of_another_commit_run_nothing(dlc: Dlc, checkout: Path, tmp_path: Path) -> None:
    """Nobody has looked at them yet, and to plan is to render them."""
    ran = tmp_path / "ran"
    template = checkout / "templates" / "Dockerfile.j2"
    template.parent.mkdir()
    call = f"cycler.__init__.__globals__.os.system('touch {ran}')"
    template.write_text(
        f'{{% extends "dlc/Dockerfile.j2" %}}{{% block labels %}}{{{{ {call} }}}}{{% endblock %}}\n'
    )
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "--message", "Templates that do more")
    template.unlink()
    git(checkout, "commit", "--all", "--quiet", "--message", "Without them")
    run = dlc("--matrix", checkout / "matrix.yaml", "plan", "--since", "HEAD~1")
    assert not ran.exists()
    assert "everything counts as changed, as HEAD~1 cannot be rendered now" in run.err
