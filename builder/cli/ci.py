"""The command `dlc ci-matrix`: what continuous integration is to build, in which jobs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.cli.main import cli
from builder.cli.options import comparison_options
from builder.cli.selection import selection_options
from builder.cli.settings import Settings
from builder.errors import StaleLockError
from builder.util.console import say
from builder.util.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.build.plan import Planned
    from builder.matrix.target import Target


@cli.command("ci-matrix")
@selection_options
@comparison_options
@click.option(
    "--group",
    type=click.Choice(["framework", "target"]),
    default="framework",
    show_default=True,
    help="Which targets are in one job: those that share a framework layer, or each alone.",
)
@click.option(
    "--shards", type=click.IntRange(min=1), help="Maximum number of jobs [default: one a group]."
)
@click.option(
    "--github", is_flag=True, help="Also write matrix= and count= to the file GITHUB_OUTPUT names."
)
def ci_matrix(
    settings: Settings,
    targets: tuple[Target, ...],
    since: str | None,
    registry: str | None,
    group: str,
    shards: int | None,
    github: bool,
) -> None:
    """Print the matrix of GitHub Actions: jobs with the targets that each is to build.

    Without --since and --registry, all that can be built. Never more than 250 jobs; where nothing
    is to be built, `include` is empty and count is 0. Fails where a lock is missing or stale.
    """
    from builder.build.ci_jobs import LIMIT, as_github
    from builder.build.ci_jobs import shards as in_shards

    if since or registry:
        from builder.build.comparison import Comparison

        planned = Comparison(
            matrix=settings.matrix_path,
            images=settings.images,
            templates=settings.templates,
            since=since,
            registry=registry,
        ).plan(targets)
    else:
        from builder.build.plan import plan
        from builder.dockerfile.render import Renderer

        planned = plan(targets, settings.images, Renderer(settings.templates), {})
    _refuse_stale(planned)
    for each in planned:
        if each.inputs is None:
            say(f"skipped: {each.target.name} {each.reasons[0]}; {each.remedy}")
    wanted = [each.target for each in planned if each.inputs and not each.up_to_date]
    found = in_shards(wanted, at_most=shards or LIMIT, by_framework=group == "framework")
    matrix = json.dumps(as_github(found))
    if github:
        output = os.environ.get("GITHUB_OUTPUT")
        if not output:
            raise click.UsageError("--github is for a step of GitHub Actions: no GITHUB_OUTPUT")
        with Path(output).open("a", encoding="utf-8") as file:
            file.write(f"matrix={matrix}\ncount={len(found)}\n")
    click.echo(matrix)
    fresh = sum(each.up_to_date for each in planned)
    say(f"{counted(len(wanted), 'target')} in {counted(len(found), 'job')}, {fresh} up to date")


def _refuse_stale(planned: Sequence[Planned]) -> None:
    """StaleLockError where locks are not fresh: what they would change must not go unnoticed."""
    stale = [each for each in planned if each.stale]
    if not stale:
        return
    for each in stale:
        say(f"{each.target.name} {each.reasons[0]}")
    one = f" {stale[0].target.name}" if len(stale) == 1 else ""
    raise StaleLockError(
        f"the locks of {len(stale)} of {counted(len(planned), 'target')} are not fresh",
        remedy=f"run `dlc lock{one}`, and commit what it writes",
    )
