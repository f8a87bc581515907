"""Options given twice, and global options: before or after each command, and not in both places."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import click
import pytest

from builder.cli.commands import MODULES
from builder.cli.global_options import GLOBAL_OPTIONS
from builder.cli.main import cli
from builder.cli.settings import Settings, settings_of
from builder.util.package import PACKAGE
from tests.conftest import ROOT, Dlc

for module in dict.fromkeys(MODULES.values()):
    import_module(f"builder.cli.{module}")


def commands(command: click.Command, name: str = "dlc") -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for below, child in command.commands.items():
            yield from commands(child, f"{name} {below}")


OPTIONS = [
    pytest.param(command, option, id=f"{name} {option.opts[0]}")
    for name, command in commands(cli)
    for option in command.params
    if isinstance(option, click.Option) and not option.is_eager
]


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_an_option_given_twice(command: click.Command, option: click.Option) -> None:
    values = [] if option.is_flag else ["x"] * option.nargs
    spelled = [option.opts[0], *option.secondary_opts] * (1 if option.secondary_opts else 2)
    arguments = [text for name in spelled[:2] for text in (name, *values)]
    try:
        # Whatever else is wrong with such a call, and no command is run.
        command.make_context("dlc", [*arguments], obj=None)
    except click.exceptions.Exit:
        pytest.fail("it ran")
    except click.ClickException as error:
        refused = error.message.endswith("is given twice: give it once.")
    else:
        refused = False
    assert refused != (option.multiple or (option.is_flag and not option.secondary_opts))


def test_there_are_options_to_try() -> None:
    assert len(OPTIONS) > 100


COMMANDS = [
    name.split()[1:] for name, command in commands(cli) if not isinstance(command, click.Group)
]


def command_of(words: list[str]) -> click.Command:
    found: click.Command = cli
    for word in words:
        assert isinstance(found, click.Group)
        found = found.commands[word]
    return found


GIVEN = [word for each in GLOBAL_OPTIONS for word in (each.opts[0], f"{each.name}.x")]
SETTINGS = Settings(**{str(each.name): Path(f"{each.name}.x") for each in GLOBAL_OPTIONS})


def parsed(*arguments: str) -> Settings:
    """What a command is told, without running it; whatever else is wrong with the call."""
    context = cli.make_context("dlc", list(arguments), obj=None)
    while isinstance(context.command, click.Group):
        first = getattr(context, "_protected_args", None)  # as click 8.2 and later have it
        words = [*(context.protected_args if first is None else first), *context.args]
        name, command, rest = context.command.resolve_command(context, words)
        assert command is not None
        with suppress(click.MissingParameter):
            context = command.make_context(name, rest, parent=context)
            continue
        break
    return settings_of(context)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_global_options_stand_before_or_after_each_command(words: list[str]) -> None:
    assert parsed(*GIVEN, *words) == SETTINGS
    assert parsed(*words, *GIVEN) == SETTINGS
    assert parsed(*GIVEN[:2], *words, *GIVEN[2:]) == SETTINGS
    for at in range(0, len(GIVEN), 2):
        twice = GIVEN[at : at + 2]
        for call in ([*twice, *words, *twice], [*words, *twice, *twice]):
            with pytest.raises(click.UsageError, match=f"{twice[0]} is given twice: give it once"):
                parsed(*call)


def test_there_are_commands_to_try() -> None:
    assert len(COMMANDS) > 30
    assert len(GLOBAL_OPTIONS) == 4


def test_global_options_after_the_command(dlc: Dlc) -> None:
    golden = ROOT / "tests/golden/matrix.yaml"
    assert dlc("list", "--matrix", golden) == dlc("--matrix", golden, "list")
    run = dlc("--matrix", golden, "list", "--matrix", golden)
    assert (run.code, run.out) == (2, "")
    assert run.err.endswith("Error: --matrix is given twice: give it once.\n")


def test_help_tells_global_options_apart(dlc: Dlc) -> None:
    own, shared = dlc("render", "--help").out.split("Global options:")
    for option in GLOBAL_OPTIONS:
        assert option.opts[0] not in own
        assert option.opts[0] in shared


def test_no_command_imports_another() -> None:
    """What two of them need is below them, or in a module that is no command."""
    modules = {f"builder.cli.{name}" for name in MODULES.values()}
    for module in modules:
        source = (PACKAGE / "cli" / f"{module.rpartition('.')[2]}.py").read_text("utf-8")
        imported = {
            node.module for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)
        }
        assert not imported & modules, module


def test_filters_add_up(dlc: Dlc) -> None:
    def listed(*arguments: str) -> list[str]:
        run = dlc("--matrix", ROOT / "tests/golden/matrix.yaml", "list", *arguments)
        assert run.code == 0, run.err
        return run.out.splitlines()

    both = listed("--mode", "inference", "--mode", "training")
    assert both == listed()
    assert len(listed("--mode", "training")) < len(both)


def test_a_second_value_is_not_taken_for_the_only_one(dlc: Dlc) -> None:
    run = dlc("--matrix", "here.yaml", "--matrix", ROOT / "matrix.yaml", "list")
    assert run.code == 2
    assert run.err.endswith("Error: --matrix is given twice: give it once.\n")
