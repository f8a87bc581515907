"""How new the packages of a framework's layer may be, for the libraries to go on top of it.

A layer is locked before those above it, with the newest of its date: too new where a library wants
an older NumPy. Asked for together, both are as they can be beside each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from packaging.requirements import Requirement
from packaging.version import Version

from builder.locks.lockfile import pinned
from builder.locks.questions import question_of
from builder.locks.uv.compile import compile_requirements
from builder.matrix.mirrors import NO_MIRRORS, Mirrors
from builder.matrix.requirements import normalise
from builder.matrix.target import Target

__all__ = ["bounds"]


def bounds(
    target: Target, known: Iterable[str] = (), mirrors: Mirrors = NO_MIRRORS
) -> tuple[str, ...]:
    """Constraints that the framework layer of a target lacks, in the order of their packages.

    Of those that are `known`, of another framework version, the ones that lower something are
    taken: what no package's metadata tells. LockError if both cannot be had together either.
    """
    asked = question_of("framework", target, ())

    def alone(more: Sequence[str]) -> dict[str, Version]:
        question = replace(asked, constraints=(*target.constraints, *more))
        return _versions(compile_requirements(question, target.name, mirrors))

    free = alone(())
    found = [text for text in known if _lowers(text, free)]
    whole = question_of("libraries", target, ())
    whole = replace(whole, constraints=(*target.constraints, *found))
    together = _versions(compile_requirements(whole, target.name, mirrors))
    for name, version in alone(found).items():
        if together.get(name, version) < version:
            found.append(f"{name}<={together[name]}")
    for text in [text for text in found if "<=" in text]:
        # What follows from another bound is not said again.
        rest = [each for each in found if each != text]
        without = alone(rest)
        if all(version <= together.get(name, version) for name, version in without.items()):
            found = rest
    return tuple(sorted(found))


def _versions(entries: Mapping[str, str]) -> dict[str, Version]:
    return {name: Version(pinned(entry)[1]) for name, entry in entries.items()}


def _lowers(text: str, versions: Mapping[str, Version]) -> bool:
    requirement = Requirement(text)
    version = versions.get(normalise(requirement.name))
    return version is not None and not requirement.specifier.contains(version, prereleases=True)
