"""The command `dlc lock`: resolve, check, upgrade."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from builder.cli.main import cli
from builder.cli.options import output_option
from builder.cli.output import print_json
from builder.cli.progress import showing
from builder.cli.selection import selection_options
from builder.cli.settings import Settings
from builder.errors import ArgumentError, DlcError, LockError, StaleLockError
from builder.util.clock import today
from builder.util.console import say
from builder.util.text import counted, short_name

if TYPE_CHECKING:
    from builder.cli.progress import Progress
    from builder.locks.freshness import State
    from builder.locks.lockfile import Lock
    from builder.matrix.target import Target


@cli.command()
@selection_options
@click.option("--check", is_flag=True, help="Only report stale locks; needs no network.")
@click.option("--refresh", is_flag=True, help="Resolve again, whatever is locked.")
@click.option(
    "--system",
    is_flag=True,
    help="Lock the distribution's packages as of today, in the matrix too.",
)
@click.option(
    "--upgrade",
    "packages",
    metavar="PACKAGE[==VERSION]",
    multiple=True,
    help="Upgrade a package in all locks; several at once if they pin each other.",
)
@click.option("--reason", metavar="TEXT", help="Why, for --upgrade: an advisory.")
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="Review date of the upgrade (YYYY-MM-DD), for --upgrade.",
)
@output_option
def lock(
    settings: Settings,
    targets: tuple[Target, ...],
    check: bool,
    refresh: bool,
    system: bool,
    packages: tuple[str, ...],
    reason: str | None,
    until: datetime.datetime | None,
    output: str,
) -> None:
    """Lock requirements by hash, as of a release's date.

    So are the distribution's packages of targets that have a `system_date`; that takes an engine.
    What is locked stays as long as it satisfies the matrix. --check looks at locks alone, as
    `dlc render --check` does at Dockerfiles; `dlc plan` tells which images to build.
    """
    given = {
        "--check": check,
        "--refresh": refresh,
        "--system": system,
        "--upgrade": bool(packages),
    }
    if len(several := [name for name, is_given in given.items() if is_given]) > 1:
        raise click.UsageError(f"{' and '.join(several)} are different things: give one.")
    if len({option is None for option in (packages or None, reason, until)}) > 1:
        raise click.UsageError("--upgrade, --reason and --until go together.")
    if check:
        _check(settings, targets, output)
    elif packages and reason is not None and until is not None:
        if len(targets) < len(settings.targets):
            raise click.UsageError("--upgrade is for all targets: leave the selection out.")
        _upgrade(settings, packages, reason, until.date())
    elif system:
        _move_system(settings, targets)
    else:
        _lock(settings, targets, refresh=refresh)


def _lock(settings: Settings, targets: tuple[Target, ...], *, refresh: bool) -> None:
    from builder.locks import freshness, lockfile
    from builder.locks.committed import Committed
    from builder.locks.locking import differs, resolved
    from builder.locks.resolve import Resolver

    committed = Committed(settings.images, settings.targets)
    failures: list[DlcError] = []
    changed: dict[tuple[str, str], Lock] = {}
    with showing() as progress:
        resolver = Resolver(progress.line, committed, refresh=refresh, mirrors=settings.mirrors)
        progress.start("locks", len(targets))
        for number, (target, made) in enumerate(resolved(resolver, targets), start=1):
            progress.update("locks", number, len(targets), short_name(target.name))
            if isinstance(made, DlcError):
                failures.append(made)
                progress.line(f"{target.name}: failed")
                continue
            folder = settings.images / target.folder
            new = [each for each in made if each != committed.own(each.layer, target)]
            lockfile.write(folder, new)
            changed |= {(each.layer, each.inputs): each for each in new}
            count = counted(sum(len(each.entries) for each in made), "requirement")
            progress.line(f"{target.name}: {f'{count} locked' if new else 'fresh'}")
            for name, why in freshness.state(folder, target).unhashed.items():
                progress.line(f"{target.name}: no SHA-256 of {name}: {why}")
        failures += _lock_system(settings, targets, progress, refresh=refresh)
    others = [target for target in settings.targets if target not in targets]
    if apart := [each.name for each in others if differs(each, committed, changed)]:
        others_have = f"{len(apart)} other target{'s have' if len(apart) > 1 else ' has'}"
        say(
            f"{others_have} older locks of layers that these share, {apart[0]} for one: "
            "`dlc lock --refresh` there too"
        )
    if failures:
        raise LockError("\n".join(dict.fromkeys(str(error) for error in failures)))


def _lock_system(
    settings: Settings, targets: tuple[Target, ...], progress: Progress, *, refresh: bool
) -> list[DlcError]:
    """Lock the distribution's packages of targets that have a date; why some cannot be locked."""
    from builder.build.system_lock import SystemResolver, file_of
    from builder.dockerfile.render import Renderer
    from builder.locks import system
    from builder.util import atomic

    resolver = SystemResolver(
        mirrors=settings.mirrors,
        today=today(),
        say=progress.line,
        renderer=Renderer(settings.templates),
    )
    if not refresh:
        resolver.know(settings.images, settings.targets)
    failures = []
    for target in targets:
        if target.system_date is None:
            continue
        before = system.load(settings.images / target.folder)
        try:
            made = resolver.lock(target)
        except DlcError as error:
            failures.append(error)
            progress.line(f"{target.name}: {system.NAME} failed")
            continue
        if made != before:
            atomic.write_all([file_of(settings.images, target, made)])
            count = counted(len(made.packages), "package")
            progress.line(f"{target.name}: {count} of the distribution locked")
    return failures


