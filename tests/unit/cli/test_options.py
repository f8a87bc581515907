"""Options given twice: they add up, or the second is refused; none is quietly the only one."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

import click
import pytest

from builder.cli.commands import MODULES
from builder.cli.main import cli
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
