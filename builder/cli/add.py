"""The commands `dlc add` and `dlc outdated`: new releases, and what there is to add."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from builder.cli.main import cli
from builder.cli.options import output_option
from builder.cli.output import print_json, print_table
from builder.cli.progress import working
from builder.cli.settings import Settings, pass_settings
from builder.matrix.values import DEVICES, FRAMEWORKS, MODES, ORIGINS
from builder.util.clock import today
from builder.util.console import say
from builder.util.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from builder.authoring.draft import Draft
    from builder.authoring.request import ReleaseRequest
    from builder.locks.committed import Committed
    from builder.matrix.target import Target


@cli.command()
@click.option("--transformers", required=True, metavar="VERSION", help="The release.")
@click.option("--datasets", metavar="VERSION", help="[default: the newest of the date]")
@click.option(
    "--date",
    metavar="YYYY-MM-DD",
    help="As of when the libraries are locked [default: today, UTC].",
)
@click.option("--pytorch", metavar="VERSION", help="[default: the newest of the matrix]")
@click.option("--tensorflow", metavar="VERSION")
@click.option("--mode", "modes", type=click.Choice(MODES), multiple=True, help="[default: both]")
@click.option("--device", "devices", type=click.Choice(DEVICES), multiple=True)
@click.option("--python", metavar="VERSION")
@click.option("--base", metavar="NAME")
@click.option("--accelerator", metavar="NAME", help="As in a tag: cu130.")
@click.option("--libraries", metavar="NAME", help="The set of libraries.")
@click.option("--origin", type=click.Choice(ORIGINS))
@click.option(
    "--wheel",
    "wheels",
    metavar="URL=SHA256",
    multiple=True,
    help="A wheel of PyTorch, where its index does not answer.",
)
@click.option("--dry-run", is_flag=True, help="Only print what would change.")
@click.option("--diff", "whole", is_flag=True, help="Print the diff of Dockerfiles and locks too.")
@pass_settings
def add(
    settings: Settings,
    /,
    date: str | None,
    pytorch: str | None,
    tensorflow: str | None,
    modes: tuple[str, ...],
    devices: tuple[str, ...],
    wheels: tuple[str, ...],
    dry_run: bool,
    whole: bool,
    **named: Any,
) -> None:
    """Add a release to the matrix, lock it, render it, and print what changed.

    What is not named is as in the last entry of the same mode. Nothing is written unless all of it
    could be locked.
    """
    from builder.authoring.framework import given_wheels
    from builder.authoring.request import ReleaseRequest, mistakes
    from builder.locks import wheelhouse

    day = today().isoformat()
    options = ("transformers", "datasets", "python", "base", "accelerator", "libraries")
    others = {"pytorch": pytorch, "tensorflow": tensorflow, "date": date}
    wrong = mistakes({**{name: named[name] for name in options}, **others}, today=day)
    if pytorch is not None and tensorflow is not None:
        wrong.append("--pytorch and --tensorflow: give one, and call again")
    if wrong:
        raise click.UsageError("\n".join(wrong))
    framework = "tensorflow" if tensorflow else FRAMEWORKS[0]
    sources = {**settings.targets[0].sources, **settings.mirrors.sources}
    wanted = ReleaseRequest(
        framework=framework,
        version=tensorflow or pytorch,
        today=day,
        date=date,
        modes=modes or MODES,
        devices=devices or None,
        wheels=given_wheels(wheels, sources),
        folders=wheelhouse.directories(),
        sources=sources,
        mirrors=settings.mirrors,
        **named,
    )
    _add(settings, wanted, dry_run=dry_run, whole=whole)


def _add(settings: Settings, wanted: ReleaseRequest, *, dry_run: bool, whole: bool) -> None:
    from builder.authoring.add import addition
    from builder.authoring.draft import draft
    from builder.authoring.request import check_index
    from builder.dockerfile.render import Renderer
    from builder.locks.committed import Committed
    from builder.locks.resolve import Resolver

    found = addition(settings.matrix_path, wanted)
    check_index(found.targets, settings.mirrors)
    # What other targets have of the same layer is taken from them: so the layers are shared.
    committed = Committed(settings.images, settings.targets)
    resolver = Resolver(say, committed, mirrors=settings.mirrors)
    renderer = Renderer(settings.templates)
    with working("locking"):
        made = draft(found, settings.images, resolver=resolver, renderer=renderer, say=say)
    shown = list(made.shown())
    if not dry_run:
        made.write()
    for change in shown if whole else shown[:1]:
        click.echo(change.diff(), nl=False)
    if not whole:
        for line in _summary(made, committed, settings.targets):
            click.echo(line)
    how = "would be added" if dry_run else "added"
    for target in found.targets:
        say(f"{target.name} {how}")


def _summary(made: Draft, committed: Committed, targets: Sequence[Target]) -> Iterator[str]:
    """What new locks have beside those of the last target that is like theirs."""
    from builder.locks.difference import difference

    for target, locks in made.locks:
        kind = (target.repository, target.device)
        like = [each for each in targets if (each.repository, each.device) == kind]
        like = [each for each in like if each.python == target.python] or like
        # By layer: what the last one like it has locked.
        before = {each.layer: committed.own(each.layer, like[-1]) for each in locks if like}
        beside = f", compared with {like[-1].tag}" if any(before.values()) else ""
        yield f"\nlocks of {target.name}{beside}:"
        for lock in locks:
            other = before.get(lock.layer)
            count = counted(len(lock.entries), "package")
            yield f"  {lock.layer}: {difference(other, lock) if other else count}"


@cli.command()
@output_option
@pass_settings
def outdated(settings: Settings, output: str) -> None:
    """List what the package index has that is newer than anything in the matrix."""
    from builder.authoring.outdated import outdated as compare
    from builder.matrix.read import read
    from builder.matrix.yaml_nodes import Report

    report = Report()
    matrix = read(settings.matrix_path, report)
    report.raise_if_any()
    assert matrix is not None  # noqa: S101 - else there was something to report
    with working("asking the package index"):
        found = compare(matrix, settings.mirrors)
    rows = [
        {
            "name": each.name,
            "matrix": each.matrix,
            "newest": each.newest,
            "outdated": each.outdated,
        }
        for each in found
    ]
    if output == "json":
        print_json(rows)
        return
    words = {True: "yes", False: "no"}
    print_table(
        [{**row, "outdated": words[bool(row["outdated"])]} for row in rows],
        ("name", "matrix", "newest", "outdated"),
    )
