"""Upgrades: one package lifted above what a lock's date gives, with the reason in the matrix."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass

from builder.errors import ArgumentError
from builder.locks.freshness import State
from builder.matrix.format import Upgrade
from builder.matrix.requirements import normalise
from builder.matrix.yaml_nodes import Position, Text

__all__ = ["Finding", "findings", "parse_upgrade"]

# Controls and separators of lines are no part of a line, and lone surrogates of no text.
_NOT_A_LINE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something to look at in the matrix's upgrades."""

    at: Position
    message: str

    def __str__(self) -> str:
        return f"{self.at}: {self.message}"


def parse_upgrade(text: str, *, reason: str, until: datetime.date, today: datetime.date) -> Upgrade:
    """Read PACKAGE[==VERSION]; ArgumentError if it is anything else, or ends before it begins."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import Version

    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise ArgumentError(
            f"{text!r} is not PACKAGE[==VERSION]", remedy="write one like pillow==9.3.0"
        ) from error
    specifiers = [*requirement.specifier]
    exact = [
        Version(each.version)
        for each in specifiers
        if each.operator == "==" and "*" not in each.version
    ]
    more = requirement.extras or requirement.marker or requirement.url or len(specifiers) > 1
    if more or len(exact) < len(specifiers) or any(each.epoch or each.local for each in exact):
        raise ArgumentError(
            f"{text!r} is not PACKAGE[==VERSION]", remedy="write one like pillow==9.3.0"
        )
    if until <= today:
        raise ArgumentError(
            f"--until {until} is not in the future", remedy="give the day of the next review"
        )
    reason = reason.strip()
    if not reason or _NOT_A_LINE.search(reason):
        raise ArgumentError(
            "--reason is not one line of text", remedy="name the advisory, like CVE-..."
        )
    return Upgrade(
        package=Text(normalise(requirement.name), Position(file="--upgrade", line=1, column=1)),
        version=str(exact[0]) if exact else None,
        date=today,
        reason=reason,
        until=until,
    )


def findings(
    upgrades: Iterable[Upgrade], states: Iterable[State], today: datetime.date
) -> list[Finding]:
    """Upgrades that have expired, and those that lift nothing in any of the locks.

    Of the latter none is known as long as a lock is not fresh.
    """
    states = list(states)
    fresh = not any(state.stale for state in states)
    lifted = {
        (package, what.split()[0]) for state in states for package, what in state.lifted.items()
    }
    found = []
    for upgrade in upgrades:
        if upgrade.until < today:
            found.append(
                Finding(
                    at=upgrade.at,
                    message=f"the upgrade of {upgrade.package} ({upgrade.reason}) expired on "
                    f"{upgrade.until}; extend it or remove it",
                )
            )
        if fresh and not any(p == upgrade.package and upgrade.lifts(v) for p, v in lifted):
            found.append(
                Finding(
                    at=upgrade.at,
                    message=f"the upgrade of {upgrade.package} no longer changes a lock; remove it",
                )
            )
    return found
