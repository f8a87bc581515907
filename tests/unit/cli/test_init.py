"""`dlc init`: what it writes is a project that renders as ours does, and nothing is overwritten."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

from builder.cli.init import FILES
from builder.dockerfile.render import Renderer
from builder.locks import freshness
from builder.matrix.targets import load_targets
from tests.conftest import ROOT, Dlc

LOCKS = ["build.lock", "framework.lock", "libraries.lock", "tools.lock"]
OURS = "huggingface-pytorch-inference:2.13.0-transformers5.23.0-cpu-py311-debian12"


# All that it writes.
WRITTEN = [*FILES.values(), *(f"images/{OURS.replace(':', '/')}/{name}" for name in LOCKS)]


@pytest.fixture
def started(tmp_path: Path, dlc: Dlc, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A team's new repository, which is the current folder."""
    folder = tmp_path / "our images"
    run = dlc("init", folder)
    assert (run.code, run.out) == (0, "")
    assert run.err.splitlines() == [
        *(f"wrote {folder / name}" for name in WRITTEN),
        "next: dlc render, dlc build",
    ]
    monkeypatch.chdir(folder)
    return folder


def test_every_file_of_the_starter_is_written(started: Path) -> None:
    assert {path.name for path in (ROOT / "builder" / "starter").iterdir()} == set(FILES)
    found = {str(path.relative_to(started)) for path in started.rglob("*") if path.is_file()}
    assert found == set(WRITTEN)


def test_its_image_is_ours(started: Path) -> None:
    """Same Dockerfile, same files, same locks: so every layer comes from the cache of ours."""
    [target] = load_targets(started / "matrix.yaml")
    ours = next(each for each in load_targets(ROOT / "matrix.yaml") if each.name == target.name)
    own = Renderer(started / "templates").files(target)
    assert own == Renderer().files(ours), "change builder/starter/matrix.yaml like matrix.yaml"
    folder = Path("images", target.folder)
    assert not freshness.state(started / folder, target).stale, "change builder/starter/matrix.yaml"
    for name in LOCKS:
        assert (started / folder / name).read_bytes() == (ROOT / folder / name).read_bytes()
    assert target.name == OURS


def test_the_locks_are_in_the_wheel() -> None:
    said = (ROOT / "pyproject.toml").read_text("utf-8")
    for path in WRITTEN:
        if path.endswith(".lock"):
            assert f'"{path}" = "builder/{path}"\n' in said
    assert said.count('.lock" = "builder/') == len(LOCKS)


def test_it_renders_and_is_checked(started: Path, dlc: Dlc) -> None:
    folder = started / "images" / OURS.replace(":", "/")
    before = {path for path in folder.rglob("*") if path.is_file()}
    said = dlc("render").err.splitlines()[-1]
    new = {path for path in folder.rglob("*") if path.is_file()} - before
    assert said == f"1 target rendered, {len(new)} files changed"
    assert folder / "Dockerfile" in new
    assert dlc("render", "--check").code == 0
    assert dlc("lock", "--check").code == 0
    assert dlc("build", "--dry-run").out.splitlines()[1].split()[-2:] == ["build", "-"]
    assert dlc("table").out.count(" 5.23.0 ") == 1


def test_example_in_its_template_works(started: Path, dlc: Dlc) -> None:
    template = started / "templates" / "Dockerfile.j2"
    text = template.read_text("utf-8")
    begin, end = text.index("{% block"), text.index("{% endblock %}") + len("{% endblock %}")
    template.write_text('{% extends "dlc/Dockerfile.j2" %}\n' + text[begin:end] + "\n", "utf-8")
    missing = dlc("render")
    assert missing.code == 8
    assert "templates/files/team.cfg, which the Dockerfile of" in missing.err
    (started / "templates" / "files").mkdir()
    (started / "templates" / "files" / "team.cfg").write_text("a = b\n")
    assert dlc("render").code == 0
    folder = started / "images" / OURS.replace(":", "/")
    assert "\nCOPY team.cfg /opt/team/\n" in (folder / "Dockerfile").read_text("utf-8")
    assert (folder / "team.cfg").read_text("utf-8") == "a = b\n"


@pytest.mark.parametrize("name", [*WRITTEN, "a link to nowhere"])
def test_nothing_is_overwritten(name: str, tmp_path: Path, dlc: Dlc) -> None:
    if name == "a link to nowhere":
        name = "Makefile"
        (tmp_path / name).symlink_to("nowhere")
    else:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine\n")
    run = dlc("init", tmp_path)
    assert run.code == 2
    assert f"{tmp_path} has {name} already; name another folder" in run.err
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if not p.is_dir()] == [name]
    assert (tmp_path / name).is_symlink() or (tmp_path / name).read_text() == "mine\n"


def test_beside_other_files_and_only_once(started: Path, dlc: Dlc) -> None:
    again = dlc("init")
    assert again.code == 2
    assert f"{started} has {', '.join(WRITTEN)} already" in again.err
    for name in WRITTEN:
        (started / name).unlink()
    (started / "notes.txt").write_text("mine\n")
    assert dlc("init").code == 0


def test_a_file_is_no_folder(tmp_path: Path, dlc: Dlc) -> None:
    (tmp_path / "file").write_text("")
    run = dlc("init", tmp_path / "file")
    assert run.code == 1
    assert run.err.startswith(f"dlc: {tmp_path / 'file'}")


def make(started: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run its Makefile with our command."""
    scripts = sysconfig.get_path("scripts")
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["make", *arguments],
        cwd=started,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.integration
def test_its_makefile(started: Path) -> None:
    told = make(started).stdout
    for target in ("lock", "render", "check", "build", "smoke", "push"):
        assert f"  make {target} " in told
    assert make(started, "render").returncode == 0
    check = make(started, "check")
    assert check.returncode == 0, check.stderr
    assert "dlc lock --check" in check.stdout
    pushed = make(started, "push")
    assert pushed.returncode != 0
    assert "name a registry" in pushed.stdout


@pytest.mark.integration
def test_its_workflow_is_one(started: Path) -> None:
    command = Path(sysconfig.get_path("scripts"), "check-jsonschema")
    run = subprocess.run(
        [
            *(command, "--builtin-schema", "vendor.github-workflows"),
            started / ".github" / "workflows" / "build.yml",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


def test_a_checkout_has_our_line_ends(started: Path) -> None:
    """Whatever git is set to: a lock is compared to the byte."""
    for folder in (started, ROOT):
        lines = (folder / ".gitattributes").read_text("utf-8").splitlines()
        rules = [line for line in lines if line and not line.startswith("#")]
        assert rules[0] == "* text=auto eol=lf"
        assert not [rule for rule in rules[1:] if "eol" in rule or "text" in rule.split()[1:]]
