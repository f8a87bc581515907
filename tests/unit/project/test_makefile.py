"""What users name on make's command line reaches the tool as one word, and runs nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.integration

PASSED_ON = {"MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL"}
PASSED_ON |= {"TARGET", "ROWS", "ONLY", "MODEL", "REGISTRY"}
# Shells and make read these in ways of their own.
VALUES = [
    *("it's", 'say "x"', "a b", "two\nlines", "*inference*", "--all", "#1", "x\\"),
    *("$HOME", "$$", "$(shell touch ran)", "$(x)", "${x}", "`touch ran`", "; touch ran", "a & b"),
]
FEW = ["it's", "two\\nlines", "$(shell touch ran)", "`touch ran`"]
# A command, the variable that it takes, and what comes before its value.
COMMANDS = [
    ("build", "TARGET", ["build"]),
    ("render", "TARGET", ["render"]),
    ("lock", "TARGET", ["lock"]),
    ("serve", "TARGET", ["serve"]),
    ("serve TARGET=t", "MODEL", ["serve", "t", "--model"]),
    ("test-image TARGET=t", "ONLY", ["test", "t", "--only"]),
    ("push TARGET=t", "REGISTRY", ["push", "t", "--registry"]),
    ("tasks", "ROWS", ["-m", "tools.prove.tasks"]),
    ("contract", "ROWS", ["-m", "tools.prove.contract"]),
]
STARTER = [
    *((name, "TARGET", [name]) for name in ("lock", "build", "smoke")),
    ("push TARGET=t", "REGISTRY", ["push", "t", "--registry"]),
]


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """One that is ready, whose programs write down their arguments and do nothing."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    for name in (".ready", ".ready-test"):
        (folder / name).touch()
    for name in ("dlc", "python"):
        path = folder / "bin" / name
        path.write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" > {tmp_path}/arguments\n", "utf-8")
        path.chmod(0o755)
    return folder


def given(
    venv: Path, makefile: Path, command: str, **values: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run make, with values on its command line; its result, and what the program was given."""
    said = [f"{name}={value}" for name, value in values.items()]
    told = venv.parent / "arguments"
    told.unlink(missing_ok=True)
    # Those of a make that runs these tests, too: it hands them on.
    kept = {name: os.environ[name] for name in os.environ if name not in PASSED_ON}
    run = subprocess.run(
        ["make", "--silent", "--file", str(makefile), *command.split(), *said],
        cwd=ROOT,
        env={**kept, "PATH": f"{venv}/bin{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return run, told.read_text("utf-8").split("\0")[:-1] if told.is_file() else []


@pytest.mark.parametrize(("command", "variable", "before"), COMMANDS)
def test_a_value_is_one_word(
    command: str, variable: str, before: list[str], venv: Path, tmp_path: Path
) -> None:
    for value in VALUES if command == "build" else FEW:
        values = {variable: value, "VENV": str(venv)}
        run, told = given(venv, ROOT / "Makefile", command, **values)
        assert (run.returncode, told) == (0, [*before, value]), run.stderr
    assert not [*ROOT.glob("ran"), *tmp_path.glob("ran")]


@pytest.mark.parametrize(("command", "variable", "before"), STARTER)
def test_so_it_is_in_a_repository_of_a_team(
    command: str, variable: str, before: list[str], venv: Path
) -> None:
    for value in FEW:
        makefile = ROOT / "builder/starter/Makefile"
        run, told = given(venv, makefile, command, **{variable: value})
        assert (run.returncode, told) == (0, [*before, value]), run.stderr
    assert not [*ROOT.glob("ran")]


@pytest.mark.parametrize("command", ["build", "render", "lock", "serve"])
def test_an_empty_one_is_told_and_none_is_not(command: str, venv: Path) -> None:
    """A variable that was never set must not mean all."""
    _, told = given(venv, ROOT / "Makefile", command, TARGET="", VENV=str(venv))
    assert told == [command, ""]
    _, told = given(venv, ROOT / "Makefile", command, VENV=str(venv))
    assert "" not in told


def test_none_is_handed_on_to_a_make_below(tmp_path: Path, venv: Path) -> None:
    """What was not named stays so in a make that a recipe starts, as `make test` does."""
    below = tmp_path / "below.mk"
    below.write_text(
        f"include {ROOT}/Makefile\nabove:\n\t$(MAKE) --file {ROOT}/Makefile lock VENV={venv}\n",
        "utf-8",
    )
    run, told = given(venv, below, "above", VENV=str(venv))
    assert (run.returncode, told) == (0, ["lock"]), run.stderr
    run, told = given(venv, below, "above", VENV=str(venv), TARGET="it's $(x)")
    assert (run.returncode, told) == (0, ["lock", "it's $(x)"]), run.stderr
