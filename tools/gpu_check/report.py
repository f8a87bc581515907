"""The report: each check with what was found, for people and for programs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from builder.util.check import Check

__all__ = ["Report", "as_json", "as_text", "passed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a run found. `machine` is text by name: versions, the GPU, what was left out."""

    device: str
    machine: dict[str, str]
    checks: tuple[Check, ...]
    seconds: float


def passed(report: Report) -> bool:
    """Whether everything holds; without a check nothing is shown, so it does not."""
    return bool(report.checks) and all(check.passed for check in report.checks)


def as_json(report: Report) -> str:
    return json.dumps({"passed": passed(report), **asdict(report)}, indent=2)


def as_text(report: Report) -> str:
    lines = [f"{name}: {value}" for name, value in report.machine.items()]
    lines += [
        f"{'ok  ' if check.passed else 'FAIL'} {check.name}: {check.detail}"
        for check in report.checks
    ]
    good = sum(check.passed for check in report.checks)
    word = "passed" if passed(report) else "FAILED"
    lines.append(
        f"{word}: {good} of {len(report.checks)} on {report.device} in {report.seconds:.0f} s"
    )
    return "\n".join(lines)
