"""What the package index has that is newer than anything in the matrix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from packaging.version import Version

from builder.errors import LockError, UnansweredError
from builder.locks.lockfile import pinned
from builder.locks.uv.compile import Question, compile_requirements
from builder.matrix.format import Matrix
from builder.matrix.mirrors import Mirrors

__all__ = ["PACKAGES", "Comparison", "newest", "outdated"]

# Frameworks by their name in the matrix, and their package on the index.
PACKAGES = {"pytorch": "torch", "tensorflow": "tensorflow"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The newest version in the matrix and on the index, of something by its name in the matrix."""

    name: str
    matrix: str
    newest: str

    @property
    def outdated(self) -> bool:
        """Whether the index has a newer one."""
        return Version(self.newest) > Version(self.matrix)


def newest(package: str, *, python: str, mirrors: Mirrors, date: str = "", beside: str = "") -> str:
    """The newest version of a package that has a wheel for a Python, as of a date or today.

    No pre-releases; with a requirement `beside` it, the newest that goes with that. LockError if
    there is none, or the index does not answer.
    """
    question = Question(
        requirements=(package, *([beside] if beside else [])),
        python=python,
        date=date,
        no_deps=not beside,
        only_binary=True,
    )
    try:
        entries = compile_requirements(question, f"the newest {package}", mirrors)
    except UnansweredError:
        raise
    except LockError as error:
        goes = f" that goes with {beside}" if beside else ""
        reason = error.message.partition("\n")[2]
        raise LockError(
            f"the package index has no {package}{goes} for Python {python}"
            f"{f' as of {date}' if date else ''}:\n{reason}",
            remedy="name another version, --python or --date"
            if beside
            else "see the index: that of mirrors.yaml, else of UV_DEFAULT_INDEX",
        ) from error
    return pinned(entries[package])[1]


def outdated(matrix: Matrix, mirrors: Mirrors) -> list[Comparison]:
    """Transformers, datasets and the frameworks, as the index has them for the newest Python.

    LockError if the index does not answer.
    """
    python = _newest(
        text
        for versions in matrix.frameworks.values()
        for version in versions.values()
        for text in (version.python, *(b.python for b in version.builds.values() if b.python))
    )
    had: Mapping[str, Iterable[str]] = {
        "transformers": (release.transformers for release in matrix.releases),
        "datasets": (release.datasets for release in matrix.releases),
        **{framework: matrix.versions(framework) for framework in PACKAGES},
    }
    found = []
    for name, versions in had.items():
        if known := list(versions):
            latest = newest(PACKAGES.get(name, name), python=python, mirrors=mirrors)
            found.append(Comparison(name=name, matrix=_newest(known), newest=latest))
    return found


def _newest(versions: Iterable[str]) -> str:
    return max(versions, key=Version)
