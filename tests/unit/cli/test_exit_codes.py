"""Exit codes as docs/building.md has them: of wrong values, and where output cannot be written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from builder import errors
from builder.errors import DlcError, Interrupted
from tests.conftest import GOLDEN, ROOT, Dlc

CPU = "1.9.1-transformers4.12.3-cpu-*"
LIFT = ("lock", "--upgrade")
WHY = ("--reason", "CVE-1", "--until", "2999-01-01")
PUSH = ("push", CPU, "--registry")
ADD = ("add", "--transformers")


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        # 2: the command line is wrong.
        *((2, (*LIFT, text, *WHY)) for text in ("", "x=>1", "x==y", "x[y]", "x>1", "x @ file:y")),
        (2, (*LIFT, "x==1", "--reason", "", "--until", "2999-01-01")),
        (2, (*LIFT, "x==1", "--reason", "a\nb", "--until", "2999-01-01")),
        (2, (*LIFT, "x==1", "--reason", "x", "--until", "2001-01-01")),
        (2, (*LIFT, "x==1", "--reason", "x", "--until", "soon")),
        (2, (*LIFT, "x==1")),
        (2, (*LIFT, "x==1", "--check", *WHY)),
        *((2, (*PUSH, text)) for text in ("", "https://h.example/x", "a b", "team", "h:0/x", "::")),
        *(
            (2, (command, "--registry", text))
            for command in ("plan", "ci-matrix")
            for text in ("", "https://h.example/x", "a b", "team", "::")
        ),
        (2, (*PUSH, "localhost:5/x", "--release", "1")),
        (2, (*PUSH, "localhost:5/x", "--patience", "nan")),
        (2, (*PUSH, "localhost:5/x", "--date", "yesterday")),
        (2, ("ecr", "plan", "--prefix", "A B")),
        (2, ("ecr", "plan", "--account", "12")),
        (2, ("table", "--write", "page.md", "--proof", "nothing.json")),
        (2, ("table", "--write", "page.md", "--proof", "broken.json")),
        (2, ("table", "--write", "page.md", "--proof", "list.json")),
        (2, ("table", "--proof", "list.json")),
        (2, ("layers", "--recorded", "nothing.json")),
        (2, ("layers", "--recorded", "list.json")),
        (2, ("bases", "--update", "--offline")),
        (2, ("engine", "prune", "--keep-storage", "much")),
        (2, (*ADD, "x")),
        (2, (*ADD, "4.57.3", "--wheel", "x=1")),
        (2, (*ADD, "4.57.3", "--date", "2999-01-01")),
        (2, ("build", CPU, "--jobs", "0")),
        (2, ("build", CPU, "--cache-to", "h:5/x:tag")),
        (2, ("serve", CPU, "--env", "x")),
        (2, ("smoke", CPU, "--model", "nothing")),
        (2, ("mirrors", "script", "file")),
        (2, ("render", "--device", "cpu", "--nosuch")),
        (2, ("completion", "tcsh")),
        # 3: the matrix has mistakes.
        (3, ("list", "--matrix", "nothing.yaml")),
        (3, ("list", "--matrix", "broken.json")),
        # 4: a selector matches nothing.
        (4, ("list", "nosuch")),
        (4, ("plan", "--why", "nosuch")),
        (4, ("bases", "nosuch")),
        (4, ("show", "*")),
        # 5 and 6: not a Python; no region, no account.
        (5, ("list", "--python", "x")),
        (6, ("list", "--region", "mars")),
        (6, ("uri", CPU, "--account", "12")),
        # 1: the system fails.
        (1, ("table", "--write", "nothing/page.md")),
        (1, ("sdk-config", "--account", "123456789012", "--to", "broken.json/below")),
        # 7 and 8: not as rendered; a template is missing.
        (7, ("render", "--check")),
        (8, ("render", "--templates", "nothing")),
        (14, ("releases", "merge", "broken.json")),
        (16, ("lock", "--check")),
        (16, ("ci-matrix",)),
    ],
    ids=repr,
)
def test_code(
    code: int,
    arguments: tuple[str, ...],
    dlc: Dlc,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "matrix.yaml").write_bytes((GOLDEN / "matrix.yaml").read_bytes())
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    run = dlc(*arguments)
    assert run.code == code, run.err
    assert "Traceback" not in run.err
    assert run.err.count("Error: ") <= 1
    assert run.err.strip()
    assert sorted(tmp_path.rglob("*")) == before


def test_the_table_of_codes_has_every_error() -> None:
    page = (ROOT / "docs/building.md").read_text("utf-8")
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    kinds = [each for each in vars(errors).values() if isinstance(each, type)]
    raised = {each.exit_code for each in kinds if issubclass(each, DlcError)}
    assert raised | {0} == codes
    assert Interrupted.exit_code == 130


# Processes of their own, whose streams are closed, full, or read by nobody.


def shell(command: str) -> subprocess.CompletedProcess[str]:
    """A line of bash, in which `dlc` is this one."""
    name = f'dlc() {{ "{sys.executable}" -m builder --matrix "{GOLDEN}/matrix.yaml" "$@"; }}\n'
    return subprocess.run(
        ["bash", "-c", name + command], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.integration
@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("dlc list >&-", 0, ""),
        ("dlc list --format json >&-", 0, ""),
        ("dlc --help >&-", 0, ""),
        ("dlc list >/dev/full", 1, "dlc: No space left on device\n"),
        ("dlc list nosuch 2>&-", 4, ""),
        ("dlc nosuch 2>&-", 2, ""),
        ("dlc list 0<&- >/dev/null", 0, ""),
        ("dlc build 0<&- 1>&- 2>&-", 2, ""),
        ("set -o pipefail; dlc list | head -1 >/dev/null; exit 0", 0, ""),
    ],
)
def test_streams_that_are_closed(command: str, code: int, told: str) -> None:
    run = shell(command)
    assert (run.returncode, run.stdout, run.stderr) == (code, "", told)


@pytest.mark.integration
@pytest.mark.parametrize(
    "arguments", [["list"], ["list", "--format", "json"], ["--help"], ["list", "nosuch"], ["lst"]]
)
def test_a_reader_that_has_gone(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "builder", "--matrix", f"{GOLDEN}/matrix.yaml", *arguments]
    try:
        both = arguments[-1].startswith(("nosuch", "lst"))
        run = subprocess.run(
            command,
            stdout=subprocess.PIPE if both else writing,
            stderr=writing if both else subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writing)
    assert run.returncode == 1
    assert not run.stdout
    assert not run.stderr
