"""A matrix and what follows from it, rewritten together or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from builder.errors import MatrixError, WriteError
from builder.matrix.edit import MatrixText
from builder.matrix.format import Matrix
from builder.matrix.read import read
from builder.matrix.target import Target
from builder.matrix.targets import expand
from builder.matrix.yaml_nodes import Report
from builder.util import atomic
from builder.util.scratch import scratch

__all__ = ["Edit", "Original", "load"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """A matrix as it would be: sound, and not written yet."""

    path: Path
    before: bytes
    after: bytes
    matrix: Matrix
    targets: tuple[Target, ...]

    def save(self, files: Iterable[atomic.File] = ()) -> None:
        """Write what follows from it, and the matrix last; all or nothing.

        WriteError names what cannot be written, or a matrix that somebody else has changed.
        """
        if self.path.read_bytes() != self.before:
            raise WriteError(
                f"{self.path} was changed meanwhile; nothing was written",
                remedy="run the command again",
            )
        atomic.write_all([*files, atomic.File(path=self.path, content=self.after)])


class Original:
    """A matrix as its file has it now; MatrixError with all its mistakes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.matrix, self.targets = load(path)
        # Its own ends of lines, which reading it as text would change.
        self._before = path.read_bytes()
        self.text = MatrixText(self._before.decode("utf-8"), str(path))

    def edited(self, text: MatrixText) -> Edit:
        """What it would be; MatrixError if that would not be sound."""
        after = text.text.encode()
        with scratch("matrix") as folder:
            candidate = folder / "matrix.yaml"
            candidate.write_bytes(after)
            try:
                matrix, targets = load(candidate, name=str(self.path))
            except MatrixError as error:
                error.args = (f"{self.path} would not be sound with it:\n{error}",)
                raise
        return Edit(
            path=self.path, before=self._before, after=after, matrix=matrix, targets=targets
        )


def load(path: Path, *, name: str | None = None) -> tuple[Matrix, tuple[Target, ...]]:
    """A matrix and its targets, which may be none; MatrixError with all its mistakes."""
    report = Report()
    matrix = read(path, report, name=name)
    targets = expand(matrix, report) if matrix is not None else ()
    report.raise_if_any()
    assert matrix is not None  # noqa: S101 - else there was something to report
    return matrix, targets
