"""What a document may look like: one description that reads nodes and yields JSON schema.

A shape's `read` reports every mistake below a node and returns its value without the broken parts,
so that later checks can go on with what is sound; None if nothing of it is. `names` are the keys on
the way to the node. builder.matrix.keys has the shape of records.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, TypeAlias, TypeVar

from builder.matrix.yaml_nodes import Items, Node, Position, Report, Table, Text
from builder.util.frozen import frozen
from builder.util.text import did_you_mean

__all__ = [
    "DateOf",
    "Day",
    "ListOf",
    "MapOf",
    "Section",
    "Shape",
    "TextOf",
    "Texts",
    "kind",
    "where",
]

T = TypeVar("T")
Texts: TypeAlias = tuple[Text, ...]


class Shape(Protocol):
    """Anything that can read a node and describe itself."""

    @property
    def what(self) -> str: ...

    def read(self, node: Node, report: Report, names: Texts = ()) -> Any: ...

    def schema(self) -> dict[str, Any]: ...


class Day(datetime.date):
    """A date that knows where it stands."""

    at: Position

    @classmethod
    def of(cls, text: Text) -> Day:
        """The day that a text names; ValueError if the calendar has none."""
        day = cls.fromisoformat(text)
        day.at = text.at
        return day


class Section(dict[str, T]):
    """The sound entries of a mapping; `named` are all its keys, those of broken entries too."""

    named: tuple[Text, ...] = ()


def where(value: Any) -> Position | None:
    """Where a value stands, or the first of several; None if no file says it."""
    if isinstance(value, (tuple, Mapping)):
        return next((where(each) for each in value), None)
    at = getattr(value, "at", None)
    return at if isinstance(at, Position) else None


def kind(node: Node) -> str:
    """What a node is, for a message."""
    return {Text: "text", Items: "a list", Table: "a mapping"}[type(node)]


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Quicker than the cache of `re`, for thousands of texts."""
    return re.compile(pattern, re.ASCII)


@frozen
class TextOf:
    """Text that is one of `choices`, or matches `pattern` whole, or anything if neither is given.

    `what` names it in messages and `like` is an example; `number` says that editors, which read
    YAML's types, may see a number where we read text (`3.10`).
    """

    what: str
    like: str = ""
    pattern: str = r"[^\n]+"
    choices: tuple[str, ...] = ()
    number: bool = False

    def read(self, node: Node, report: Report, names: Texts = ()) -> Any:  # noqa: ARG002
        if not isinstance(node, Text):
            report.add(node.at, f"{kind(node)} where {self.what} belongs", self._remedy())
            return None
        if self.choices and node not in self.choices:
            report.add(node.at, f"{node!r} is not {self.what}", did_you_mean(node, self.choices))
            return None
        if not _compiled(self.pattern).fullmatch(node):
            report.add(node.at, f"{node!r} is not {self.what}", self._remedy())
            return None
        return node

    def _remedy(self) -> str:
        if self.choices:
            return f"write {' or '.join(self.choices)}"
        return f"write one like {self.like}" if self.like else "write one value"

    def schema(self) -> dict[str, Any]:
        if self.choices:
            return {"enum": list(self.choices), "description": self.what}
        types: str | list[str] = ["string", "number"] if self.number else "string"
        what = f"{self.what} like {self.like}" if self.like else self.what
        return {"type": types, "pattern": f"^({self.pattern})$", "description": what}


@frozen
class DateOf(TextOf):
    """A day of the calendar, year first."""

    def read(self, node: Node, report: Report, names: Texts = ()) -> Any:
        text = TextOf.read(self, node, report, names)
        try:
            return text and Day.of(text)
        except ValueError:
            report.add(node.at, f"{text} is not a valid date", "write another")
            return None

    def schema(self) -> dict[str, Any]:
        return {**TextOf.schema(self), "format": "date"}


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of one shape with at least one item, as a tuple."""

    item: Shape
    what: str

    def read(self, node: Node, report: Report, names: Texts = ()) -> Any:
        if not isinstance(node, Items):
            message = f"{kind(node)} where {self.what} belong"
            report.add(node.at, message, "write a list: [one, two]")
            return None
        if not node.items:
            report.add(node.at, f"no {self.what}", "name one, or remove the key")
            return None
        found = (self.item.read(item, report, names) for item in node.items)
        return tuple(item for item in found if item is not None)

    def schema(self) -> dict[str, Any]:
        items = self.item.schema()
        return {"type": "array", "items": items, "minItems": 1, "description": self.what}


@dataclass(frozen=True, slots=True)
class MapOf:
    """A mapping whose keys have one shape and whose values another, with at least one key."""

    key: TextOf
    value: Shape
    what: str

    def read(self, node: Node, report: Report, names: Texts = ()) -> Any:
        if not isinstance(node, Table):
            report.add(node.at, f"{kind(node)} where {self.what} belong", "write `name: value`")
            return None
        if not node.keys:
            report.add(node.at, f"no {self.what}", "name one, or remove the key")
            return None
        found: Section[Any] = Section()
        found.named = tuple(node.keys.values())
        for name in node.keys.values():
            sound = self.key.read(name, report)
            if name in node.entries:
                value = self.value.read(node.entries[name], report, (*names, name))
                if value is not None and sound is not None:
                    found[name] = value
        return found

    def schema(self) -> dict[str, Any]:
        names = (
            {"enum": list(self.key.choices)}
            if self.key.choices
            else {"pattern": f"^({self.key.pattern})$"}
        )
        return {
            "type": "object",
            "propertyNames": names,
            "additionalProperties": self.value.schema(),
            "minProperties": 1,
            "description": self.what,
        }
