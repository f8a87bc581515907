"""Resolves the layers of targets, as of their dates, into locks.

A lock once made stays: what is resolved from the same is taken as it is, and what is not keeps the
versions that still satisfy what is asked, with their hashes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from threading import Lock as Mutex

from builder.errors import LockError, UnansweredError
from builder.locks import wheelhouse
from builder.locks.accelerator_packages import accelerator_packages, brought_by
from builder.locks.committed import Committed
from builder.locks.direct import direct_entries
from builder.locks.freshness import (
    concerning,
    inputs_digest,
    layers,
    origin,
    without_upgrades,
)
from builder.locks.lifting import Answer, lift
from builder.locks.lockfile import Lock
from builder.locks.platform_wheels import refuse_without_wheels
from builder.locks.questions import question_of, texts
from builder.locks.uv.compile import Question, compile_requirements
from builder.locks.vanished import refuse_vanished, with_vanished
from builder.matrix.format import Upgrade
from builder.matrix.mirrors import NO_MIRRORS, Mirrors
from builder.matrix.target import Target

__all__ = ["Resolver"]


class Resolver:
    """Resolves the layers of targets; equal layers are resolved once, whichever thread asks.

    Nothing that is `committed` is looked at with `refresh`. Packages in `upgrading` are upgraded to
    the newest version, whatever a former upgrade gave them.
    """

    def __init__(
        self,
        say: Callable[[str], None] = lambda _: None,
        committed: Committed | None = None,
        *,
        refresh: bool = False,
        upgrading: Iterable[str] = (),
        mirrors: Mirrors = NO_MIRRORS,
    ) -> None:
        self._say, self._mirrors = say, mirrors
        self._committed = committed or Committed(Path(), ())
        self._refresh, self._upgrading = refresh, frozenset(upgrading)
        self._folders = wheelhouse.directories()
        self._done: dict[str, Future[Lock]] = {}
        self._yanked: set[tuple[str, str]] = set()
        self._availability: dict[tuple[str, str, str], str] = {}
        self._mutex = Mutex()
        # Why packages were not lifted in targets, in uv's words: for when they were in none.
        self.refusals: dict[tuple[str, str], str] = {}

    def lock(self, target: Target) -> tuple[Lock, ...]:
        """The locks of a target; LockError, with uv's reason, if one cannot be resolved."""
        stack: tuple[Lock, ...] = ()
        for layer in layers(target)[1:-1]:
            stack = (*stack, self._once(layer, target, stack))
        if target.device == "cpu" and not target.stand_in:
            _refuse_accelerators(target, stack, self._mirrors)
        return (self._once("build", target), *stack, self._once("tools", target))

    def _once(self, layer: str, target: Target, below: Sequence[Lock] = ()) -> Lock:
        under = "".join(lock.text() for lock in below)
        key = inputs_digest(layer, target, under)
        with self._mutex:
            mine = key not in self._done
            future = self._done.setdefault(key, Future())
        if mine:
            try:
                future.set_result(self._layer(layer, target, below, under))
            except BaseException as error:
                future.set_exception(error)
        return future.result()

    def _layer(self, layer: str, target: Target, below: Sequence[Lock], under: str) -> Lock:
        held = self._committed.own(layer, target)
        same = None if self._refresh else self._committed.same(layer, target, under)
        if same is None:
            lock = self._resolved(layer, target, below, under, held)
            refuse_without_wheels(lock, target, self._mirrors)
        elif same.is_complete:
            return same
        else:
            lock = replace(same, entries={**same.entries, **self._direct(layer, target, same)})
        for entry in lock.entries.values():
            if "--hash=" not in entry and not entry.startswith("#"):
                raise LockError(
                    f"no SHA-256 is known of {entry.split(maxsplit=1)[0]} ({target.name})",
                    remedy="its index gives none: name the wheel in the matrix, with its hash",
                )
        upgrades = concerning(layer, target, lock.entries, lock.notes)
        return replace(lock, inputs=inputs_digest(layer, target, under, upgrades))

    def _resolved(
        self, layer: str, target: Target, below: Sequence[Lock], under: str, held: Lock | None
    ) -> Lock:
        preferred = None if self._refresh else held
        answer = Answer(entries={})
        if layer == "framework" or texts(layer, target):
            try:
                answer = self._answer(layer, target, below, under, preferred)
            except UnansweredError:
                raise
            except LockError as error:
                raise with_vanished(error, target, below, self._mirrors) from error
        if preferred is not None:
            question = question_of(layer, target, below)
            refuse_vanished(preferred, answer.entries, question, target, self._mirrors)
        with self._mutex:
            for package, why in answer.refusals.items():
                self.refusals[package, target.name] = why
        python, date = origin(layer, target)
        return Lock(
            layer=layer,
            python=python,
            date=date,
            inputs="",
            entries=dict(sorted({**answer.entries, **self._direct(layer, target, held)}.items())),
            notes=answer.notes,
        )

    def _answer(
        self, layer: str, target: Target, below: Sequence[Lock], under: str, held: Lock | None
    ) -> Answer:
        """What uv answers, without what the locks `below` have."""
        question = question_of(layer, target, below)
        there = {name for lock in below for name in lock.entries}

        def yanked(package: str, version: str) -> None:
            if package not in there:
                self._say_yanked(target, package, version)

        def ask(asked: Question) -> dict[str, str]:
            found = compile_requirements(asked, target.name, self._mirrors, yanked)
            return {name: entry for name, entry in found.items() if name not in there}

        if layer in ("build", "tools"):
            entries = tuple(held.entries.values()) if held else ()
            return Answer(entries=ask(replace(question, preferences=entries)))
        # Whether all that is new is an upgrade of which the lock says nothing.
        noted = without_upgrades(held.notes) if held else {}
        known = [
            upgrade
            for upgrade in target.upgrades
            if upgrade.package in noted and upgrade.lifts(noted[upgrade.package])
        ]
        base = held is not None and held.inputs == inputs_digest(layer, target, under, known)
        return lift(
            ask,
            question,
            target.upgrades,
            held,
            base=base,
            upgrading=self._upgrading,
            missing=lambda upgrade: self._missing(upgrade, target),
        )

    def _missing(self, upgrade: Upgrade, target: Target) -> str:
        """Why an upgrade's version is not there for a target's Python, asked for once."""
        key = (upgrade.rule, target.python, target.platform)
        if key not in self._availability:
            question = Question(
                requirements=(upgrade.requirement,),
                python=target.python,
                platform=target.platform,
                date=upgrade.date.isoformat(),
                no_deps=True,
            )
            try:
                compile_requirements(question, target.name, self._mirrors)
            except UnansweredError:
                raise
            except LockError as error:
                self._availability[key] = error.message
            else:
                self._availability[key] = ""
        return self._availability[key]

    def _direct(self, layer: str, target: Target, held: Lock | None) -> dict[str, str]:
        return direct_entries(
            layer, target, held, self._folders, refresh=self._refresh, mirrors=self._mirrors
        )

    def _say_yanked(self, target: Target, package: str, version: str) -> None:
        with self._mutex:
            is_new = (package, version) not in self._yanked
            self._yanked.add((package, version))
        if is_new:
            self._say(
                f"{target.name}: {package} {version} is yanked from the package index; it stays "
                f"locked until `dlc lock --upgrade {package}` replaces it"
            )


def _refuse_accelerators(target: Target, stack: Sequence[Lock], mirrors: Mirrors) -> None:
    """LockError if a CPU image would carry an accelerator's packages."""
    for at, lock in enumerate(stack):
        found = accelerator_packages(lock.entries)
        if not found:
            continue
        asked = replace(
            question_of(lock.layer, target, stack[:at]),
            annotate=True,
            preferences=tuple(lock.entries.values()),
        )
        try:
            culprit = brought_by(found[0], compile_requirements(asked, target.name, mirrors))
        except LockError:  # it is for the message only
            culprit = ""
        named = culprit or f"what {lock.layer}.lock is resolved from"
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise LockError(
            f"{target.name} is for CPUs, but {named} brings {', '.join(found[:3])}{more}",
            remedy="name a build for CPUs of it in the matrix, or leave it out",
        )
