"""The matrix's releases as targets, with every impossible combination reported."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from builder.errors import MatrixError
from builder.matrix.component_check import check_components
from builder.matrix.expand import Expansion
from builder.matrix.format import Matrix
from builder.matrix.read import read
from builder.matrix.shared import Shared
from builder.matrix.target import Target
from builder.matrix.validate import check_pinned, check_sections
from builder.matrix.yaml_nodes import Position, Report

__all__ = ["expand", "load_targets"]


def load_targets(path: Path, *, name: str | None = None) -> tuple[Target, ...]:
    """All targets of a matrix, in the order of the file; MatrixError with all its mistakes."""
    report = Report()
    matrix = read(path, report, name=name)
    if matrix:
        check_pinned(matrix, report)
    targets = expand(matrix, report) if matrix else ()
    report.raise_if_any()
    if not targets:
        at = Position(file=name or str(path), line=1, column=1)
        report.add(at, "the matrix has no targets", "add a release with a training or inference")
        raise MatrixError(report.problems)
    return targets


def expand(matrix: Matrix, report: Report) -> tuple[Target, ...]:
    """Every target of the matrix that is possible; the others are reported."""
    check_sections(matrix, report)
    check_components(matrix, report)
    targets: dict[str, Target] = {}
    shared = Shared()
    for release in matrix.releases:
        for entry in release.entries:
            for target in Expansion(matrix, report, release, entry, shared).targets():
                first = targets.setdefault(target.name, target)
                if first is not target:
                    report.add(
                        entry.version.at,
                        f"a second target named {target.name}",
                        f"the first is on line {first.defined_at['framework_version'].line}; "
                        "change a version or a device, or remove one",
                    )
    return _with_budgets(tuple(targets.values()), matrix, report)


def _with_budgets(
    targets: tuple[Target, ...], matrix: Matrix, report: Report
) -> tuple[Target, ...]:
    """The targets with the last budget of the matrix that is for each."""
    for glob, budget in matrix.budgets.items():
        fits = {target.name for target in targets if fnmatchcase(target.name, glob)}
        if not fits and not report.problems:  # a target that is missing may be the one
            report.add(glob.at, f"{glob!r} matches no target", "fix or remove it")
        targets = tuple(
            replace(target, budget=budget) if target.name in fits else target for target in targets
        )
    return targets
