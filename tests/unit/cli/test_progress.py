"""Progress and tables: on terminals of any width, on a dumb one, without colour, and piped."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from builder.build.bake import Outcome
from builder.build.buildkit_progress import Step
from builder.cli.output import fitted
from builder.cli.progress import Builds, Progress
from builder.matrix.target import Target
from tests.conftest import GOLDEN, Dlc
from tests.unit.cli.terminal import in_a_terminal, on_a_terminal

MATRIX = ("--matrix", GOLDEN / "matrix.yaml")
ESCAPE = "\x1b["


def plain(shown: str) -> list[str]:
    """The lines that were written, those that were written over too."""
    shown = re.sub(r"\x1b\[\d*[AGK]", "\n", shown)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).splitlines()


@pytest.mark.integration
@pytest.mark.parametrize("columns", [60, 80, 100])
@pytest.mark.parametrize(
    "command", [["list"], ["show", "1.9.1-transformers4.12.3-cpu-*"], ["build", "--dry-run"]]
)
def test_tables_fit_the_terminal(command: list[str], columns: int, dlc: Dlc) -> None:
    code, shown = on_a_terminal(*MATRIX, *command, columns=columns)
    assert code == 0
    assert max(map(len, plain(shown))) <= columns
    # Nothing is cut off: what is too long goes on below.
    whole = dlc(*MATRIX, *command).out
    letters = re.sub(r"\s", "", whole)
    assert sorted(re.sub(r"\s", "", "".join(plain(shown)))) == sorted(letters)


@pytest.mark.integration
def test_a_wide_terminal_has_one_line_for_each_row(dlc: Dlc) -> None:
    _, shown = on_a_terminal(*MATRIX, "list", columns=250)
    assert plain(shown) == dlc(*MATRIX, "list").out.splitlines()
    assert shown.startswith(f"{ESCAPE}1m")


@pytest.mark.integration
@pytest.mark.parametrize("setting", [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_escapes(setting: tuple[str, str]) -> None:
    _, shown = on_a_terminal(*MATRIX, "list", columns=250, environment=[setting])
    assert ESCAPE not in shown


@pytest.mark.integration
def test_a_dumb_terminal_is_as_wide_as_it_is() -> None:
    dumb = [("TERM", "dumb")]
    _, shown = on_a_terminal(*MATRIX, "list", columns=250, environment=dumb)
    _, unknown = on_a_terminal(*MATRIX, "list", columns=0, environment=dumb)
    assert len(shown.splitlines()) == 9
    assert unknown == shown


def test_no_column_is_squeezed_out() -> None:
    assert fitted([5, 40, 30], 20) == [5, 12, 12]


SHOWS = """
import sys
from builder.cli.output import print_line
from builder.cli.progress import showing, working
from builder.util.console import say
with showing() as progress:
    progress.start("locks", 2)
    for number in (1, 2):
        say(f"news {number}")
        print_line(f"result {number}")
        progress.line(f"line {number}")
        progress.detail(f"detail {number}")
        progress.update("locks", number, 2, "now")
    progress.finish("locks", "done")
with working("waiting"):
    say("ready")
