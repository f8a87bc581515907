"""Locked versions that the package index has no more: said, and never quietly replaced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from builder.errors import LockError, UnansweredError
from builder.locks.lifting import before_lifting, names_package
from builder.locks.lockfile import Lock, pinned
from builder.locks.uv.compile import Question, compile_requirements
from builder.matrix.mirrors import Mirrors
from builder.matrix.requirements import normalise
from builder.matrix.target import Target

__all__ = ["refuse_vanished", "with_vanished"]


def refuse_vanished(
    held: Lock, entries: Mapping[str, str], question: Question, target: Target, mirrors: Mirrors
) -> None:
    """LockError if the answer to a question replaces a locked version because it vanished.

    A version may well go because something else is asked for now: only those that the index does
    not have any more, as of the lock's own date, are meant.
    """
    settled = {upgrade.package for upgrade in target.upgrades} | before_lifting(held).keys()
    moved: dict[str, str] = {}
    for name, entry in held.entries.items():
        version = pinned(entry)[1]
        now = pinned(entries[name])[1] if name in entries else ""
        if version and version != now and name not in {*settled, *question.excluded}:
            moved[name] = version
    if not any(name in entries for name in moved):
        return
    moved = {name: v for name, v in moved.items() if _is_allowed(name, v, question)}
    if gone := _vanished(held, moved, target, mirrors):
        raise LockError(
            f"{target.name}: the package index has no {' and no '.join(gone)} any more, which "
            f"{held.layer}.lock has; it stays as it is",
            remedy=f"`dlc lock --refresh {target.name}` resolves without what is locked",
        )


def with_vanished(
    error: LockError, target: Target, below: Iterable[Lock], mirrors: Mirrors
) -> LockError:
    """The error of a layer that cannot be resolved; with a remedy if that is for what vanished."""
    for lock in below:
        named = dict(map(pinned, lock.entries.values()))
        named = {name: v for name, v in named.items() if v and names_package(error.message, name)}
        if gone := _vanished(lock, named, target, mirrors):
            return LockError(
                f"{error.message.rstrip()}\n\nThe package index has no {' and no '.join(gone)} any "
                f"more, which {lock.layer}.lock has",
                remedy=f"`dlc lock --refresh {target.name}` resolves without what is locked",
            )
    return error


def _vanished(
    lock: Lock, versions: Mapping[str, str], target: Target, mirrors: Mirrors
) -> list[str]:
    """Those of a lock's versions that the index does not have as of the lock's own date."""
    pins = [f"{name}=={version}" for name, version in versions.items()]
    question = Question(
        requirements=(),
        python=lock.python,
        platform=target.platform,
        date="" if lock.date == "any day" else lock.date,
        no_deps=True,
    )
    if not pins or _has(question, pins, mirrors):
        return []
    return [pin for pin in pins if not _has(question, [pin], mirrors)]


def _has(question: Question, pins: Sequence[str], mirrors: Mirrors) -> bool:
    try:
        compile_requirements(replace(question, requirements=tuple(pins)), "", mirrors)
    except UnansweredError:
        raise
    except LockError:
        return False
    return True


def _is_allowed(name: str, version: str, question: Question) -> bool:
    """Whether nothing that is asked for by name excludes a version."""
    from packaging.requirements import Requirement

    wanted = map(Requirement, (*question.requirements, *question.constraints))
    return all(
        each.specifier.contains(version, prereleases=True)
        for each in wanted
        if normalise(each.name) == name
    )
