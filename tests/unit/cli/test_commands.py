"""`dlc --help`, `dlc help`, and what the shell completes."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from builder.cli.commands import GROUPS, MODULES
from builder.cli.global_options import GLOBAL_OPTIONS
from builder.cli.main import cli
from tests.conftest import GOLDEN, Dlc

CONTEXT = cli.make_context("dlc", [], resilient_parsing=True, terminal_width=80)


def test_help_is_whole_at_80_columns() -> None:
    lines = cli.get_help(CONTEXT).splitlines()
    assert max(map(len, lines)) <= 80
    for title, commands in GROUPS.items():
        assert f"{title}:" in lines
        for name, (_, line) in commands.items():
            assert f"  {name.ljust(10)}  {line}" in lines


@pytest.mark.parametrize("name", MODULES)
def test_each_command_is_in_its_module(name: str) -> None:
    command = cli.get_command(CONTEXT, name)
    assert command is not None
    assert command.name == name
    assert command.help


@pytest.mark.parametrize("name", MODULES)
def test_no_option_hides_a_global_one(name: str) -> None:
    commands = [cli.get_command(CONTEXT, name)]
    names = {each for option in GLOBAL_OPTIONS for each in option.opts}
    for command in commands:
        if isinstance(command, click.Group):
            commands += command.commands.values()
        assert command is not None
        own = {each for option in command.params for each in (*option.opts, *option.secondary_opts)}
        assert not own & names


def test_no_command_is_left_out() -> None:
    for name in MODULES:
        cli.get_command(CONTEXT, name)
    assert set(cli.commands) == set(MODULES)


def test_help_of_a_command(dlc: Dlc) -> None:
    assert dlc("help").out.startswith("Usage: ")
    run = dlc("help", "engine", "prune")
    assert run.code == 0
    assert run.out.splitlines()[0].endswith("engine prune [OPTIONS]")
    assert "--keep-storage" in run.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["lst"], "No such command 'lst'. Did you mean 'list'?"),
        (["help", "lst"], "No such command 'lst'."),
        (["help", "engine", "x"], "No such command 'x'."),
    ],
)
def test_no_such_command(arguments: list[str], told: str, dlc: Dlc) -> None:
    run = dlc(*arguments)
    assert (run.code, told in run.err) == (2, True), run.err


def completed(*words: str, begun: str) -> list[str]:
    shell = ShellComplete(cli, {}, "dlc", "_DLC_COMPLETE")
    return [item.value for item in shell.get_completions(list(words), begun)]


def test_completion() -> None:
    golden = ("--matrix", str(GOLDEN / "matrix.yaml"))
    assert completed(begun="pl") == ["plan"]
    assert completed("list", "--device", begun="neu") == ["neuron", "neuronx"]
    assert completed(*golden, "list", "--python", begun="3.") == ["3.6", "3.7", "3.8"]
    assert completed(*golden, "build", begun="huggingface-tensorflow-training") != []
    names = completed(*golden, "build", begun="1.9.1")
    assert names
    assert all(name.startswith("1.9.1") for name in names)


def test_completion_of_a_matrix_that_is_not_there(tmp_path: Path) -> None:
    assert completed("--matrix", str(tmp_path / "none.yaml"), "build", begun="") == []


@pytest.mark.integration
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_s_script(shell: str, dlc: Dlc) -> None:
    run = dlc("completion", shell)
    assert run.code == 0
    assert "_DLC_COMPLETE" in run.out


def test_all_targets_are_taken_by_name_only(dlc: Dlc) -> None:
    """Who forgot a selector does not build or push a hundred images."""
    golden = ("--matrix", GOLDEN / "matrix.yaml")
    run = dlc(*golden, "build")
    assert (run.code, run.err.splitlines()[-1]) == (
        2,
        "Error: No target is named: name some, or build all 8 with --all.",
    )
    run = dlc(*golden, "push", "--registry", "localhost:5000/team")
    assert (run.code, run.err.splitlines()[-1]) == (
        2,
        "Error: No target is named: name some, or push all 8 with --all.",
    )


@pytest.mark.parametrize("named", [["--all"], ["*"], ["--mode", "training"]])
def test_all_targets_that_are_named(named: list[str], dlc: Dlc, closed_port: int) -> None:
    where = ("--registry", f"127.0.0.1:{closed_port}/team")
    run = dlc("--matrix", GOLDEN / "matrix.yaml", "push", *where, *named)
    assert run.code != 2, run.err
