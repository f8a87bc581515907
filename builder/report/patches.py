"""What `dlc patch` does or would do: for programs, as tables, and as the text of a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from builder.audit.audit import Finding
from builder.authoring.patch import Left, Patch
from builder.inventory.markdown import code, table
from builder.util.text import counted, short_name

__all__ = ["changes", "left", "markdown", "summary", "to_json"]


def to_json(patch: Patch) -> dict[str, Any]:
    """A patch in JSON's types."""
    return {
        "upgrades": [
            {
                "package": each.package,
                "from": each.oldest,
                "version": each.version,
                "date": each.date.isoformat(),
                "reason": each.reason,
                "until": each.until.isoformat(),
            }
            for each in patch.upgrades
        ],
        "targets": [
            {
                "image": each.target.name,
                "packages": [
                    {"package": p.name, "before": p.before or None, "after": p.after or None}
                    for p in each.packages
                ],
                "gone": [_finding(finding) for finding in each.gone],
                "new": [_finding(finding) for finding in each.new],
                "left": [{**_finding(found.finding), "why": found.why} for found in each.left],
            }
            for each in patch.targets
        ],
        "others": list(patch.others),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "advisory": finding.advisory.id,
        "severity": finding.advisory.severity or None,
        "package": finding.package.name,
        "version": finding.package.version,
    }


def changes(patch: Patch) -> list[dict[str, Any]]:
    """One row for each change of a package: in which targets, and which advisories go with it."""
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for each in patch.targets:
        for change in each.packages:
            key = (change.name, change.before, change.after)
            row = rows.setdefault(
                key,
                {
                    "package": change.name,
                    "before": change.before or None,
                    "after": change.after or None,
                    "targets": 0,
                    "advisories": set(),
                },
            )
            row["targets"] += 1
            row["advisories"] |= {
                finding.advisory.id for finding in each.gone if finding.package.name == change.name
            }
    found = [rows[key] for key in sorted(rows)]
    return [{**row, "advisories": ", ".join(sorted(row["advisories"])) or None} for row in found]


def left(patch: Patch) -> list[dict[str, Any]]:
    """One row for each finding that stays, whichever targets have it for the same reason."""
    rows: dict[tuple[str, str, str, str], list[str]] = {}
    severities: dict[str, str] = {}
    for each in patch.targets:
        for found in each.left:
            severities[found.finding.advisory.id] = found.finding.advisory.severity
            rows.setdefault(_same(found), []).append(short_name(each.target.name))
    return [
        {
            "severity": severities[advisory] or None,
            "advisory": advisory,
            "package": package,
            "version": version,
            "why": why,
            "targets": _some(names),
        }
        for (advisory, package, version, why), names in rows.items()
    ]


def _same(found: Left) -> tuple[str, str, str, str]:
    package = found.finding.package
    return found.finding.advisory.id, package.name, package.version, found.why


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def summary(patch: Patch) -> str:
    """In a sentence what goes and what stays."""
    gone = _advisories(finding for each in patch.targets for finding in each.gone)
    stay = _advisories(found.finding for each in patch.targets for found in each.left)
    changed = [each for each in patch.targets if each.packages]
    parts = [f"{counted(len(gone), 'advisory')} gone from {counted(len(changed), 'target')}"]
    if stay:
        affected = sum(bool(each.left) for each in patch.targets)
        parts.append(f"{counted(len(stay), 'advisory')} left in {counted(affected, 'target')}")
    if patch.others:
        others = counted(len(patch.others), "other target")
        parts.append(f"the locks of {others} change too")
    return ", ".join(parts)


def _advisories(findings: Iterable[Finding]) -> set[str]:
    return {each.advisory.id for each in findings}


def markdown(patch: Patch) -> str:
    """The text of a pull request."""
    return "\n".join(_lines(patch)) + "\n"


def _lines(patch: Patch) -> Iterator[str]:
    yield f"Known vulnerabilities: {summary(patch)}."
    changed = changes(patch)
    if changed:
        columns = ("package", "before", "after", "targets", "advisories gone")
        rows = (
            (
                code(row["package"]),
                code(row["before"]),
                code(row["after"]),
                str(row["targets"]),
                row["advisories"] or "-",
            )
            for row in changed
        )
        yield from table("Packages", columns, rows)
    new = [(each.target.name, finding) for each in patch.targets for finding in each.new]
    if new:
        yield from table(
            "New advisories", ("advisory", "package", "target"), (_new(*each) for each in new)
        )
    if stay := left(patch):
        yield from table(
            "Not fixed", ("severity", "advisory", "package", "why", "targets"), map(_stays, stay)
        )
    names = [each.target.name for each in patch.targets if each.packages]
    if names or patch.others:
        yield ""
        yield "## Locks that change"
        yield ""
        yield from (f"- `{name}`" for name in (*names, *patch.others))


def _new(name: str, finding: Finding) -> tuple[str, str, str]:
    package = finding.package
    return f"`{finding.advisory.id}`", f"`{package.name}` {package.version}", f"`{name}`"


def _stays(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["severity"] or "-",
        f"`{row['advisory']}`",
        f"`{row['package']}` {row['version']}",
        row["why"],
        row["targets"],
    )
