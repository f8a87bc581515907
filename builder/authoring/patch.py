"""Findings removed: the smallest lock changes that do, and what is left with the reason."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builder.audit.advisory import Database
from builder.audit.audit import Finding, audit
from builder.audit.fixes import LIFT, REMOVE
from builder.audit.sources import load
from builder.authoring.patch_plan import Row, can_help, plan
from builder.authoring.upgrade import Attempt, attempt
from builder.inventory.diff import Change, compare
from builder.inventory.locked import of_texts
from builder.locks import freshness, lockfile
from builder.locks.freshness import without_upgrades
from builder.locks.lockfile import Lock
from builder.matrix.format import Upgrade
from builder.matrix.mirrors import Mirrors
from builder.matrix.rewrite import Original
from builder.matrix.target import Target

__all__ = ["Left", "Patch", "Patched", "Patcher"]

# Each round looks up what the former one upgraded to; services tell only of what they are asked.
_ROUNDS = 5

Texts = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """A finding that counts and stays, and why."""

    finding: Finding
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Patched:
    """A target: how its packages change, and which findings go, come and stay."""

    target: Target
    packages: tuple[Change, ...]
    gone: tuple[Finding, ...]
    new: tuple[Finding, ...]
    left: tuple[Left, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _State:
    """Targets as they are audited, by name, and with which advisories."""

    rows: Mapping[str, Row]
    database: Database


@dataclass(frozen=True, kw_only=True, slots=True)
class Patch:
    """What would be written, unless there is no attempt, and what becomes of the targets asked for.

    `upgrades` are those that are new.
    """

    attempt: Attempt | None
    upgrades: tuple[Upgrade, ...]
    targets: tuple[Patched, ...]

    @property
    def others(self) -> tuple[str, ...]:
        """Targets whose locks change too, as an upgrade is for all that have the version."""
        mine = {each.target.name for each in self.targets}
        made = self.attempt.made if self.attempt else ()
        return tuple(target.name for target, _ in made if target.name not in mine)


@dataclass(frozen=True, kw_only=True, slots=True)
class Patcher:
    """How findings are looked for and removed; advisories come from `sources`."""

    matrix: Path
    images: Path
    sources: Sequence[str]
    threshold: str
    today: datetime.date
    until: datetime.date
    mirrors: Mirrors
    resolved_one: Callable[[str, int, int], None]

    def patch(self, selected: Iterable[Target]) -> Patch:
        """Look for what removes the findings of targets; nothing is written.

        AdvisoryError if advisories cannot be had, LockError if the index cannot answer.
        """
        original = Original(self.matrix)
        names = {target.name for target in selected}
        targets = [target for target in original.targets if target.name in names]
        before = {each.name: self._committed(each) for each in original.targets}
        first = now = self._state(targets, before)
        made: Attempt | None = None
        given: list[Upgrade] = []
        tried: set[str] = set()
        refusals: dict[tuple[str, str], str] = {}
        for _ in range(_ROUNDS):
            wanted = self._wanted(now, _versions(before), original, given, tried)
            if not wanted:
                break
            made, given = self._settle(original, wanted, tried, refusals)
            now = self._state(targets, {**before, **(made.texts if made else {})})
        known = {each.rule for each in original.matrix.upgrades}
        return Patch(
            attempt=made,
            upgrades=tuple(each for each in given if each.rule not in known),
            targets=tuple(_patched(each, first, now, self.threshold, refusals) for each in targets),
        )

    def _committed(self, target: Target) -> dict[str, str]:
        return lockfile.texts(self.images / target.folder, freshness.layers(target))

    def _state(self, targets: Sequence[Target], texts: Texts) -> _State:
        inventories = {each.name: of_texts(each, texts[each.name]) for each in targets}
        packages = ((each, "") for one in inventories.values() for each in one.packages)
        database = load(self.sources, packages)
        rows = {}
        for each in targets:
            one, locks = inventories[each.name], texts[each.name]
            audited = audit(one, database, self.today, target=each, locks=locks)
            rows[each.name] = Row(inventory=one, audited=audited, without=_without(locks))
        return _State(rows=rows, database=database)

    def _wanted(
        self,
        state: _State,
        everywhere: Mapping[str, Iterable[str]],
        original: Original,
        given: Sequence[Upgrade],
        tried: set[str],
    ) -> list[Upgrade]:
        """All upgrades to try now: those that are `given`, and more; nothing without more."""
        touched = {each.package for each in given}
        others = (each for each in original.matrix.upgrades if each.package not in touched)
        known = [*given, *others]
        found = plan(
            state.rows.values(),
            everywhere,
            state.database,
            known,
            threshold=self.threshold,
            today=self.today,
            until=self.until,
        )
        found = [each for each in found if each.rule not in tried]
        rules = {each.rule for each in known}
        more = {each.package for each in found if each.rule not in rules}
        if not more:
            return []
        return [
            *(each for each in given if each.package not in more),
            *(each for each in found if each.package in more),
        ]

    def _settle(
        self,
        original: Original,
        wanted: list[Upgrade],
        tried: set[str],
        refusals: dict[tuple[str, str], str],
    ) -> tuple[Attempt | None, list[Upgrade]]:
        """The upgrades that locks take; of the others the rules are `tried`."""
        known = {each.rule for each in original.matrix.upgrades}
        while wanted:
            made = attempt(
                original,
                self.images,
                wanted,
                mirrors=self.mirrors,
                say=lambda _: None,
                resolved_one=self.resolved_one,
            )
            refusals.update(made.refusals)
            idle = [each for each in wanted if not made.is_taken(each)]
            if not idle:
                return made, wanted
            tried |= {each.rule for each in idle}
            wanted = _without_idle(wanted, idle, known)
        return None, []


def _without_idle(
    wanted: Iterable[Upgrade], idle: Sequence[Upgrade], known: set[str]
) -> list[Upgrade]:
    """Upgrades without those that do nothing; of packages with nothing new all stay as they are.

    The reason of a known one that goes passes to the one that takes its place.
    """
    left = [each for each in wanted if each not in idle]
    more = {each.package for each in left if each.rule not in known}
    left = [each for each in left if each.package in more]
    for gone in idle:
        if gone.rule in known:
            heirs = [
                each for each in left if each.package == gone.package and _is_newer(each, gone)
            ]
            for heir in heirs[:1]:
                reason = (
                    heir.reason if gone.reason in heir.reason else f"{gone.reason}, {heir.reason}"
                )
                left[left.index(heir)] = replace(heir, reason=reason)
    return left


def _is_newer(upgrade: Upgrade, other: Upgrade) -> bool:
    return other.version is not None and upgrade.lifts(other.version)


def _patched(
    target: Target,
    first: _State,
    now: _State,
    threshold: str,
    refusals: Mapping[tuple[str, str], str],
) -> Patched:
    before, after = first.rows[target.name], now.rows[target.name]
    had, has = before.audited.findings, after.audited.findings
    return Patched(
        target=target,
        packages=compare(before.inventory, after.inventory).packages,
        gone=tuple(each for each in had if not _is_among(each, has)),
        new=tuple(each for each in has if not _is_among(each, had)),
        left=tuple(
            Left(
                finding=each,
                why=_why(each, threshold, refusals.get((each.package.name, target.name))),
            )
            for each in has
            if each.is_open(threshold)
        ),
    )


def _is_among(finding: Finding, others: Iterable[Finding]) -> bool:
    return any(
        each.package.name == finding.package.name and each.advisory.names & finding.advisory.names
        for each in others
    )


def _why(finding: Finding, threshold: str, refusal: str | None) -> str:
    fix = finding.fix
    if fix.what == LIFT:
        return f"not allowed: {fix.how}"
    if fix.what == REMOVE:
        return f"no version is fixed, and {fix.how}"
    if not fix.version:
        return "no version is fixed"
    if not can_help(finding, threshold):
        return f"an upgrade cannot name {fix.version}"
    # uv draws a tree around its words.
    words = " ".join((refusal or "").rpartition("\u2570\u2500\u25b6")[2].split())
    return words or "a newer one conflicts with other pins"


def _without(texts: Mapping[str, str]) -> dict[str, str]:
    """The versions that packages have without upgrades, of those that have any."""
    found: dict[str, str] = {}
    for layer, text in texts.items():
        lock = lockfile.read(layer, text)
        if isinstance(lock, Lock):
            found |= without_upgrades(lock.notes)
    return found


def _versions(locks: Texts) -> dict[str, set[str]]:
    """The versions of each package that locks have without upgrades."""
    found: dict[str, set[str]] = {}
    for texts in locks.values():
        pins = (
            lockfile.pinned(e) for text in texts.values() for e in lockfile.parse(text).values()
        )
        for name, version in {**dict(pins), **_without(texts)}.items():
            if version:
                found.setdefault(name, set()).add(version)
    return found
