"""Upgrades of packages above what locks' dates give: in the matrix and in the locks."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from builder.errors import DlcError, LockError, MatrixError
from builder.locks import freshness, lockfile
from builder.locks.committed import Committed
from builder.locks.lockfile import Lock
from builder.locks.locking import resolved
from builder.locks.resolve import Resolver
from builder.matrix.format import Upgrade
from builder.matrix.mirrors import Mirrors
from builder.matrix.rewrite import Edit, Original
from builder.matrix.target import Target
from builder.util.text import counted

__all__ = ["lift"]

Say = Callable[[str], None]
Resolved = Callable[[str, int, int], None]


def lift(
    path: Path,
    images: Path,
    given: Sequence[Upgrade],
    *,
    mirrors: Mirrors,
    say: Say,
    resolved_one: Resolved,
) -> None:
    """Write upgrades and the locks that have and can take them; all or nothing is written.

    `resolved_one` gets each target's name once its locks are resolved, its number, and the total.

    LockError if no lock can take one of them, or the matrix cannot be added to.
    """
    original = Original(path)
    known = {each.package: each for each in original.matrix.upgrades}
    # The version of an upgrade that is there already is as of its own date.
    given = [
        replace(each, date=known[each.package].date)
        if each.version is not None and _is_known(each, known)
        else each
        for each in given
    ]
    while given:
        idle = _lift(original, images, given, mirrors, say, resolved_one)
        for upgrade in idle:
            say(f"{upgrade.package} is the newest wherever it is locked: nothing to upgrade")
        given = [each for each in given if each not in idle] if idle else []


def _lift(
    original: Original,
    images: Path,
    given: Sequence[Upgrade],
    mirrors: Mirrors,
    say: Say,
    resolved_one: Resolved,
) -> list[Upgrade]:
    """Write what upgrades give; but nothing if some lift nothing, and these are returned."""
    known = {each.package: each for each in original.matrix.upgrades}
    edit = _edited(original, given)
    new = [each for each in given if not _is_known(each, known)]
    if not new:
        edit.save()
        for each in given:
            say(f"the upgrade of {each.package} is until {each.until} now: {each.reason}")
        return []
    committed = Committed(images, edit.targets)
    everywhere = {name for target in edit.targets for name in committed.names(target)}
    if missing := [each.package for each in new if each.package not in everywhere]:
        raise LockError(
            f"no lock has {' or '.join(missing)}",
            remedy="`grep` the locks below images/ for what they have",
        )
    concerned = [t for t in edit.targets if freshness.state(images / t.folder, t).stale]
    resolver = Resolver(say, committed, upgrading=(each.package for each in new), mirrors=mirrors)
    found: list[tuple[Target, tuple[Lock, ...]]] = []
    lifted: dict[str, int] = dict.fromkeys((each.package for each in new), 0)
    kept: set[str] = set()
    for number, (target, made) in enumerate(resolved(resolver, concerned), start=1):
        resolved_one(target.name, number, len(concerned))
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
            + f"\nno lock can take {' or '.join(each.requirement for each in refused)}; "
            "nothing was written",
            remedy="name another version, or change what the matrix requires of it",
        )
    edit.save(
        file for target, made in found for file in lockfile.files(images / target.folder, made)
    )
    for package, count in lifted.items():
        say(f"{package} upgraded in {count} of {counted(len(edit.targets), 'target')}")
    return []


def _is_known(upgrade: Upgrade, known: Mapping[str, Upgrade]) -> bool:
    """Whether the matrix has an upgrade to the same version, or to the newest of the same day."""
    there = known.get(upgrade.package)
    if there is None or there.version != upgrade.version:
        return False
    return there.version is not None or there.date == upgrade.date


def _edited(original: Original, given: Iterable[Upgrade]) -> Edit:
    """The matrix with upgrades; LockError if it is written in a way that does not take them."""
    wanted = {each.package: each for each in original.matrix.upgrades}
    text, why = original.text, ""
    try:
        for upgrade in given:
            text = text.set_upgrade(upgrade)
            wanted[upgrade.package] = upgrade
        edit = original.edited(text)
        if {*map(_said, edit.matrix.upgrades)} == {*map(_said, wanted.values())}:
            return edit
    except MatrixError as error:
        why = f": {error.problems[0].message}"
    raise LockError(
        f"{original.path} is written in a way that the upgrade cannot be added to{why}",
        remedy="write its `upgrades` as a block, an item on each line",
    )


def _said(upgrade: Upgrade) -> tuple[str, str, datetime.date]:
    return upgrade.rule, upgrade.reason, upgrade.until
