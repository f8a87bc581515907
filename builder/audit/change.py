"""Which advisories one image has and another has not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from builder.audit.advisory import Database
from builder.audit.audit import Finding, findings
from builder.audit.sources import load
from builder.inventory.diff import AdvisoryChange, Difference
from builder.inventory.model import Inventory

__all__ = ["changes", "with_advisories"]


def with_advisories(difference: Difference, sources: Iterable[str]) -> Difference:
    """A difference with the advisories gained and lost; AdvisoryError if they cannot be had."""
    both = (difference.before, difference.after)
    packages = ((each, one.operating_system) for one in both for each in one.packages)
    return replace(difference, advisories=changes(*both, load(sources, packages)))


def changes(before: Inventory, after: Inventory, database: Database) -> tuple[AdvisoryChange, ...]:
    """Advisories that are for packages of one and not of the other, the gained ones first."""
    was, now = (_by_name(findings(each, database)) for each in (before, after))
    return tuple(
        AdvisoryChange(
            what=what,
            advisory=each.advisory.id,
            severity=each.advisory.severity,
            package=each.package.name,
            version=each.package.version,
        )
        for what, mine, others in (("gained", now, was), ("lost", was, now))
        for key, each in mine.items()
        if key not in others
    )


def _by_name(found: Iterable[Finding]) -> dict[tuple[str, str, str], Finding]:
    return {(each.advisory.id, each.package.kind, each.package.name): each for each in found}
