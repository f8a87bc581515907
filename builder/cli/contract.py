"""The command `dlc test`: a built image against its contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from builder.cli.main import cli
from builder.cli.options import output_option
from builder.cli.output import print_json
from builder.cli.progress import Progress, showing
from builder.cli.selection import target_options
from builder.cli.settings import Settings
from builder.errors import ContainerError
from builder.util.console import say

if TYPE_CHECKING:
    from builder.contract.run import Result
    from builder.matrix.target import Target

__all__ = ["tell"]


@cli.command()
@target_options
@click.option("--image", metavar="REFERENCE", help="Test this image instead of the target's own.")
@click.option(
    "--only", default="", metavar="EXPRESSION", help="Run only tests that match, as pytest's -k."
)
@output_option
def test(_: Settings, target: Target, image: str | None, only: str, output: str) -> None:
    """Test a built image: every task, variable and hook that it promises.

    It needs an engine, and neither the internet nor a model.
    """
    from builder.engine.connection import engine_client
    from builder.engine.images import find_image

    with engine_client() as client:
        tested = find_image(client, target, image)
    with showing() as progress:
        results = _run(tested, target, only, progress)
    if output == "json":
        print_json([asdict(result) for result in results])
    failed = [result for result in results if result.outcome == "failed"]
    for result in failed:
        say(f"\n{result.test}\n{result.output}")
    say(", ".join(f"{_count(results, how)} {how}" for how in ("passed", "failed", "skipped")))
    if failed:
        raise ContainerError(
            f"{tested} breaks its contract: " + ", ".join(result.test for result in failed)
        )


def _run(image: str, target: Target, only: str, progress: Progress) -> Sequence[Result]:
    from builder.contract.run import run

    total = done = 0

    def selected(count: int) -> None:
        nonlocal total
        total = count
        progress.start(target.name, total)

    def on_result(result: Result) -> None:
        nonlocal done
        done += 1
        progress.line(line_of(result))
        progress.update(target.name, done, total)

    return run(image, name=target.name, only=only, on_result=on_result, selected=selected)


def tell(result: Result) -> None:
    """Say what became of one test."""
    say(line_of(result))


def line_of(result: Result) -> str:
    """What became of one test."""
    detail = f": {result.detail}" if result.detail else ""
    return f"{result.outcome:7} {result.seconds:6.1f} s  {result.test}{detail}"


def _count(results: Sequence[Result], outcome: str) -> int:
    return sum(result.outcome == outcome for result in results)
