"""Resolves layers with uv, as of a date, into locks.

Direct wheels are not read: the matrix says what they need, so that locking gives the same bytes
whether or not their source can be reached.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from builder import components, wheelhouse
from builder.errors import LockError
from builder.locks import Lock, component, concerning, inputs_digest, layers, normalise, pinned
from builder.matrix import Upgrade, Wheel
from builder.mirrors import NO_MIRRORS, Mirrors
from builder.target import Target
from builder.uv_compile import (
    Question,
    UnreachableError,
    compile_requirements,
    requirement_name,
)

__all__ = ["Resolver", "address", "outside", "wheel_name"]


class Resolver:
    """Resolves the layers of targets; equal layers of one call are resolved once."""

    def __init__(
        self, say: Callable[[str], None] = lambda _: None, mirrors: Mirrors = NO_MIRRORS
    ) -> None:
        self._say, self._mirrors = say, mirrors
        self._folders = wheelhouse.directories()
        self._done: dict[str, Lock | LockError] = {}

    def lock(self, target: Target, held: Mapping[str, str] = {}) -> tuple[Lock, ...]:
        """The locks of a target; LockError, with uv's reason, if one cannot be resolved.

        Of what the locks `held`, hashes are kept whose source cannot be reached now.
        """
        framework = self._once("framework", target, lambda t: self._framework(t, held))
        stack = [framework]
        for layer in layers(target)[2:-2]:
            below = tuple(stack)
            resolve = partial(self._component, layer, below=below, held=held)
            stack.append(self._once(layer, target, resolve, below))
        below = tuple(stack)
        return (
            self._once("build", target, self._build),
            *stack,
            self._once("libraries", target, lambda t: self._libraries(t, below), below),
            self._once("tools", target, self._tools),
        )

    def _once(
        self,
        layer: str,
        target: Target,
        resolve: Callable[[Target], Lock],
        below: Sequence[Lock] = (),
    ) -> Lock:
        under = "".join(lock.text() for lock in below)
        key = inputs_digest(layer, target, under)
        if key not in self._done:
            try:
                lock = resolve(target)
            except LockError as error:
                self._done[key] = error
            else:
                upgrades = concerning(layer, target, lock.entries, lock.notes)
                inputs = inputs_digest(layer, target, under, upgrades)
                self._done[key] = replace(lock, inputs=inputs)
        found = self._done[key]
        if isinstance(found, LockError):
            raise found
        return found

    def _build(self, target: Target) -> Lock:
        question = Question(
            requirements=target.build_requirements,
            constraints=target.constraints,
            python=target.python,
            date=target.locked.isoformat(),
        )
        entries = compile_requirements(question, target.name, self._mirrors)
        return _lock("build", target, question, entries)

    def _framework(self, target: Target, held: Mapping[str, str]) -> Lock:
        question = Question(
            requirements=target.framework_requirements,
            constraints=target.constraints,
            excluded=outside(target),
            python=target.python,
            date=target.locked.isoformat(),
        )
        entries, notes = self._lifted(question, target)
        for wheel in target.build.wheels:
            entries[wheel_name(wheel)] = self._wheel_entry(wheel, target)
        for source, texts in target.build.indexes.items():
            for text in texts:
                entries |= self._indexed(text.value, source.value, question, target)
        return _lock("framework", target, question, _kept(entries, held), notes)

    def _component(
        self, layer: str, target: Target, below: Sequence[Lock], held: Mapping[str, str]
    ) -> Lock:
        own = component(layer, target)
        texts = tuple(text.value for text in own.requires)
        question = self._on_top(target, below, texts, target.locked)
        entries: dict[str, str] = {}
        notes: tuple[str, ...] = ()
        if texts:
            entries, notes = self._lifted(question, target, below=_entries(below))
        for wheel in own.wheels:
            entries[wheel_name(wheel)] = self._wheel_entry(wheel, target)
        return _lock(layer, target, question, _kept(entries, held), notes)

    def _libraries(self, target: Target, below: Sequence[Lock]) -> Lock:
        question = self._on_top(target, below, target.library_requirements, target.date)
        entries, notes = self._lifted(question, target, below=_entries(below))
        return _lock("libraries", target, question, entries, notes)

    def _on_top(
        self, target: Target, below: Sequence[Lock], texts: Sequence[str], date: datetime.date
    ) -> Question:
        """What is asked for requirements on top of other locks, so that their versions hold."""
        # The framework's requirements take part, so that its versions hold.
        return Question(
            requirements=(*target.framework_requirements, *texts),
            constraints=tuple(pin for lock in below for pin in lock.pins()),
            excluded=outside(target),
            python=target.python,
            date=date.isoformat(),
            # Those versions may be newer than this date.
            lifted=tuple(
                u for u in target.upgrades if any(_is_lifted(u, lock.notes) for lock in below)
            ),
        )

    def _tools(self, target: Target) -> Lock:
        question = Question(requirements=(f"uv=={target.uv}",))
        return _lock(
            "tools", target, question, compile_requirements(question, target.name, self._mirrors)
        )

    def _lifted(
        self, question: Question, target: Target, below: Mapping[str, str] = {}
    ) -> tuple[dict[str, str], tuple[str, ...]]:
        """The answer with every upgrade that its layer bears, and what became of each of them.

        What the lock `below` has is left out. An upgrade may bring in what another one is for, or
        be what another one needs: all are tried until none more is borne.
        """

        from packaging.version import Version

        def answer(asked: Question) -> dict[str, str]:
            found = compile_requirements(asked, target.name, self._mirrors)
            return {name: entry for name, entry in found.items() if name not in below}

        entries = answer(question)
        notes: dict[str, str] = {}
        refusals: dict[str, str] = {}
        again = True
        while again:
            again = False
            for upgrade in target.upgrades:
                package, before = upgrade.package, _version(entries, upgrade.package)
                if upgrade in question.lifted:
                    continue
                notes.pop(package, None)
                refusals.pop(package, None)
                if not before or not upgrade.lifts(before):
                    continue
                lifted = replace(question, lifted=(*question.lifted, upgrade))
                notes[package] = f"kept: {package} {before}, the rest bears no newer one"
                try:
                    higher = answer(lifted)
                except UnreachableError:
                    raise
                except LockError as error:
                    refusals[package] = f"{package} stays at {before}: {error.message}"
                    continue
                after = _version(higher, package)
                if after == before and upgrade.version is None:  # it is the newest already
                    del notes[package]
                    continue
                # It may be gone, or older where the upgrade's date is before the layer's.
                if after and Version(after) > Version(before):
                    notes[package] = f"lifted: {package} {before} to {after}"
                    question, entries, again = lifted, higher, True
        for refusal in refusals.values():
            self._say(f"{target.name}: {refusal.strip()}")
        return entries, tuple(note for package, note in notes.items() if package in entries)

    def _wheel_entry(self, wheel: Wheel, target: Target) -> str:
        """A direct wheel's requirement; its hash from the matrix, else from the file itself."""
        local = wheelhouse.find(wheel, self._folders)  # LockError if it has another hash
        if wheel.sha256:
            return _direct(wheel, wheel.sha256)
        where = local.resolve().as_uri() if local else address(wheel.url, self._sources(target))
        question = Question(
            requirements=(f"{wheel_name(wheel)} @ {where}",), python=target.python, alone=True
        )
        try:
            [entry] = compile_requirements(question, target.name, self._mirrors).values()
        except UnreachableError:
            requirement = f"{wheel_name(wheel)} @ {wheel.url}"
            return _unhashed(f"{wheel.source} could not be reached", requirement)
        [sha256] = re.findall("--hash=sha256:([0-9a-f]{64})", entry)
        return _direct(wheel, sha256)

    def _sources(self, target: Target) -> Mapping[str, str]:
        """Where wheels are that are not the index's: the matrix's addresses, or a site's own."""
        return {**target.sources, **self._mirrors.sources}

    def _indexed(
        self, requirement: str, source: str, question: Question, target: Target
    ) -> dict[str, str]:
        """What only another index has, without what it needs: that is in the matrix."""
        asked = replace(
            question, requirements=(requirement,), constraints=(), excluded=(), lifted=()
        )
        # That index says no upload dates, so none can be asked of it.
        asked = replace(asked, index=self._sources(target)[source], alone=True, date="")
        try:
            entries = compile_requirements(asked, target.name, self._mirrors)
        except UnreachableError:
            name = requirement_name(requirement)
            return {name: _unhashed(f"{source} could not be reached", requirement)}
        bare = [entry for entry in entries.values() if "--hash=" not in entry]
        if bare:
            raise LockError(f"{source} gives no SHA-256 of {bare[0].strip()}")
        return entries


