"""Which upgrades would remove findings: the smallest that do, for the versions that locks have."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from packaging.version import InvalidVersion, Version

from builder.audit.advisory import Database
from builder.audit.audit import Audited, Finding, advisories
from builder.audit.fixes import UPGRADE
from builder.inventory.model import Inventory, Package
from builder.matrix.format import Upgrade
from builder.matrix.yaml_nodes import Position, Text

__all__ = ["Row", "can_help", "plan"]

_AT = Position(file="dlc patch", line=1, column=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A target's locks: what they have, what was found of it, and which versions packages had.

    Those are the versions `without` the matrix's upgrades, which an upgrade is for.
    """

    inventory: Inventory
    audited: Audited
    without: Mapping[str, str]

    def before(self, package: Package) -> str:
        """The version of a package without upgrades."""
        return self.without.get(package.name, package.version)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    """A version of a package that removes advisories from locks with the version `before`."""

    package: str
    before: str
    version: str
    advisories: tuple[str, ...]


def can_help(finding: Finding, threshold: str) -> bool:
    """Whether a newer version of a locked package would remove a finding that counts."""
    package = finding.package
    return (
        finding.is_open(threshold)
        and finding.fix.what == UPGRADE
        and package.kind == "python"
        and not package.within
        and _plain(finding.fix.version) is not None
    )


def plan(
    rows: Iterable[Row],
    everywhere: Mapping[str, Iterable[str]],
    database: Database,
    known: Sequence[Upgrade],
    *,
    threshold: str,
    today: datetime.date,
    until: datetime.date,
) -> list[Upgrade]:
    """The upgrades to try, beside those that are `known`, for the findings of rows that count.

    `everywhere` are the versions of each package that any lock has without upgrades: an upgrade
    begins with the oldest version that needs it. Of several for one version a lock takes the newest
    that it can, so all that remove something are named. Packages for which there is nothing new are
    left out; of the others the known ones are named too.
    """
    steps: dict[str, list[_Step]] = {}
    for row in rows:
        for package, found in _findings(row, threshold).items():
            steps.setdefault(package.name, []).extend(_steps(row, package, found, database))
    made: list[Upgrade] = []
    for name, wanted in sorted(steps.items()):
        had = [each for each in known if each.package == name]
        group = _group(name, wanted, had, everywhere.get(name, ()), today=today, until=until)
        if {each.rule for each in group} - {each.rule for each in had}:
            made += group
    return made


def _findings(row: Row, threshold: str) -> dict[Package, list[Finding]]:
    found: dict[Package, list[Finding]] = {}
    for each in row.audited.findings:
        if can_help(each, threshold):
            found.setdefault(each.package, []).append(each)
    return found


def _steps(
    row: Row, package: Package, found: Sequence[Finding], database: Database
) -> Iterator[_Step]:
    """The versions that remove findings of a package, and what is known of those in turn."""
    ends = {each.advisory.id: _plain(each.fix.version) for each in found}
    ends |= _further(package, max(filter(None, ends.values())), database)
    for version in sorted({*filter(None, ends.values())}):
        gone = [
            each.advisory.id for each in found if (ends[each.advisory.id] or version) <= version
        ]
        if gone:
            yield _Step(
                package=package.name,
                before=row.before(package),
                version=str(version),
                advisories=tuple(gone),
            )


def _further(package: Package, version: Version, database: Database) -> dict[str, Version | None]:
    """The fixes of advisories for the version that a package is upgraded to, and so on."""
    found: dict[str, Version | None] = {}
    while True:
        upgraded = replace(package, version=str(version))
        fixes = {
            advisory.id: _plain(fixed) for advisory, fixed in advisories(upgraded, database, "")
        }
        found |= fixes
        top = max((each for each in fixes.values() if each), default=version)
        if top <= version:
            return found
        version = top


def _group(
    name: str,
    steps: Sequence[_Step],
    had: Sequence[Upgrade],
    everywhere: Iterable[str],
    *,
    today: datetime.date,
    until: datetime.date,
) -> list[Upgrade]:
    """All upgrades of a package: those that it has, and one for each version of a step."""
    group = {each.version: each for each in had}
    versions = [Version(each) for each in everywhere]
    for version in sorted({each.version for each in steps}, key=Version):
        mine = [each for each in steps if each.version == version]
        # One to the newest of its day already lifts some: it is to the newest of today then.
        newest = group.get(None)
        there = newest if newest and _is_for(newest, mine) else group.get(version)
        if there and _is_for(there, mine):
            wanted = there if there.version else replace(there, date=today)
        else:
            oldest = min(Version(each.before) for each in mine)
            wanted = Upgrade(
                package=Text(name, _AT),
                version=version,
                date=there.date if there else today,
                reason=there.reason if there else "",
                until=there.until if there else until,
                oldest=str(oldest) if any(each < oldest for each in versions) else None,
            )
        reason = _reason(wanted.reason, (each for step in mine for each in step.advisories))
        group[wanted.version] = replace(wanted, reason=reason)
    return [*group.values()]


def _is_for(upgrade: Upgrade, steps: Iterable[_Step]) -> bool:
    return all(upgrade.lifts(each.before) for each in steps)


def _reason(before: str, names: Iterable[str]) -> str:
    """A reason that names advisories besides."""
    new = [each for each in sorted({*names}) if each not in before]
    return ", ".join(filter(None, (before, *new)))


def _plain(version: str) -> Version | None:
    """A version that the matrix can name as one of an upgrade."""
    try:
        found = Version(version)
    except InvalidVersion:
        return None
    return None if found.epoch or found.local else found
