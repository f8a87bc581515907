"""Upgrades of packages above what locks' dates give: in the matrix and in the locks."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.version import Version

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

__all__ = ["Attempt", "attempt", "lift"]

Say = Callable[[str], None]
Resolved = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """What upgrades give, before any of it is written.

    `made` are the locks of the targets that they concern. `lifted` counts for each upgrade that is
    new the targets in which it lifts something, `kept` are those that some lock could not take;
    `refusals` tell why, in uv's words, by package and target. `notes` are those of all locks.
    """

    edit: Edit
    made: tuple[tuple[Target, tuple[Lock, ...]], ...]
    lifted: Mapping[Upgrade, int]
    kept: frozenset[Upgrade]
    refusals: Mapping[tuple[str, str], str]
    notes: frozenset[str]

    @property
    def idle(self) -> list[Upgrade]:
        """New ones that are nothing new wherever they apply."""
        return [each for each, count in self.lifted.items() if not count and each not in self.kept]

    @property
    def refused(self) -> list[Upgrade]:
        """New ones that no lock can take."""
        return [each for each, count in self.lifted.items() if not count and each in self.kept]

    @property
    def texts(self) -> dict[str, dict[str, str]]:
        """The locks that are made, by target and layer."""
        return {
            target.name: {each.layer: each.text() for each in made} for target, made in self.made
        }

    def is_taken(self, upgrade: Upgrade) -> bool:
        """Whether a lock has what an upgrade, new or not, gives."""
        return any(_is_of(note, upgrade) for note in self.notes)

    def save(self, images: Path) -> None:
        """Write the locks, and the matrix last; all or nothing."""
        self.edit.save(
            file
            for target, made in self.made
            for file in lockfile.files(images / target.folder, made)
        )


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

    They take the place of all that the matrix has of the same packages. `resolved_one` gets each
    target's name once its locks are resolved, its number, and the total.

    LockError if no lock can take one of them, or the matrix cannot be added to.
    """
    original = Original(path)
    # The version of an upgrade that is there already is as of its own date.
    given = [
        replace(each, date=there.date)
        if each.version and (there := _known(each, original))
        else each
        for each in given
    ]
    while given:
        found = attempt(
            original, images, given, mirrors=mirrors, say=say, resolved_one=resolved_one
        )
        if idle := found.idle:
            for upgrade in idle:
                say(f"{upgrade.package} is the newest wherever it is locked: nothing to upgrade")
            given = [each for each in given if each not in idle]
            continue
        _refuse(found)
        found.save(images)
        for each in () if found.lifted else given:
            say(f"the upgrade of {each.package} is until {each.until} now: {each.reason}")
        for upgrade, count in found.lifted.items():
            total = counted(len(found.edit.targets), "target")
            say(f"{upgrade.package} upgraded in {count} of {total}")
        return


def attempt(
    original: Original,
    images: Path,
    given: Sequence[Upgrade],
    *,
    mirrors: Mirrors,
    say: Say,
    resolved_one: Resolved,
) -> Attempt:
    """What upgrades give in the locks that have and can take them.

    LockError if no lock has one of the packages, or the matrix cannot be added to.
    """
    edit = _edited(original, given)
    new = [each for each in given if _known(each, original) is None]
    committed = Committed(images, edit.targets)
    everywhere = {name for target in edit.targets for name in committed.names(target)}
    if missing := [each.package for each in new if each.package not in everywhere]:
        raise LockError(
            f"no lock has {' or '.join(missing)}",
            remedy="`grep` the locks below images/ for what they have",
        )
    stale = (t for t in edit.targets if freshness.state(images / t.folder, t).stale)
    concerned = [*stale] if new else []
    resolver = Resolver(say, committed, upgrading={each.package for each in new}, mirrors=mirrors)
    made: list[tuple[Target, tuple[Lock, ...]]] = []
    lifted = dict.fromkeys(new, 0)
    kept: set[Upgrade] = set()
    notes = {target.name: committed.notes(target) for target in edit.targets}
    for number, (target, locks) in enumerate(resolved(resolver, concerned), start=1):
        resolved_one(target.name, number, len(concerned))
        if isinstance(locks, DlcError):
            raise locks
        had = notes[target.name]
        notes[target.name] = {note for each in locks for note in each.notes}
        own = [n for each in locks for n in each.notes if _package(n) in {u.package for u in new}]
        for upgrade in new:
            lifted[upgrade] += sum(_is_of(note, upgrade) and note not in had for note in own)
            kept |= {upgrade} if any(_is_kept(note, upgrade) for note in own) else set()
        say(f"{target.name}: {'; '.join(own) or 'nothing lifted'}")
        made.append((target, locks))
    return Attempt(
        edit=edit,
        made=tuple(made),
        lifted=lifted,
        kept=frozenset(kept),
        refusals=resolver.refusals,
        notes=frozenset(note for each in notes.values() for note in each),
    )


def _refuse(found: Attempt) -> None:
    """LockError if no lock can take an upgrade."""
    if refused := found.refused:
        asked = ((each.package, target.name) for each in refused for target, _ in found.made)
        reasons = [found.refusals[each].strip() for each in asked if each in found.refusals]
        raise LockError(
            "".join(reasons[:1])
            + f"\nno lock can take {' or '.join(each.requirement for each in refused)}; "
            "nothing was written",
            remedy="name another version, or change what the matrix requires of it",
        )


def _package(note: str) -> str:
    return note.split()[1]


def _is_of(note: str, upgrade: Upgrade) -> bool:
    """Whether a note tells that a lock has what an upgrade gives: `lifted: a 1 to 2`."""
    how, package, before, *_, after = note.split()
    if how != "lifted:" or package != upgrade.package or not upgrade.lifts(before):
        return False
    return upgrade.version is None or Version(after) == Version(upgrade.version)


def _is_kept(note: str, upgrade: Upgrade) -> bool:
    """Whether a note tells that a lock cannot take an upgrade: `kept: a 1, a newer one ...`."""
    how, package, version, *_ = note.split()
    return how == "kept:" and package == upgrade.package and upgrade.lifts(version.rstrip(","))


def _known(upgrade: Upgrade, original: Original) -> Upgrade | None:
    """The matrix's upgrade to the same version, or to the newest of the same day."""
    for there in original.matrix.upgrades:
        same = (there.package, there.version, there.oldest) == (
            *(upgrade.package, upgrade.version, upgrade.oldest),
        )
        if same and (there.version is not None or there.date == upgrade.date):
            return there
    return None


def _edited(original: Original, given: Iterable[Upgrade]) -> Edit:
    """The matrix with upgrades; LockError if it is written in a way that does not take them."""
    groups: dict[str, list[Upgrade]] = {}
    for upgrade in given:
        groups.setdefault(upgrade.package, []).append(upgrade)
    others = [each for each in original.matrix.upgrades if each.package not in groups]
    wanted = [*others, *(each for group in groups.values() for each in group)]
    text, why = original.text, ""
    try:
        for group in groups.values():
            text = text.set_upgrade(*group)
        edit = original.edited(text)
        if {*map(_content, edit.matrix.upgrades)} == {*map(_content, wanted)}:
            return edit
    except MatrixError as error:
        why = f": {error.problems[0].message}"
    raise LockError(
        f"{original.path} is written in a way that the upgrade cannot be added to{why}",
        remedy="write its `upgrades` as a block, an item on each line",
    )


def _content(upgrade: Upgrade) -> tuple[str, str, datetime.date]:
    return upgrade.rule, upgrade.reason, upgrade.until
