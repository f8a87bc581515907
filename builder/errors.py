"""Every error a user can meet: one class, one exit code and one remedy each.

Exit code 2 is click's own, for wrong command lines; 1 is left to unforeseen failures.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = [
    "AdvisoryError",
    "ArgumentError",
    "BaseImageError",
    "BuildError",
    "ContainerError",
    "DlcError",
    "DriftError",
    "EngineError",
    "FindingError",
    "Interrupted",
    "InventoryError",
    "LockError",
    "MatrixError",
    "Problem",
    "PushError",
    "RegionError",
    "RegistryError",
    "RenderError",
    "SelectionError",
    "SignatureError",
    "StaleLockError",
    "TagError",
    "UnansweredError",
    "UnreachableError",
    "WriteError",
]


class Problem(NamedTuple):
    """One mistake in a file. Lines and columns count from 1. They sort by place."""

    file: str
    line: int
    column: int
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}; {self.remedy}"


class DlcError(Exception):
    """An error with a message for the user: what is wrong, where, and what to do."""

    exit_code = 1

    def __init__(self, message: str, *, remedy: str = "") -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message}; {remedy}" if remedy else message)


class ArgumentError(DlcError):
    """The value of an option or argument is invalid; the code is click's own for such mistakes."""

    exit_code = 2


class MatrixError(DlcError):
    """The matrix has mistakes; each is listed once, in the order of the file.

    Not `complete` are those of a file that was not looked at to its end.
    """

    exit_code = 3

    def __init__(self, problems: Iterable[Problem], *, complete: bool = True) -> None:
        self.problems = tuple(sorted(set(problems)))
        lines = [str(problem) for problem in self.problems]
        if not complete:
            lines.append("there are more mistakes; fix these first")
        super().__init__("\n".join(lines))


class SelectionError(DlcError):
    """A selector matches no target."""

    exit_code = 4


class TagError(DlcError):
    """A text is not a tag, repository name or image URI of the grammar."""

    exit_code = 5


class RegionError(DlcError):
    """A region is not known."""

    exit_code = 6


class DriftError(DlcError):
    """What is committed under images/ is not what the matrix renders to."""

    exit_code = 7


class RenderError(DlcError):
    """A template is missing or wrong."""

    exit_code = 8


class LockError(DlcError):
    """Requirements cannot be resolved, or have no hash."""

    exit_code = 9


class EngineError(DlcError):
    """No Docker Engine can be reached or started, or it lacks something we need."""

    exit_code = 10


class BaseImageError(DlcError):
    """A base cannot be had or asked for, or is past its end of life where that matters."""

    exit_code = 11


class BuildError(DlcError):
    """At least one target did not build."""

    exit_code = 12


class ContainerError(DlcError):
    """A container did not start, become ready or answer as it must."""

    exit_code = 13


class PushError(DlcError):
    """An image could not be pushed whole."""

    exit_code = 14


class RegistryError(DlcError):
    """A registry does not answer, or refuses what it is asked.

    `status` is that of HTTP, 0 without an answer; `code` the registry's own word for why.
    """

    exit_code = 15

    def __init__(self, message: str, *, remedy: str = "", status: int = 0, code: str = "") -> None:
        self.status = status
        self.code = code
        super().__init__(message, remedy=remedy)


class UnansweredError(LockError):
    """An index cannot say what is asked, which is no answer: neither yes nor no."""


class UnreachableError(UnansweredError):
    """An index or a wheel's source does not answer."""


class StaleLockError(LockError):
    """A lock is missing, or is not what the matrix says now."""

    exit_code = 16


class InventoryError(DlcError):
    """What is in an image is not what its locks say, or is not told as an inventory tells it."""

    exit_code = 17


class AdvisoryError(DlcError):
    """Advisories cannot be had, or are none: nothing is said about any package."""

    exit_code = 18


class FindingError(DlcError):
    """Packages have known vulnerabilities that nobody has accepted."""

    exit_code = 19


class SignatureError(DlcError):
    """An image in a registry is not there, or not signed as it must be."""

    exit_code = 20


class WriteError(DlcError):
    """A file cannot be written: the disk is full, its folder is missing or others own it."""


class Interrupted(DlcError):  # noqa: N818 - not a mistake of anybody
    """Ctrl-C, or SIGTERM or SIGHUP, which do the same; 130 is the shell's own code for Ctrl-C."""

    exit_code = 130
