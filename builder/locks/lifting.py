"""Which of the matrix's upgrades a layer can take: each is tried alone, then with what it needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from packaging.version import Version

from builder.errors import LockError, UnansweredError
from builder.locks.lockfile import Lock, pinned
from builder.locks.uv.compile import Question
from builder.matrix.format import Upgrade

__all__ = ["Answer", "before_lifting", "is_lifted", "lift", "names_package"]

Ask = Callable[[Question], dict[str, str]]
# Why a version cannot be had at all for a layer's Python; empty if it can.
Missing = Callable[[Upgrade], str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A layer's entries, its notes, and why what is not lifted could not be, by package."""

    entries: Mapping[str, str]
    notes: tuple[str, ...] = ()
    refusals: Mapping[str, str] = field(default_factory=dict)


def lift(
    ask: Ask,
    question: Question,
    upgrades: tuple[Upgrade, ...],
    held: Lock | None,
    *,
    base: bool,
    upgrading: frozenset[str] = frozenset(),
    missing: Missing = lambda _: "",
) -> Answer:
    """The answer to a question with every upgrade that it can take.

    `held` is the lock that the layer has now, which is preferred; with `base` it is the answer
    already but for upgrades that it says nothing of. Of those in `upgrading` it is not preferred.
    Whole layers are asked for only of versions that are not `missing`.
    """
    lifting = _Lifting(
        ask, question, upgrades, held, base=base, upgrading=upgrading, missing=missing
    )
    lifting.run()
    return lifting.answer()


def before_lifting(lock: Lock) -> dict[str, str]:
    """The versions that packages of a lock had before an upgrade lifted them."""
    words = (note.split() for note in lock.notes)
    return {each[1]: each[2] for each in words if each[0] == "lifted:"}


def is_lifted(upgrade: Upgrade, lock: Lock) -> bool:
    """Whether a lock has a package higher than without an upgrade."""
    before = before_lifting(lock)
    return upgrade.package in before and upgrade.lifts(before[upgrade.package])