def _lock(
    layer: str,
    target: Target,
    question: Question,
    entries: Mapping[str, str],
    notes: tuple[str, ...] = (),
) -> Lock:
    for entry in entries.values():
        if "--hash=" not in entry and not entry.startswith("#"):
            raise LockError(
                f"no SHA-256 is known of {entry.split(maxsplit=1)[0]} ({target.name})",
                remedy="its index gives none: name the wheel in the matrix, with its hash",
            )
    return Lock(
        layer=layer,
        python=question.python,
        date=question.date or "any day",
        inputs="",
        entries=dict(sorted(entries.items())),
        notes=notes,
    )


def outside(target: Target) -> tuple[str, ...]:
    """What the package index is not to be asked for, because it comes from elsewhere."""
    indexed = (text.value for texts in target.build.indexes.values() for text in texts)
    wheels = (*target.build.wheels, *components.wheels(target.components))
    return (*map(wheel_name, wheels), *map(requirement_name, indexed))


def _entries(locks: Iterable[Lock]) -> dict[str, str]:
    return {name: entry for lock in locks for name, entry in lock.entries.items()}


def _kept(entries: Mapping[str, str], held: Mapping[str, str]) -> dict[str, str]:
    """Entries, with what was held of those that have no hash now."""
    kept = dict(entries)
    for name, entry in entries.items():
        before = held.get(name, "")
        if "--hash=" not in entry and before.split(" \\")[0] == entry.splitlines()[-1]:
            kept[name] = before
    return kept


def _version(entries: Mapping[str, str], package: str) -> str:
    return pinned(entries[package])[1] if package in entries else ""


def _is_lifted(upgrade: Upgrade, notes: Iterable[str]) -> bool:
    return any(note.startswith(f"lifted: {upgrade.package} ") for note in notes)


def wheel_name(wheel: Wheel) -> str:
    """The normalised name of a direct wheel's package."""
    return normalise(wheel.filename.split("-")[0])


def _direct(wheel: Wheel, sha256: str) -> str:
    return f"{wheel_name(wheel)} @ {wheel.url} \\\n    --hash=sha256:{sha256}\n"


def _unhashed(why: str, requirement: str) -> str:
    return f"# No SHA-256: {why} when this was locked; `dlc lock` adds it.\n{requirement}\n"


def address(url: str, sources: Mapping[str, str]) -> str:
    """A direct wheel's address, with its source put in."""
    return re.sub(r"\$\{(\w+)\}", lambda match: sources[match[1]], url)
