"""A new release, or more of one, as the text of a matrix, and the targets that it brings.

What nobody names is as in the last entry of the same mode, on the same framework version if there
is one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.version import Version

from builder.document import Report
from builder.errors import LockError, MatrixError
from builder.matrix import Entry, FrameworkVersion, Matrix, Release
from builder.matrix_edit import MatrixText, flow
from builder.matrix_reader import read
from builder.matrix_shape import MODES
from builder.new_framework import NewFramework, framework_lines
from builder.outdated import PACKAGES, newest
from builder.target import Target
from builder.targets import load_targets
from builder.uv_compile import Question, UnreachableError, compile_requirements

__all__ = ["Addition", "Wanted", "addition", "check_index"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What somebody wants of a release; None stands for what is usual.

    `today` is a date where none is named; `wheels` are hashes by address, `folders` a wheelhouse's,
    `sources` where wheels are if not where the matrix says.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Addition:
    """The matrix as it would be, and the targets that it has more."""

    text: str
    targets: tuple[Target, ...]


def addition(path: Path, wanted: Wanted) -> Addition:
    """What adding would make of a matrix; nothing is written.

    MatrixError if the result would be unsound or bring nothing, LockError if what is wanted is not
    on the index or cannot be asked.
    """
    report = Report()
    matrix = read(path, report)
    before = load_targets(path)
    report.raise_if_any()
    assert matrix is not None  # noqa: S101 - else there was something to report
    # Its own ends of lines, which reading it as text would change.
    text = MatrixText(path.read_bytes().decode("utf-8"), str(path))
    text = _Adding(matrix, wanted, text).text()
    targets = _targets(path, text.text)
    known = {target.name for target in before}
    new = tuple(target for target in targets if target.name not in known)
    if not new:
        raise LockError(
            f"{path} has Transformers {wanted.transformers} with that already",
            remedy="name another version, mode or device",
        )
    return Addition(text=text.text, targets=new)


def check_index(targets: Iterable[Target]) -> None:
    """LockError unless the index has wheels of what the targets are named for, for their Python."""
    asked: dict[Question, None] = {}
    for target in targets:
        requirements = [f"transformers=={target.transformers}"]
        if target.datasets:
            requirements.append(f"datasets=={target.datasets}")
        requirements.append(f"{PACKAGES[target.framework]}=={target.framework_version}")
        for requirement in requirements:
            asked[
                Question(
                    requirements=(requirement,),
                    python=target.python,
                    date=target.date.isoformat(),
                    alone=True,
                    wheels=True,
                )
            ] = None
    for question in asked:
        [requirement] = question.requirements
        try:
            compile_requirements(question, requirement)
        except UnreachableError:
            raise
        except LockError as error:
            raise LockError(
                f"the package index has no wheel of {requirement} for Python {question.python} "
                f"as of {question.date}",
                remedy="name another version, --python or --date",
            ) from error


class _Adding:
    """One addition to one matrix."""

    def __init__(self, matrix: Matrix, wanted: Wanted, text: MatrixText) -> None:
        self._matrix, self._wanted, self._text = matrix, wanted, text
        known = [version for name, version in matrix.frameworks if name == wanted.framework]
        if not known:
            raise LockError(
                f"the matrix has no {wanted.framework} to go by",
                remedy="write the first version by hand",
            )
        self._newest = max(known, key=Version)
        self._version = wanted.version or self._newest
        self._release: Release | None = next(
            (r for r in matrix.releases if r.transformers.value == wanted.transformers), None
        )

    def text(self) -> MatrixText:
        """The text with everything added."""
        wanted, text = self._wanted, self._text
        framework = self._matrix.frameworks.get((wanted.framework, self._version))
        if framework is None:
            new = self._new_framework()
            text = text.add_framework(wanted.framework, self._version, framework_lines(new))
        if self._release is not None:
            date = self._own_date(framework)
            for mode in wanted.modes:
                entry = self._entry(mode, date)
                text = text.add_entry(
                    wanted.transformers, mode, wanted.framework, self._libraries(mode), entry
                )
            return text
        date = wanted.date or wanted.today
        python = wanted.python or (framework or self._like()).python.value
        datasets = wanted.datasets or newest(
            "datasets", python=python, date=date, beside=f"transformers=={wanted.transformers}"
        )
        lines = [
            f"transformers: {wanted.transformers}",
            f"datasets: {datasets}",
            f"date: {date}",
        ]
        for mode in wanted.modes:
            lines += [
                f"{mode}:",
                f"  libraries: {self._libraries(mode)}",
                f"  {wanted.framework}: [{flow(self._entry(mode, None))}]",
            ]
        return text.add_release(wanted.transformers, lines)

    def _entry(self, mode: str, date: str | None) -> dict[str, str]:
        """The entry of a mode: what it says besides its version, as in the one it goes by."""
        wanted, like = self._wanted, self._last(mode)
        found = {"version": self._version}
        devices = wanted.devices or [text.value for text in (like.devices if like else None) or ()]
        if devices:
            found["devices"] = f"[{', '.join(devices)}]"
        same = like is not None and like.version.value == self._version
        for name in ("python", "base", "accelerator"):
            own = getattr(wanted, name)
            said = getattr(like, name) if same else None
            in_framework = (wanted.framework, self._version) not in self._matrix.frameworks
            if own and not in_framework:
                found[name] = own
            elif said and not own:
                found[name] = said.value
        if date:
            found["date"] = date
        origin = wanted.origin or (like.origin.value if like and like.origin else "official")
        if origin != "official":
            found["origin"] = origin
        return found

    def _own_date(self, framework: FrameworkVersion | None) -> str | None:
        """The date of an entry in a release that is there; None if the release's will do."""
        wanted, release = self._wanted, self._release
        assert release is not None  # noqa: S101
        date = wanted.date
        if date is None and (framework is None or framework.locked.value > release.date.value):
            date = wanted.today
        return date if date != release.date.value else None

    def _libraries(self, mode: str) -> str:
        like = self._last(mode)
        if self._wanted.libraries:
            return self._wanted.libraries
        if like is None:
            raise LockError(
                f"no {mode} with {self._wanted.framework} is there to go by",
                remedy="name a set of libraries: --libraries",
            )
        return like.libraries.value

    def _last(self, mode: str) -> Entry | None:
        """The entry to go by: the last of the mode, on the same version if there is one."""
        entries = [
            entry
            for release in self._matrix.releases
            for entry in release.entries
            if (entry.mode.value, entry.framework.value) == (mode, self._wanted.framework)
        ]
        same = [entry for entry in entries if entry.version.value == self._version]
        on_newest = [entry for entry in entries if entry.version.value == self._newest]
        found = same or on_newest or entries
        return found[-1] if found else None

    def _like(self) -> FrameworkVersion:
        return self._matrix.frameworks[self._wanted.framework, self._newest]

    def _new_framework(self) -> NewFramework:
        wanted, like = self._wanted, self._like()
        devices = [
            *(wanted.devices or ()),
            *(
                text.value
                for mode in wanted.modes
                for entry in [self._last(mode)]
                if not wanted.devices and entry
                for text in entry.devices or ()
            ),
        ] or ["cpu", "gpu"]
        gpu = wanted.accelerator or (like.accelerators["gpu"].value if like.accelerators else None)
        builds = ["cpu"] if "cpu" in devices else []
        if "gpu" in devices:
            if gpu is None:
                raise LockError(
                    f"{wanted.framework} {self._newest} has no accelerator to go by",
                    remedy="name one: --accelerator",
                )
            builds.append(gpu)
        return NewFramework(
            framework=wanted.framework,
            version=self._version,
            date=wanted.date or wanted.today,
            python=wanted.python or like.python.value,
            base=wanted.base or like.base.value,
            builds=builds,
            like=like,
            wheels=wanted.wheels,
            folders=wanted.folders,
            sources={**self._matrix.sources, **wanted.sources},
        )


def _targets(path: Path, text: str) -> tuple[Target, ...]:
    """The targets of a matrix that is not written yet; MatrixError as if it were."""
    with tempfile.TemporaryDirectory(prefix="dlc-matrix-") as folder:
        candidate = Path(folder, "matrix.yaml")
        candidate.write_bytes(text.encode())
        try:
            return load_targets(candidate, name=str(path))
        except MatrixError as error:
            error.args = (f"{path} would not be sound with it:\n{error}",)
            raise