class _Lifting:
    """An upgrade may bring in what another is for, or be what another needs: so several rounds.

    Of several upgrades of one package the newest is tried, and the next once that is given up.
    """

    def __init__(
        self,
        ask: Ask,
        question: Question,
        upgrades: tuple[Upgrade, ...],
        held: Lock | None,
        *,
        base: bool,
        upgrading: frozenset[str],
        missing: Missing,
    ) -> None:
        self._ask, self._missing, self._upgrades = ask, missing, upgrades
        own = {} if held is None else dict(held.entries)
        self._held = {name: e for name, e in own.items() if name not in question.excluded}
        # What a package had before it was lifted, of those that are.
        self._before: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        # Upgrades that are given up for older ones of the same package.
        self._passed: dict[Upgrade, str] = {}
        known = before_lifting(held) if held else {}
        self._is_asked = not base
        self._once_lifted = known.keys() - upgrading
        if held is not None and base:
            self._entries = dict(self._held)
            done = [u for u in upgrades if u.package in known and u.lifts(known[u.package])]
            self._before = {upgrade.package: known[upgrade.package] for upgrade in done}
            self._question = replace(question, upgrades=(*question.upgrades, *done))
            kept = (note.split()[1] for note in held.notes if note.startswith("kept: "))
            self._refused = dict.fromkeys(kept, "")
        else:
            plain = {
                name: f"{name}=={known[name]}\n" if name in known else entry
                for name, entry in self._held.items()
            }
            self._entries = ask(replace(question, preferences=tuple(plain.values())))
            self._question = question

    def run(self) -> None:
        """Lift until nothing more is borne."""
        self._rounds()
        while lower := {u: why for u in self._waiting() if (why := self._lower(u)) is not None}:
            self._passed |= lower
            for upgrade in lower:
                del self._refused[upgrade.package]
            self._rounds()

    def _lower(self, upgrade: Upgrade) -> str | None:
        """Why an upgrade is refused, if there is another to try in its place."""
        others = (u for u in self._applicable(upgrade.package) if u != upgrade)
        return self._refused.get(upgrade.package) if any(others) else None

    def _rounds(self) -> None:
        waiting = [u for u in self._waiting() if u.package not in self._refused]
        while waiting:
            tried = [self._try((upgrade,)) for upgrade in waiting]
            # Not at once for all groups: what a first one lifts may be in the next too.
            more = any(tried) or any(self._try(group) for group in self._groups())
            waiting = self._waiting() if more else []

    def answer(self) -> Answer:
        """What came of it."""
        notes = []
        for upgrade in sorted(self._upgrades, key=lambda upgrade: upgrade.package):
            package, version = upgrade.package, _version(self._entries, upgrade.package)
            if version and package in self._before and upgrade.lifts(self._before[package]):
                notes.append(f"lifted: {package} {self._before[package]} to {version}")
            elif version and package in self._refused and upgrade.lifts(version):
                notes.append(f"kept: {package} {version}, a newer one conflicts with other pins")
        passed = {upgrade.package: why for upgrade, why in reversed(self._passed.items())}
        refusals = {package: why for package, why in {**self._refused, **passed}.items() if why}
        # Several upgrades of a package have one note.
        return Answer(entries=self._entries, notes=tuple(dict.fromkeys(notes)), refusals=refusals)

    def _waiting(self) -> list[Upgrade]:
        """What is not lifted, and would be: of each package the newest that is not given up."""
        packages = dict.fromkeys(upgrade.package for upgrade in self._upgrades)
        found = (self._applicable(package)[:1] for package in packages)
        return [upgrade for one in found for upgrade in one]

    def _applicable(self, package: str) -> list[Upgrade]:
        """The upgrades of a package that are for the version that it has, the newest first."""
        version = _version(self._entries, package)
        if not version or package in self._before:
            return []
        found = [
            upgrade
            for upgrade in self._upgrades
            if upgrade.package == package and upgrade not in self._passed and upgrade.lifts(version)
        ]
        return sorted(found, key=_newness, reverse=True)

    def _groups(self) -> Iterator[tuple[Upgrade, ...]]:
        """Upgrades that stand in each other's way: packages that pin each other, in uv's words."""
        waiting = self._waiting()
        for upgrade in waiting:
            why = self._refused.get(upgrade.package, "")
            others = [u for u in waiting if u != upgrade and names_package(why, u.package)]
            yield from ((upgrade, other) for other in others)
            if len(others) > 1:
                yield (upgrade, *others)
        # Of two that are to be the newest, each is as new as the other lets it: nothing refuses.
        newest = tuple(u for u in waiting if u.package not in self._refused)
        if len(newest) > 1:
            yield newest

    def _try(self, group: tuple[Upgrade, ...]) -> bool:
        """Lift a group; whether that changed anything."""
        packages = {upgrade.package for upgrade in group}
        had = {package: _version(self._entries, package) for package in packages}
        if not all(had.values()) or packages & self._before.keys():
            return False  # another upgrade has settled it
        preferred = {name: e for name, e in self._entries.items() if name not in packages}
        # Where a former upgrade has lifted it to is the first choice again.
        preferred |= {p: self._held[p] for p in packages & self._once_lifted if p in self._held}
        asked = replace(
            self._question,
            upgrades=(*self._question.upgrades, *group),
            preferences=tuple(preferred.values()),
        )
        entries = self._entries
        why = next(filter(None, (self._missing(u) for u in group if u.version)), "")
        if not why:
            try:
                entries = self._ask(asked)
            except UnansweredError:
                raise
            except LockError as error:
                why = error.message
                # Refused is what conflicts with the rest: not what cannot be had without it either.
                if not self._is_asked:
                    self._ask(replace(self._question, preferences=tuple(entries.values())))
            self._is_asked = True
        now = {package: _version(entries, package) for package in packages}
        # It may be gone, or older where the upgrade's date is before the layer's.
        higher = {p for p in packages if now[p] and Version(now[p]) > Version(had[p])}
        free = {upgrade.package for upgrade in group if upgrade.version is None}
        newest = {package for package in free if now[package] == had[package]}
        if higher and higher | newest == packages:
            self._before |= {package: had[package] for package in higher}
            self._refused = {p: text for p, text in self._refused.items() if p not in packages}
            lifted = tuple(upgrade for upgrade in group if upgrade.package in higher)
            self._question = replace(self._question, upgrades=(*self._question.upgrades, *lifted))
            self._entries = entries
            return True
        if len(group) == 1:
            [package] = packages
            self._refused.pop(package, None)
            if why or package not in newest:
                self._refused[package] = why
        return False


def _newness(upgrade: Upgrade) -> tuple[bool, Version]:
    return upgrade.version is None, Version(upgrade.version or "0")


def _version(entries: Mapping[str, str], package: str) -> str:
    return pinned(entries[package])[1] if package in entries else ""


def names_package(text: str, package: str) -> bool:
    """Whether a message of uv's is about a package, among others."""
    return re.search(rf"(?<![\w-]){re.escape(package)}(?![\w-])", text) is not None
