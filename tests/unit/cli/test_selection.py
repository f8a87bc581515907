"""Selectors and filters: the same on every command, one target where one is needed, --all."""

from __future__ import annotations

import click
import pytest

from builder.cli.selection import FILTERS
from tests.conftest import GOLDEN, Dlc
from tests.unit.cli.terminal import on_a_terminal
from tests.unit.cli.test_options import COMMANDS, command_of

SMALL = ("--matrix", GOLDEN / "matrix.yaml")
MANY = {
    *("list", "plan", "size", "layers", "table", "lock", "render", "build", "bake", "push"),
    *("ecr plan", "ecr apply", "sdk-config", "ci-matrix"),
}
ONE = {"show", "uri", "libraries", "test", "smoke", "serve"}


def names_of(command: click.Command) -> set[str]:
    return {str(each.name) for each in command.params}


def test_every_command_that_takes_targets_takes_selectors_and_filters() -> None:
    selecting = set()
    for words in COMMANDS:
        names = names_of(command_of(words)) & {"selectors", *FILTERS}
        # `dlc add` has options of these names for what it adds.
        if "selectors" in names:
            assert names == {"selectors", *FILTERS}, words
            selecting.add(" ".join(words))
    assert selecting >= MANY | ONE


@pytest.mark.parametrize("command", sorted(ONE))
def test_one_target(command: str, dlc: Dlc) -> None:
    run = dlc(*SMALL, command)
    assert (run.code, run.out) == (2, "")
    assert "Error: No target is named: name one of those that `dlc list` shows." in run.err
    run = dlc(*SMALL, command, "--mode", "training", "--framework", "pytorch")
    assert (run.code, run.out) == (4, "")
    assert run.err.splitlines() == [
        "dlc: the selection matches 2 targets, but this command takes one; name one of",
        "  huggingface-pytorch-training:1.6.0-transformers4.6.1-gpu-py36-cu110-ubuntu18.04",
        "  huggingface-pytorch-training:1.9.1-transformers4.12.3-gpu-py38-cu111-ubuntu20.04",
    ]


def test_one_target_by_filters(dlc: Dlc) -> None:
    run = dlc(*SMALL, "uri", "1.9.1-*-gpu-*", "--mode", "inference")
    assert run.code == 0
    assert "/huggingface-pytorch-inference:1.9.1-" in run.out


def test_all_and_a_selection_contradict(dlc: Dlc) -> None:
    run = dlc(*SMALL, "build", "--all", "--mode", "training")
    assert (run.code, run.out) == (2, "")
    assert run.err.endswith("Error: --all selects all targets: leave it or the selection out.\n")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("command", "question"),
    [
        (["build"], "Build all 8 targets? [y/N]: "),
        (["push", "--registry", "localhost:5/team"], "Push all 8 targets? [y/N]: "),
    ],
)
@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_a_question_on_a_terminal(command: list[str], question: str, answer: str) -> None:
    code, shown = on_a_terminal(*SMALL, *command, answer=answer)
    assert question in shown
    assert shown.endswith("dlc: cancelled; name the targets that you want\n")
    assert code == 130