def _move_system(settings: Settings, targets: tuple[Target, ...]) -> None:
    """Lock the distribution's packages as of today; all or nothing is written."""
    from builder.build.system_lock import SystemResolver, file_of
    from builder.dockerfile.render import Renderer
    from builder.locks import system
    from builder.matrix.rewrite import Original

    days = {each.system_date.at: each.system_date for each in targets if each.system_date}
    if not days:
        raise ArgumentError(
            "none of these targets has a `system_date`",
            remedy="give one to the row, its framework version or its base in the matrix",
        )
    original, day = Original(settings.matrix_path), today()
    edit = original.edited(original.text.set_days(days.values(), day))
    with showing() as progress:
        resolver = SystemResolver(
            mirrors=settings.mirrors,
            today=day,
            say=progress.line,
            renderer=Renderer(settings.templates),
        )
        files = []
        for target in edit.targets:
            if target.system_date and target.system_date.at in days:
                made = resolver.lock(target)
                changes = system.changes(system.load(settings.images / target.folder), made)
                progress.line(f"{target.name}: {', '.join(changes) or 'nothing newer'}")
                files.append(file_of(settings.images, target, made))
        edit.save(files)


def _check(settings: Settings, targets: tuple[Target, ...], output: str) -> None:
    from builder.locks import freshness
    from builder.locks.upgrades import findings

    states = [
        (target, freshness.state(settings.images / target.folder, target)) for target in targets
    ]
    everything = len(targets) == len(settings.targets)
    notes = (
        findings(targets[0].upgrades, [state for _, state in states], today()) if everything else []
    )
    if output == "json":
        print_json({"targets": [_row(*each) for each in states], "upgrades": [*map(str, notes)]})
    else:
        _print(states)
    for note in notes:
        say(str(note))
    stale = [target.name for target, state in states if state.stale]
    if stale:
        checkout = next((state.remedy for _, state in states if state.remedy), "")
        raise StaleLockError(
            f"the locks of {len(stale)} of {counted(len(targets), 'target')} are not fresh",
            remedy=checkout
            or f"run `dlc lock {stale[0] if len(stale) == 1 else ''}".rstrip() + "`",
        )


def _print(states: list[tuple[Target, State]]) -> None:
    unhashed = 0
    for target, state in states:
        if state.stale:
            click.echo(f"{target.name}: {state.text}")
        for name, why in state.unhashed.items():
            click.echo(f"{target.name}: no SHA-256 of {name}: {why}")
            unhashed += 1
    total = sum(state.requirements for _, state in states)
    targets, requirements = counted(len(states), "target"), counted(total, "requirement")
    click.echo(f"{targets}, {requirements}, {unhashed} without a SHA-256")


def _row(target: Target, state: State) -> dict[str, object]:
    return {
        "image": target.name,
        "stale": dict(state.stale),
        "requirements": state.requirements,
        "unhashed": dict(state.unhashed),
        "upgraded": dict(state.lifted),
        "not_upgraded": dict(state.kept),
    }


def _upgrade(settings: Settings, texts: Sequence[str], reason: str, until: datetime.date) -> None:
    """Upgrade packages in every lock that can take it; all or nothing is written."""
    from builder.authoring.upgrade import lift
    from builder.locks.upgrades import parse_upgrade

    given = [parse_upgrade(text, reason=reason, until=until, today=today()) for text in texts]
    names = [upgrade.package for upgrade in given]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise click.UsageError(f"--upgrade {twice[0]} is given twice: name one version.")
    with showing() as progress:
        progress.start("locks")
        lift(
            settings.matrix_path,
            settings.images,
            given,
            mirrors=settings.mirrors,
            say=progress.line,
            resolved_one=lambda name, number, total: progress.update(
                "locks", number, total, short_name(name)
            ),
        )
