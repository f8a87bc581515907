"""Upgrades: one package lifted above what a lock's date gives, with the reason in the matrix."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from builder.errors import ArgumentError
from builder.locks.lockfile import State, normalise
from builder.matrix.format import Upgrade
from builder.matrix.yaml_nodes import Position, Text

__all__ = ["Finding", "findings", "parse_upgrade", "with_upgrade", "with_upgrades"]

# As far as it is indented: what follows may have a comment of its own before it.
_SECTION = re.compile(
    r"^upgrades:[ \t]*(?:#.*)?\r?\n(?:(?:(?:#.*|[ \t\r]*)\n)*[ \t]+\S.*\n)*", re.MULTILINE
)
# Controls and separators of lines are no part of a line, and lone surrogates of no text.
_NOT_A_LINE = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_INTRODUCTION = """
# Packages that are newer than a lock's date allows, each with its reason and the day on which to
# look again; `dlc lock --upgrade` writes them.
upgrades:
"""


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


def with_upgrade(matrix: str, upgrade: Upgrade, replaced: Upgrade | None) -> str:
    """The text of a matrix with an upgrade more, in the place of one of the same package.

    Everything else stays as it is, comments too.
    """
    newline = "\r\n" if "\r\n" in matrix else "\n"
    item = _item(upgrade).replace("\n", newline)
    lines = matrix.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += newline
    if replaced is not None:
        first = replaced.at.line - 1
        last = first + 1
        while last < len(lines) and _indent(lines[last]) > _indent(lines[first]):
            last += 1
        lines[first:last] = [item]
        return "".join(lines)
    text = "".join(lines)
    section = _SECTION.search(text)
    if section is None:
        return text + _INTRODUCTION.replace("\n", newline) + item
    return text[: section.end()] + item + text[section.end() :]


def with_upgrades(matrix: str, upgrades: Iterable[Upgrade], known: Mapping[str, Upgrade]) -> str:
    """The text of a matrix with upgrades more, in the places of those `known` by their package."""
    upgrades = list(upgrades)
    replaced = [upgrade for upgrade in upgrades if upgrade.package in known]
    # From the last line to the first, so that the places of the others stay.
    for upgrade in sorted(replaced, key=lambda each: -known[each.package].at.line):
        matrix = with_upgrade(matrix, upgrade, known[upgrade.package])
    for upgrade in upgrades:
        if upgrade.package not in known:
            matrix = with_upgrade(matrix, upgrade, None)
    return matrix


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" ")) if line.strip() else 0


def _item(upgrade: Upgrade) -> str:
    version = f"    version: {upgrade.version}\n" if upgrade.version else ""
    return (
        f"  - package: {upgrade.package}\n{version}"
        f"    date: {upgrade.date}\n"
        # A text in double quotes is YAML's as it is JSON's.
        f"    reason: {json.dumps(upgrade.reason, ensure_ascii=False)}\n"
        f"    until: {upgrade.until}\n"
    )


def findings(
    upgrades: Iterable[Upgrade], states: Iterable[State], today: datetime.date
) -> list[Finding]:
    """Upgrades that have expired, and those that lift nothing in any of the locks.

    Of the latter none is known as long as a lock is not fresh.
    """
    states = list(states)
    fresh = not any(state.stale for state in states)
    lifted = {package for state in states for package in state.lifted}
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
        if fresh and upgrade.package not in lifted:
            found.append(
                Finding(
                    at=upgrade.at,
                    message=f"the upgrade of {upgrade.package} lifts nothing any more; remove it",
                )
            )
    return found
