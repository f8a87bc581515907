"""No step of an image swallows a failure: what a build leaves out must end it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from builder.dockerfile.parse import instructions, last_stage
from builder.dockerfile.render import Renderer
from builder.engine.mmdebstrap import EPOCH as BASES_EPOCH
from builder.files.bytecode_report import SKIPPED
from builder.matrix.target import Target
from builder.serve.programs import FILES
from tests.conftest import ROOT

SCRIPTS = ROOT / "templates" / "files"
COMPILE = SCRIPTS / "compile.py"
EPOCH = int(BASES_EPOCH)

# Ways in which a shell goes on after a failure. Of a pipe only the last program's counts.
SWALLOWS = re.compile(r"\|\|\s*(true|:)|;\s*(true|:)\s*$|set \+e|(?<!\|)\|(?!\|)")
# What is text, not a pipe.
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def steps(dockerfile: str) -> list[str]:
    """The RUN instructions, each in one line and without its mounts."""
    lines = "\n".join(line for line in dockerfile.splitlines() if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    found = re.findall(r"^RUN (.*)", joined, re.MULTILINE)
    return [re.sub(r"--mount=\S+\s+", "", step).strip() for step in found]


def test_no_step_goes_on_after_a_failure(targets: tuple[Target, ...]) -> None:
    renderer = Renderer()
    seen: set[str] = set()
    for target in targets:
        seen |= {*steps(renderer.files(target)["Dockerfile"].decode())}
    assert len(seen) > 50
    for step in seen:
        bare = QUOTED.sub("", step)
        assert not SWALLOWS.search(bare), step
        # Commands that follow one another without && need a shell that ends at a failure.
        assert "; " not in bare.replace("exit 1; }", "") or step.startswith("set -e; "), step


def shells(dockerfile: str) -> list[list[str]]:
    """The shells that its instructions set, in their order."""
    return [json.loads(each.text) for each in instructions(dockerfile) if each.verb == "SHELL"]


def test_images_that_start_from_ours_have_the_usual_shell(targets: tuple[Target, ...]) -> None:
    renderer = Renderer()
    for target in targets:
        first, *_, last = shells(renderer.files(target)["Dockerfile"].decode())
        assert first[:2] == ["/bin/sh", "-ec"]
        assert last == ["/bin/sh", "-c"]


def test_the_last_stage_copies_by_steps(targets: tuple[Target, ...]) -> None:
    """COPY leaves the time of the build on folders."""
    renderer = Renderer()
    for target in targets:
        stage = last_stage(renderer.files(target)["Dockerfile"].decode())
        assert {each.verb for each in stage} & {"COPY", "ADD", "WORKDIR"} == set()


@pytest.mark.integration
@pytest.mark.parametrize("code", [0, 3])
def test_what_a_step_writes_has_one_time(
    code: int, targets: tuple[Target, ...], tmp_path: Path
) -> None:
    shell = shells(Renderer().files(targets[-1])["Dockerfile"].decode())[0]
    assert shell[2].count("find / ") == 1
    shell[2] = shell[2].replace("find / ", f"find '{tmp_path}' ")
    long_ago = 1_000_000_000
    for name in ("left/alone", "left/changed"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("before", "utf-8")
        os.utime(path, (long_ago, long_ago))
    os.utime(tmp_path / "left", (long_ago, long_ago))
    step = f"""cd '{tmp_path}'; echo after > left/changed; mkdir new; ln -s nowhere new/link
        touch -d 2001-09-09 new/brought; exit {code}"""
    done = subprocess.run([*shell, step], timeout=60, check=False)
    assert done.returncode == code
    if code:
        return
    times = {str(each.relative_to(tmp_path)): each.lstat().st_mtime for each in tmp_path.rglob("*")}
    assert times.pop("new/brought") == pytest.approx(long_ago, abs=100_000)
    assert (times.pop("left"), times.pop("left/alone")) == (long_ago, long_ago)
    assert times == dict.fromkeys(("left/changed", "new", "new/link"), EPOCH)


def test_tools_that_others_mount_have_no_bytecode(targets: tuple[Target, ...]) -> None:
    """It has a time; a step that mounts them is cached by what is in them."""
    renderer = Renderer()
    found = {
        step for each in targets for step in steps(renderer.files(each)["Dockerfile"].decode())
    }
    installing = [step for step in found if "pip3 install" in step]
    assert installing
    assert all("--no-compile" in step for step in installing)


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sh")), ids=lambda path: path.name)
def test_no_script_goes_on_after_a_failure(script: Path) -> None:
    text = script.read_text("utf-8")
    assert "\nset -eu\n" in text
    for line in text.splitlines():
        code = QUOTED.sub("", line)
        # A pattern of `case`, or a comment, may have a bar.
        assert line.startswith("#") or not SWALLOWS.search(code), line


def test_what_is_held_to_its_bytecode_is_what_is_compiled() -> None:
    """The pattern stands in a script of the build and in a report that runs in the image."""
    assert f'"{SKIPPED.pattern}"' in (SCRIPTS / "install.sh").read_text("utf-8")


def run(program: Path, *arguments: str | Path) -> tuple[int, str, str]:
    """Run a program of an image here: its exit code and what it wrote."""
    command = [sys.executable, "-I", str(program), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return result.returncode, result.stdout, result.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Modules, what is none, and what is left out."""
    for name, text in {
        "a.py": "A = 1\n",
        "b/__init__.py": "",
        "b/c.py": "def f():\n    return 1\n",
        "b/test/d.py": "D = 1\n",
        "python2.py": "print 'x'\n",
        "template.py": "{{ name }} = 1\n",
        "latin.py": "X = 1\n",
        "data.txt": "x",
    }.items():
        path = tmp_path / "lib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    (tmp_path / "lib" / "latin.py").write_bytes(b"X = '\xe9'\n")
    return tmp_path / "lib"


def report(tree: Path) -> dict[str, object]:
    code, out, err = run(FILES / "bytecode_report.py", tree)
    assert (code, err) == (0, "")
    found: dict[str, object] = json.loads(out)
    return found


@pytest.mark.integration
def test_what_is_no_module_is_no_failure(tree: Path) -> None:
    assert report(tree)["without"] == [
        str(tree / name) for name in ("a.py", "b/__init__.py", "b/c.py")
    ]
    assert run(COMPILE, tree, SKIPPED.pattern) == (0, "", "")
    assert report(tree) == {"modules": 3, "without": []}
    assert not list(tree.glob("b/test/__pycache__/*"))


@pytest.mark.integration
def test_a_module_that_cannot_be_written_is_one(tree: Path) -> None:
    """Whatever the system says, as on a full disk, beside files that cannot be compiled."""
    (tree / "b" / "__pycache__").write_text("in the way")
    code, _, err = run(COMPILE, tree)
    assert code == 1
    assert "__pycache__" in err
    assert report(tree)["without"] == [str(tree / name) for name in ("b/__init__.py", "b/c.py")]


@pytest.mark.integration
@pytest.mark.parametrize("kept", [0, 10, 20])
def test_bytecode_that_is_cut_off(kept: int, tree: Path) -> None:
    run(COMPILE, tree)
    (found,) = tree.glob("b/__pycache__/c.*.pyc")
    found.write_bytes(found.read_bytes()[:kept])
    assert report(tree)["without"] == [str(tree / "b" / "c.py")]


@pytest.mark.integration
def test_bytecode_of_another_source(tree: Path) -> None:
    run(COMPILE, tree)
    (tree / "a.py").write_text("A = 10\n", "utf-8")
    assert report(tree)["without"] == [str(tree / "a.py")]
