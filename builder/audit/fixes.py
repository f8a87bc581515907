"""What would remove a finding: an upgrade, and what stands in its way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from builder.inventory.model import Package
from builder.locks.direct import wheel_name
from builder.locks.lockfile import parse
from builder.matrix.requirements import normalise
from builder.matrix.target import Target

__all__ = ["LIFT", "NONE", "NO_CONSTRAINTS", "REMOVE", "UPGRADE", "Constraints", "Fix"]

UPGRADE, LIFT, REMOVE, NONE = "upgrade", "lift a constraint", "remove", "none yet"

_NEEDING = re.compile(r"^    #(?: via)?[ ]+(\S.*)$", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fix:
    """What to do about a finding; `version` is the first that is not vulnerable, if there is one.

    `how` names the version, or who does not allow it.
    """

    what: str
    version: str = ""
    how: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Constraints:
    """Who asks for which version of a package.

    `wanted` are requirements by name, each with who has it; `dependents` are the packages that
    need another, as locks note them: those that nothing needs can be left out.
    """

    wanted: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    dependents: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, packages: Iterable[Package], target: Target | None, locks: Mapping[str, str]
    ) -> Constraints:
        """Those of a target's row in the matrix, and of what packages of an image say they need."""
        wanted: dict[str, list[tuple[str, str]]] = {}
        for text in _requirements(target) if target else ():
            if name := _NAME.match(text):
                wanted.setdefault(normalise(name[0]), []).append((text, "the matrix"))
        for wheel in target.build.wheels if target else ():
            wanted.setdefault(wheel_name(wheel), []).append(
                (f"the wheel {wheel.filename}", "the matrix")
            )
        for package in packages:
            for text in package.requires:
                if name := _NAME.match(text):
                    wanted.setdefault(normalise(name[0]), []).append((text, package.name))
        return cls(
            wanted={name: tuple(dict.fromkeys(each)) for name, each in wanted.items()},
            dependents=_dependents(locks),
        )

    def fix(self, package: Package, fixed: str) -> Fix:
        """What to do about a package, if `fixed` is its first version without the vulnerability."""
        if package.kind != "python" or package.within:
            return _elsewhere(package, fixed)
        others = self.dependents.get(package.name, frozenset())
        asked = self.wanted.get(package.name, ())
        if not fixed:
            named = any(by == "the matrix" for _, by in asked)
            if named and not others and not any(by != "the matrix" for _, by in asked):
                return Fix(what=REMOVE, how="nothing else needs it")
            return Fix(what=NONE)
        against = [f"{text} ({by})" for text, by in asked if not _allows(text, fixed)]
        if against:
            return Fix(what=LIFT, version=fixed, how=", ".join(against))
        return Fix(what=UPGRADE, version=fixed, how=f"to {fixed}")


NO_CONSTRAINTS = Constraints()


def _requirements(target: Target) -> Iterable[str]:
    yield from target.framework_requirements
    yield from target.library_requirements
    yield from target.constraints
    for texts in target.build.indexes.values():
        yield from texts


def _dependents(locks: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """The packages that need each one, by uv's `# via` lines."""
    found: dict[str, frozenset[str]] = {}
    for text in locks.values():
        for name, entry in parse(text).items():
            needing = (each.strip() for each in _NEEDING.findall(entry))
            found[name] = frozenset(each for each in needing if _NAME.fullmatch(each))
    return found


def _elsewhere(package: Package, fixed: str) -> Fix:
    """What is not locked: it comes with something else."""
    if not fixed:
        return Fix(what=NONE)
    if package.kind == "system":
        return Fix(what=UPGRADE, version=fixed, how=f"build again, for {fixed}")
    carrier = package.within.rpartition("/")[2] or "its carrier"
    return Fix(what=LIFT, version=fixed, how=f"{carrier} carries it")


def _allows(text: str, version: str) -> bool:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        found = Requirement(text)
    except InvalidRequirement:
        return False
    return not found.url and found.specifier.contains(version, prereleases=True)
