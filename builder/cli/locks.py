"""The command `dlc lock`: resolve, check, lift."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.cli.main import cli
from builder.cli.options import output_option
from builder.cli.output import print_json
from builder.cli.selection import selection_options
from builder.cli.settings import Settings
from builder.errors import DlcError, LockError, MatrixError, StaleLockError
from builder.util import atomic
from builder.util.console import say

if TYPE_CHECKING:
    from builder.locks.lockfile import Lock, State
    from builder.matrix.format import Upgrade
    from builder.matrix.target import Target

__all__: list[str] = []


@cli.command()
@selection_options
@click.option("--check", is_flag=True, help="Only say which locks are not fresh; no network.")
@click.option("--refresh", is_flag=True, help="Resolve again, whatever is locked.")
@click.option(
    "--upgrade",
    "packages",
    metavar="PACKAGE[==VERSION]",
    multiple=True,
    help="Lift a package in all locks; several at once if they pin each other.",
)
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
    refresh: bool,
    packages: tuple[str, ...],
    reason: str | None,
    until: datetime.datetime | None,
    output: str,
) -> None:
    """Lock requirements by hash, as of a release's date.

    What is locked stays as long as it satisfies the matrix.
    """
    given = {"--check": check, "--refresh": refresh, "--upgrade": bool(packages)}
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
    else:
        _lock(settings, targets, refresh=refresh)


def _lock(settings: Settings, targets: tuple[Target, ...], *, refresh: bool) -> None:
    from builder.locks import lockfile
    from builder.locks.committed import Committed
    from builder.locks.locking import differs, resolved
    from builder.locks.resolve import Resolver

    committed = Committed(settings.images, settings.targets)
    failures: list[DlcError] = []
    changed: dict[tuple[str, str], Lock] = {}
    resolver = Resolver(say, committed, refresh=refresh, mirrors=settings.mirrors)
    for target, made in resolved(resolver, targets):
        if isinstance(made, DlcError):
            failures.append(made)
            say(f"{target.name}: failed")
            continue
        folder = settings.images / target.folder
        new = [each for each in made if each != committed.own(each.layer, target)]
        lockfile.write(folder, new)
        changed |= {(each.layer, each.inputs): each for each in new}
        count = sum(len(each.entries) for each in made)
        say(f"{target.name}: {f'{count} requirements locked' if new else 'fresh'}")
        for name, why in lockfile.state(folder, target).unhashed.items():
            say(f"{target.name}: no SHA-256 of {name}: {why}")
    others = [target for target in settings.targets if target not in targets]
    if apart := [each.name for each in others if differs(each, committed, changed)]:
        others_have = f"{len(apart)} other target{'s have' if len(apart) > 1 else ' has'}"
        say(
            f"{others_have} older locks of layers that these share, {apart[0]} for one: "
            "`dlc lock --refresh` there too"
        )
    if failures:
        raise LockError("\n".join(dict.fromkeys(str(error) for error in failures)))


def _check(settings: Settings, targets: tuple[Target, ...], output: str) -> None:
    from builder.locks import lockfile
    from builder.locks.upgrades import findings

    states = [
        (target, lockfile.state(settings.images / target.folder, target)) for target in targets
    ]
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


def _upgrade(settings: Settings, texts: Sequence[str], reason: str, until: datetime.date) -> None:
    """Lift packages in every lock that has them and bears it; all or nothing is written."""
    from builder.locks.upgrades import parse_upgrade

    today = _today()
    given = [parse_upgrade(text, reason=reason, until=until, today=today) for text in texts]
    names = [upgrade.package for upgrade in given]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise click.UsageError(f"--upgrade {twice[0]} is given twice: name one version.")
    known = {each.package: each for each in settings.targets[0].upgrades}
    # The version of an upgrade that is there already is as of its own date.
    given = [
        replace(each, date=known[each.package].date)
        if each.version is not None and _is_known(each, known)
        else each
        for each in given
    ]
    while given:
        idle = _lift(settings, given)
        for upgrade in idle:
            say(f"{upgrade.package} is the newest already wherever it is locked: nothing to lift")
        given = [each for each in given if each not in idle] if idle else []


def _lift(settings: Settings, given: Sequence[Upgrade]) -> list[Upgrade]:
    """Write what upgrades give; but nothing if some lift nothing, and these are returned."""
    from builder.locks import lockfile
    from builder.locks.committed import Committed
    from builder.locks.locking import resolved
    from builder.locks.resolve import Resolver
    from builder.locks.upgrades import with_upgrades

    known = {each.package: each for each in settings.targets[0].upgrades}
    path = settings.matrix_path
    # Its own ends of lines, which reading it as text would change.
    changed = with_upgrades(path.read_bytes().decode("utf-8"), given, known)
    wanted = {**known, **{each.package: each for each in given}}
    targets = _targets(path, changed, wanted.values())
    new = [each for each in given if not _is_known(each, known)]
    if not new:
        atomic.write(path, changed)
        for each in given:
            say(f"the upgrade of {each.package} is until {each.until} now: {each.reason}")
        return []
    committed = Committed(settings.images, targets)
    everywhere = {name for target in targets for name in committed.names(target)}
    if missing := [each.package for each in new if each.package not in everywhere]:
        raise LockError(
            f"no lock has {' or '.join(missing)}",
            remedy="`grep` the locks below images/ for what they have",
        )
    concerned = [t for t in targets if lockfile.state(settings.images / t.folder, t).stale]
    resolver = Resolver(
        say, committed, anew=(each.package for each in new), mirrors=settings.mirrors
    )
    found: list[tuple[Target, tuple[Lock, ...]]] = []
    lifted: dict[str, int] = dict.fromkeys((each.package for each in new), 0)
    kept: set[str] = set()
    for target, made in resolved(resolver, concerned):
        if isinstance(made, DlcError):
            raise made
        notes = [note for each in made for note in each.notes if note.split()[1] in lifted]
        for note in notes:
            how, package = note.split()[:2]
            if how == "kept:":
                kept.add(package)
            elif note not in committed.notes(target):
                lifted[package] += 1
        say(f"{target.name}: {'; '.join(notes) or 'nothing lifted'}")
        found.append((target, made))
    idle = [each for each in new if not lifted[each.package] and each.package not in kept]
    if idle:
        return idle
    if refused := [each for each in new if not lifted[each.package]]:
        asked = ((each.package, target.name) for each in refused for target in concerned)
        reasons = [resolver.refusals[each].strip() for each in asked if each in resolver.refusals]
        raise LockError(
            "".join(reasons[:1])
            + f"\nno lock bears {' or '.join(each.requirement for each in refused)}; "
            "nothing was written",
            remedy="name another version, or change what the matrix requires of it",
        )
    for target, made in found:
        lockfile.write(settings.images / target.folder, made)
    atomic.write(path, changed)
    for package, count in lifted.items():
        say(f"{package} lifted in {count} of {len(targets)} targets")
    return []


def _is_known(upgrade: Upgrade, known: Mapping[str, Upgrade]) -> bool:
    """Whether the matrix has an upgrade to the same version, or to the newest of the same day."""
    there = known.get(upgrade.package)
    if there is None or there.version != upgrade.version:
        return False
    return there.version is not None or there.date == upgrade.date


def _targets(path: Path, text: str, upgrades: Iterable[Upgrade]) -> tuple[Target, ...]:
    """The targets of a matrix that is not written yet; LockError if it has not these upgrades."""
    from builder.matrix.targets import load_targets

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
