"""YAML as nodes that know where they are in their file, and a report of what is wrong there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, Union

from builder.errors import MatrixError, Problem

__all__ = ["Items", "Node", "Position", "Report", "Table", "Text"]

# Fixing so many takes long enough; a file of something else has a million.
_MOST_PROBLEMS = 200


class Position(NamedTuple):
    """A place in a file. Lines and columns count from 1.

    A matrix has thousands, and a tuple is the quickest to make.
    """

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def exact(self) -> str:
        """With the column too, as messages about faults have it."""
        return f"{self}:{self.column}"


class Text(str):
    """A scalar, always as the characters in the file, that knows where it stands there.

    It is equal to any text of the same characters, wherever that stands.
    """

    __slots__ = ("at",)
    at: Position

    def __new__(cls, value: str, at: Position) -> Text:  # noqa: PYI034 - Self is newer than 3.10
        text = str.__new__(cls, value)
        text.at = at
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        return Text, (str(self), self.at)


class Items(NamedTuple):
    """A sequence."""

    items: tuple[Node, ...]
    at: Position


class Table(NamedTuple):
    """A mapping; `keys` holds each key with its own position."""

    entries: dict[str, Node]
    keys: dict[str, Text]
    at: Position


Node: TypeAlias = Union[Text, Items, Table]  # noqa: UP007 - the classes refer to it by name


@dataclass(kw_only=True, slots=True)
class Report:
    """Collects problems, so that all of them are shown at once; too many are a MatrixError."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, at: Position, message: str, remedy: str) -> None:
        self.problems.append(
            Problem(file=at.file, line=at.line, column=at.column, message=message, remedy=remedy)
        )
        if len(self.problems) == _MOST_PROBLEMS:
            raise MatrixError(self.problems, complete=False)

    def raise_if_any(self) -> None:
        if self.problems:
            raise MatrixError(self.problems)