"""
LINES = [f"{word} {number}" for number in (1, 2) for word in ("news", "line", "detail")]


@pytest.mark.integration
def test_progress_on_a_terminal() -> None:
    code, shown = in_a_terminal(["-c", SHOWS])
    lines = [line.strip() for line in plain(shown)]
    assert code == 0, shown
    for number in (1, 2):
        for word in ("news", "result", "line"):
            assert f"{word} {number}" in lines
        assert f"detail {number}" not in shown
    assert any(re.match(r"locks +━+ +2/2 +\d:\d\d:\d\d +done", line) for line in lines), lines
    assert "ready" in lines


@pytest.mark.integration
def test_results_go_where_stdout_goes_while_bars_are_shown(tmp_path: Path) -> None:
    code, shown = in_a_terminal(["-c", SHOWS], stdout=tmp_path / "results")
    assert code == 0
    assert (tmp_path / "results").read_text("utf-8") == "result 1\nresult 2\n"
    assert "result" not in shown
    assert "news 2" in shown


@pytest.mark.integration
def test_progress_on_a_dumb_terminal_is_lines(tmp_path: Path) -> None:
    out = tmp_path / "results"
    code, shown = in_a_terminal(["-c", SHOWS], stdout=out, environment=[("TERM", "dumb")])
    assert (code, shown.splitlines()) == (0, [*LINES, "locks: done", "ready"])


@pytest.mark.integration
def test_what_goes_wrong_leaves_no_bar_behind() -> None:
    program = SHOWS.replace('progress.finish("locks", "done")', "raise SystemExit(7)")
    code, shown = in_a_terminal(["-c", program])
    assert code == 7
    assert "Traceback" not in shown
    assert f"{ESCAPE}?25h" in shown  # the cursor is back


def test_builds_in_lines(capsys: pytest.CaptureFixture[str], targets: tuple[Target, ...]) -> None:
    watcher = Builds(Progress())
    target, short = targets[0], targets[0].name.removeprefix("huggingface-")
    watcher.began(target)
    now = datetime.now(tz=timezone.utc)
    for name in ("[internal] x", "[a 1/2] RUN"):
        step = Step(name=name, started=now, completed=now, cached=True)
        watcher.stepped(target, step, 1, 2)
    watcher.ended(Outcome(target=target, seconds=2.5))
    assert capsys.readouterr().err.splitlines() == [
        f"{target.name}: building",
        f"{short}: [1/2] a 1/2 RUN (cached)",
        f"{target.name}: built in 2.5 s",
    ]


@pytest.mark.integration
def test_lock_shows_a_bar() -> None:
    assert os.name == "posix"
    code, shown = on_a_terminal("lock", "*inference:2.13.0-transformers4.57.1*")
    assert code == 0, shown
    lines = [line.strip() for line in plain(shown)]
    assert any(re.match(r"locks +━+ +1/1 ", line) for line in lines), lines
    assert "huggingface-pytorch-inference:2.13.0-transformers4.57.1-cpu-py311-debian12: fresh" in (
        "".join(lines)
    )


@pytest.mark.parametrize(
    ("command", "asks", "answer", "text"),
    [
        (["outdated"], "builder.authoring.outdated.outdated", [], "asking the package index"),
        (["bases"], "builder.authoring.pins.listed", [], "asking registries"),
        (["bases", "--update"], "builder.authoring.pins.current", [], "asking registries"),
    ],
)
def test_who_waits_for_others_sees_for_whom(
    command: list[str],
    asks: str,
    answer: Any,
    text: str,
    dlc: Dlc,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[str] = []
    seen: list[str] = []

    @contextmanager
    def working(text: str) -> Iterator[None]:
        shown.append(text)
        yield
        shown.pop()

    def ask(*_: Any, **__: Any) -> Any:
        seen.extend(shown)
        return answer

    monkeypatch.setattr("builder.engine.connection.candidates", lambda: iter(()))
    module = "add" if command == ["outdated"] else "bases"
    monkeypatch.setattr(f"builder.cli.{module}.working", working)
    monkeypatch.setattr(asks, ask)
    run = dlc(*MATRIX, *command)
    assert (run.code, run.err) == (0, "")
    assert (seen, shown) == ([text], [])


class Bars(Progress):
    """What bars would show."""

    def __init__(self) -> None:
        super().__init__()
        self.moved: list[tuple[str, int, int | None, str]] = []

    def update(self, name: str, done: int, total: int | None = None, note: str = "") -> None:
        self.moved.append((name, done, total, note))


def test_an_upgrade_shows_how_far_it_is(dlc: Dlc, monkeypatch: pytest.MonkeyPatch) -> None:
    bars = Bars()

    def lift(*_: Any, say: Any, resolved_one: Any, **__: Any) -> None:
        resolved_one("huggingface-pytorch-inference:1", 1, 2)
        say("pillow upgraded in 2 of 8 targets")

    monkeypatch.setattr("builder.cli.locks.showing", lambda: nullcontext(bars))
    monkeypatch.setattr("builder.authoring.upgrade.lift", lift)
    why = ("--reason", "CVE-1", "--until", "2999-01-01")
    run = dlc(*MATRIX, "lock", "--upgrade", "pillow", *why)
    assert (run.code, run.err) == (0, "pillow upgraded in 2 of 8 targets\n")
    assert bars.moved == [("locks", 1, 2, "pytorch-inference:1")]
