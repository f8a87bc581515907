"""The command `dlc lock`: resolve, check, lift."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder import atomic
from builder.cli import Settings, cli, output_option, selection_options
from builder.errors import DlcError, LockError, MatrixError, StaleLockError
from builder.output import print_json, say

if TYPE_CHECKING:
    from builder.locks import Lock, State
    from builder.matrix import Upgrade
    from builder.target import Target

__all__: list[str] = []


@cli.command()
@selection_options
@click.option("--check", is_flag=True, help="Only say which locks are not fresh; no network.")
@click.option("--upgrade", metavar="PACKAGE[==VERSION]", help="Lift one package in all locks.")
@click.option("--reason", metavar="TEXT", help="Why, for --upgrade: an advisory.")
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="When to look again, for --upgrade.",
)
@output_option
def lock(
    settings: Settings,
    targets: tuple[Target, ...],
    check: bool,
    upgrade: str | None,
    reason: str | None,
    until: datetime.datetime | None,
    output: str,
) -> None:
    """Lock requirements by hash, as of a release's date."""
    if check and upgrade is not None:
        raise click.UsageError("--check and --upgrade are two different things: give one.")
    if len({option is None for option in (upgrade, reason, until)}) > 1:
        raise click.UsageError("--upgrade, --reason and --until go together.")
    if check:
        _check(settings, targets, output)
    elif upgrade is not None and reason is not None and until is not None:
        if len(targets) < len(settings.targets):
            raise click.UsageError("--upgrade is for all targets: leave the selection out.")
        _upgrade(settings, upgrade, reason, until.date())
    else:
        _lock(settings, targets)


def _lock(settings: Settings, targets: tuple[Target, ...]) -> None:
    from builder import locks
    from builder.resolver import Resolver

    resolver = Resolver(say, settings.mirrors)
    failures: list[DlcError] = []
    for target in targets:
        folder = settings.images / target.folder
        try:
            found = resolver.lock(target, locks.held(folder, target))
        except DlcError as error:
            failures.append(error)
            say(f"{target.name}: failed")
            continue
        locks.write(folder, found)
        count = sum(len(each.entries) for each in found)
        say(f"{target.name}: {count} requirements locked")
        for name, why in locks.state(folder, target).unhashed.items():
            say(f"{target.name}: no SHA-256 of {name}: {why}")
    if failures:
        raise LockError("\n".join(dict.fromkeys(str(error) for error in failures)))


def _check(settings: Settings, targets: tuple[Target, ...], output: str) -> None:
    from builder import locks
    from builder.upgrades import findings

    states = [(target, locks.state(settings.images / target.folder, target)) for target in targets]
    everything = len(targets) == len(settings.targets)
    notes = (
        findings(targets[0].upgrades, [state for _, state in states], _today())
        if everything
        else []
    )
    if output == "json":
        print_json({"targets": [_row(*each) for each in states], "upgrades": [*map(str, notes)]})
    else:
        _print(states)
    for note in notes:
        say(str(note))
    stale = [target.name for target, state in states if state.stale]
    if stale:
        raise StaleLockError(
            f"the locks of {len(stale)} of {len(targets)} targets are not fresh",
            remedy=f"run `dlc lock {stale[0] if len(stale) == 1 else ''}".rstrip() + "`",
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
    click.echo(f"{len(states)} targets, {total} requirements, {unhashed} without a SHA-256")


def _row(target: Target, state: State) -> dict[str, object]:
    return {
        "image": target.name,
        "stale": dict(state.stale),
        "requirements": state.requirements,
        "unhashed": dict(state.unhashed),
        "lifted": dict(state.lifted),
        "kept": dict(state.kept),
    }


def _upgrade(settings: Settings, text: str, reason: str, until: datetime.date) -> None:
    """Lift a package in every lock that has it and bears it; all or nothing is written."""
    from builder import locks
    from builder.resolver import Resolver
    from builder.upgrades import parse_upgrade, with_upgrade

    upgrade = parse_upgrade(text, reason=reason, until=until, today=_today())
    known = {each.package: each for each in settings.targets[0].upgrades}
    path = settings.matrix_path
    # Its own ends of lines, which reading it as text would change.
    matrix = path.read_bytes().decode("utf-8")
    replaced = known.get(upgrade.package)
    changed = with_upgrade(matrix, upgrade, replaced)
    targets = _targets(path, changed, {**known, upgrade.package: upgrade}.values())
    if replaced is not None and replaced.rule == upgrade.rule:
        atomic.write(path, changed)
        say(f"the upgrade of {upgrade.package} is until {until} now: {upgrade.reason}")
        return
    concerned = [t for t in targets if locks.state(settings.images / t.folder, t).stale]
    if not concerned:
        raise LockError(
            f"no lock has a {upgrade.package} that is to be lifted to {upgrade.version or 'newer'}",
            remedy="`grep` the locks below images/ for what they have",
        )
    resolver = Resolver(say, settings.mirrors)
    found: list[tuple[Target, tuple[Lock, ...]]] = []
    lifted = 0
    for target in concerned:
        made = resolver.lock(target, locks.entries(settings.images / target.folder, "framework"))
        notes = [note for each in made for note in each.notes if f" {upgrade.package} " in note]
        lifted += any(note.startswith("lifted") for note in notes)
        say(f"{target.name}: {'; '.join(notes) or 'locked anew'}")
        found.append((target, made))
    if not lifted:
        raise LockError(
            f"no lock bears {upgrade.requirement}; nothing was written",
            remedy="name another version, or change what the matrix requires of it",
        )
    for target, made in found:
        locks.write(settings.images / target.folder, made)
    atomic.write(path, changed)
    say(f"{upgrade.package} lifted in {lifted} of {len(targets)} targets")


def _targets(path: Path, text: str, upgrades: Iterable[Upgrade]) -> tuple[Target, ...]:
    """The targets of a matrix that is not written yet; LockError if it has not these upgrades."""
    from builder.targets import load_targets

    why = ""
    targets: tuple[Target, ...] = ()
    with tempfile.TemporaryDirectory(prefix="dlc-matrix-") as folder:
        candidate = Path(folder, "matrix.yaml")
        candidate.write_bytes(text.encode())
        try:
            targets = load_targets(candidate, name=str(path))
        except MatrixError as error:
            why = f": {error.problems[0].message}"
    found = targets[0].upgrades if targets else ()
    if {*map(_said, found)} != {*map(_said, upgrades)}:
        raise LockError(
            f"{path} is written in a way that the upgrade cannot be added to{why}",
            remedy="write its `upgrades` as a block, each beginning with `  - package:`",
        )
    return targets


def _said(upgrade: Upgrade) -> tuple[str, str, datetime.date]:
    return upgrade.rule, upgrade.reason, upgrade.until


def _today() -> datetime.date:
    return datetime.datetime.now(tz=datetime.timezone.utc).date()
