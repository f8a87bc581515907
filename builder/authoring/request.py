"""What somebody wants of a new release: whether it makes sense, and whether the index has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.version import Version

from builder.authoring.outdated import PACKAGES
from builder.errors import LockError, UnansweredError
from builder.locks.uv.compile import Question, compile_requirements
from builder.matrix.mirrors import NO_MIRRORS, Mirrors
from builder.matrix.target import Target
from builder.matrix.values import ASKED, FRAMEWORKS, MODES
from builder.matrix.yaml_nodes import Position, Report, Text

__all__ = ["ReleaseRequest", "check_index", "mistakes", "refuse_missing", "without_wheels"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseRequest:
    """What somebody wants of a release; None stands for what is usual.

    `today` is a date where none is named; `wheels` are hashes by address, `folders` a wheelhouse's,
    `sources` where wheels are if not where the matrix says, `mirrors` a site's.
    """

    transformers: str
    framework: str
    today: str
    version: str | None = None
    datasets: str | None = None
    date: str | None = None
    modes: Sequence[str] = MODES
    devices: Sequence[str] | None = None
    python: str | None = None
    base: str | None = None
    accelerator: str | None = None
    libraries: str | None = None
    origin: str | None = None
    wheels: Mapping[str, str] = field(default_factory=dict)
    folders: Sequence[Path] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    mirrors: Mirrors = NO_MIRRORS


def mistakes(given: Mapping[str, str | None], *, today: str) -> list[str]:
    """What cannot be, of what is said by option; `today` is the last date that is known whole.

    >>> mistakes({"transformers": "4.57.1", "date": "2026-11-22", "base": None}, today="2026-11-21")
    ['--date: 2026-11-22 is in the future: its locks would not be reproducible; give another date']
    """
    found = []
    for name, value in given.items():
        if value is None:
            continue
        report = Report()
        node = Text(value, Position(file="", line=0, column=0))
        ASKED[name].read(node, report)
        wrong = [f"{each.message}; {each.remedy}" for each in report.problems]
        versions = name in {"transformers", "datasets", *FRAMEWORKS}
        if not wrong and versions and (usual := str(Version(value))) != value:
            wrong = [f"{value!r} is not a normalised version; write {usual}"]
        if not wrong and name == "date" and value > today:
            wrong = [
                f"{value} is in the future: its locks would not be reproducible; give another date"
            ]
        found += [f"--{name}: {each}" for each in wrong]
    return found


def check_index(targets: Iterable[Target], mirrors: Mirrors) -> None:
    """LockError unless the index has wheels of what the targets are named for, for their Python."""
    asked: dict[Question, None] = {}
    for target in targets:
        requirements = [f"transformers=={target.transformers}"]
        if target.datasets:
            requirements.append(f"datasets=={target.datasets}")
        requirements.append(f"{PACKAGES[target.framework]}=={target.framework_version}")
        for requirement in requirements:
            asked[_question(requirement, target.python, target.date.isoformat())] = None
    _refuse([question for question in asked if not _has(question, mirrors)])


def refuse_missing(
    requirements: Iterable[str], pythons: Sequence[str], date: str, mirrors: Mirrors
) -> None:
    """LockError, with all of them, where the index has a wheel for none of some Pythons."""
    missing = []
    for requirement in requirements:
        questions = [_question(requirement, python, date) for python in pythons]
        if not any(_has(question, mirrors) for question in questions):
            missing.append(questions[0])
    _refuse(missing)


def without_wheels(
    requirements: Iterable[str], python: str, date: str, mirrors: Mirrors
) -> list[str]:
    """The requirements that the index has no wheel within, for a Python."""
    return [text for text in requirements if not _has(_question(text, python, date), mirrors)]


def _question(requirement: str, python: str, date: str) -> Question:
    return Question(
        requirements=(requirement,), python=python, date=date, no_deps=True, only_binary=True
    )


def _has(question: Question, mirrors: Mirrors) -> bool:
    try:
        compile_requirements(question, question.requirements[0], mirrors)
    except UnansweredError:
        raise
    except LockError:
        return False
    return True


def _refuse(missing: Sequence[Question]) -> None:
    if not missing:
        return
    lines = [f"{q.requirements[0]} for Python {q.python} as of {q.date}" for q in missing]
    what = (
        f"wheel of {lines[0]}" if len(lines) == 1 else "wheels of\n  " + "\n  ".join(lines) + "\n "
    )
    raise LockError(
        f"the package index has no {what}", remedy="name another version, --python or --date"
    )
