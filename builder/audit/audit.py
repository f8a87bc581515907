"""Which packages of an image, or of its locks, have known vulnerabilities."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from builder.audit.advisory import SEVERITIES, Advisory, Database
from builder.audit.fixes import NO_CONSTRAINTS, Constraints, Fix
from builder.audit.match import match
from builder.audit.names import project
from builder.errors import FindingError
from builder.inventory.model import Inventory, Package
from builder.inventory.versions import order
from builder.matrix.parts import Accepted
from builder.matrix.target import Target
from builder.util.text import counted

__all__ = ["Audited", "Finding", "advisories", "audit", "findings", "raise_if_open"]


TOLD = 5  # of advisories in a message


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """An advisory that is for a package of an image; `accepted` is why it may stay."""

    package: Package
    advisory: Advisory
    fix: Fix
    accepted: Accepted | None = None

    def is_open(self, threshold: str) -> bool:
        """Whether it counts: nobody accepted it, and it is as severe as `threshold`.

        What nobody has rated counts as the worst.
        """
        if self.accepted:
            return False
        severity = self.advisory.severity
        return not severity or SEVERITIES.index(severity) >= SEVERITIES.index(threshold)


@dataclass(frozen=True, kw_only=True, slots=True)
class Audited:
    """An image, or its locks, and what was found; `expired` are acceptances that are over."""

    name: str
    findings: tuple[Finding, ...]
    expired: tuple[Accepted, ...] = ()


def audit(
    inventory: Inventory,
    database: Database,
    today: datetime.date,
    *,
    target: Target | None = None,
    locks: Mapping[str, str] | None = None,
) -> Audited:
    """The findings of an inventory, the worst first; AdvisoryError if an advisory is nonsense."""
    constraints = Constraints.of(inventory.packages, target, locks or {})
    accepted = target.accepted if target else ()
    found = (
        replace(each, accepted=_acceptance(each.advisory, accepted, today))
        for each in findings(inventory, database, constraints)
    )
    return Audited(
        name=inventory.image,
        findings=tuple(sorted(found, key=_order)),
        expired=tuple(each for each in accepted if each.until < today),
    )


def findings(
    inventory: Inventory, database: Database, constraints: Constraints = NO_CONSTRAINTS
) -> Iterator[Finding]:
    """The findings of an inventory, in the order of its packages, whoever accepts them."""
    for package in inventory.packages:
        for advisory, fixed in advisories(package, database, inventory.operating_system):
            fix = constraints.fix(package, fixed)
            yield Finding(package=package, advisory=advisory, fix=fix)


def raise_if_open(audited: Sequence[Audited], threshold: str) -> None:
    """FindingError if something was found that counts, or an acceptance is over."""
    problems = []
    expired = dict.fromkeys(each for one in audited for each in one.expired)
    problems += [
        f"{each.at.exact}: the acceptance of {each.advisory} ended on {each.until}"
        for each in expired
    ]
    bad = [one for one in audited if any(each.is_open(threshold) for each in one.findings)]
    if bad:
        counting = [f for one in bad for f in one.findings if f.is_open(threshold)]
        names = list(dict.fromkeys(each.advisory.id for each in counting))
        more = ", ..." if len(names) > TOLD else ""
        problems.append(
            f"{counted(len(names), 'advisory')} of severity {threshold} or more in {len(bad)} of "
            f"{counted(len(audited), 'target')}: {', '.join(names[:TOLD])}{more}"
        )
    if problems:
        raise FindingError(
            "\n".join(problems),
            remedy="upgrade what has a fix, or accept it in the matrix with reason and date",
        )


def advisories(
    package: Package, database: Database, distribution: str
) -> Iterator[tuple[Advisory, str]]:
    """The advisories for a package and the version that each is fixed in; one for each alias."""
    name, version = package.name, package.version
    if package.kind == "system":
        name, version = package.source, package.source_version
    if not version:
        return
    key = (package.kind, project(package.kind, name), package.version)
    known = database.affected.get(key, set())
    found: list[tuple[Advisory, str]] = []
    for advisory, affected in database.about(package.kind, name, distribution):
        hit = match(package.kind, version, advisory, affected)
        if hit or advisory.id.lower() in known:
            _merge(found, advisory, hit.fixed if hit else "", package.kind)
    yield from found


def _merge(found: list[tuple[Advisory, str]], advisory: Advisory, fixed: str, kind: str) -> None:
    """Add an advisory, to the one that is the same under another name, if there is one."""
    for index, (other, theirs) in enumerate(found):
        if other.names & advisory.names:
            names = dict.fromkeys((*other.aliases, advisory.id, *advisory.aliases))
            names.pop(other.id, None)
            worst = max(
                (other.severity, advisory.severity),
                key=lambda each: SEVERITIES.index(each) if each else -1,
            )
            both = replace(other, aliases=tuple(names), severity=worst)
            later = fixed if not theirs or order(kind, theirs, fixed) == -1 else theirs
            found[index] = (both, later)
            return
    found.append((advisory, fixed))


def _acceptance(
    advisory: Advisory, accepted: Iterable[Accepted], today: datetime.date
) -> Accepted | None:
    return next(
        (
            each
            for each in accepted
            if each.advisory.lower() in advisory.names and each.until >= today
        ),
        None,
    )


def _order(finding: Finding) -> tuple[int, str, str]:
    severity = finding.advisory.severity
    # Unrated ones come first: they may be the worst.
    rank = -SEVERITIES.index(severity) if severity else -len(SEVERITIES)
    return rank, finding.package.name, finding.advisory.id
