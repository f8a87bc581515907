"""The command `dlc patch`: upgrades that remove known vulnerabilities from locks."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import click

from builder.cli.main import cli
from builder.cli.options import advisories_option, document_option, severity_option
from builder.cli.output import print_json, print_table
from builder.cli.progress import showing
from builder.cli.selection import selection_options
from builder.errors import ArgumentError, FindingError
from builder.util.clock import today
from builder.util.console import say
from builder.util.text import short_name

if TYPE_CHECKING:
    from builder.authoring.patch import Patch
    from builder.cli.settings import Settings
    from builder.matrix.target import Target

__all__: list[str] = []

_DAYS = 180  # until an upgrade is looked at again


@cli.command()
@selection_options
@advisories_option
@severity_option
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help=f"Review date of the upgrades (YYYY-MM-DD) [default: in {_DAYS} days].",
)
@click.option("--dry-run", is_flag=True, help="Resolve and print, and write nothing.")
@click.option("--check", is_flag=True, help="As --dry-run, but fail if something could be fixed.")
@document_option
def patch(
    settings: Settings,
    targets: tuple[Target, ...],
    sources: tuple[str, ...],
    severity: str,
    until: datetime.datetime | None,
    dry_run: bool,
    check: bool,
    output: str,
) -> None:
    """Upgrade what has known vulnerabilities, as little as removes them, in matrix and locks.

    Findings are those that `dlc audit` has of the locks. An upgrade is for all targets that have
    the version, selected or not. What cannot be fixed is listed with the reason.
    """
    from builder.authoring.patch import Patcher

    day = today()
    end = until.date() if until else day + datetime.timedelta(days=_DAYS)
    if end <= day:
        raise ArgumentError(
            f"--until {end} is not in the future", remedy="give the day of the next review"
        )
    with showing() as progress:
        progress.start("locks")
        found = Patcher(
            matrix=settings.matrix_path,
            images=settings.images,
            sources=sources,
            threshold=severity,
            today=day,
            until=end,
            mirrors=settings.mirrors,
            resolved_one=lambda name, number, total: progress.update(
                "locks", number, total, short_name(name)
            ),
        ).patch(targets)
    if found.attempt and not (dry_run or check):
        found.attempt.save(settings.images)
    _print(found, output, written=not (dry_run or check))
    if check and found.attempt:
        gone = {each.advisory.id for one in found.targets for each in one.gone}
        raise FindingError(
            f"upgrades would remove {', '.join(sorted(gone))}", remedy="run `dlc patch`"
        )


def _print(found: Patch, output: str, *, written: bool) -> None:
    from builder.report import patches

    if output == "json":
        print_json(patches.to_json(found))
    elif output == "markdown":
        click.echo(patches.markdown(found), nl=False)
    else:
        changes, left = patches.changes(found), patches.left(found)
        print_table(changes, ("package", "before", "after", "targets", "advisories"))
        if changes and left:
            click.echo()
        print_table(left, ("severity", "advisory", "package", "version", "why", "targets"))
    say(f"{patches.summary(found)}{'' if written else '; nothing was written'}")
