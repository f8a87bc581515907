"""What a document may look like: one description that both checks nodes and yields JSON schema.

A shape's `check` reports every mistake below a node and returns the node without its broken
parts, so that later checks can go on with what is sound; None if nothing of it is.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from builder.matrix.yaml_nodes import Items, Node, Report, Table, Text
from builder.util.text import did_you_mean

__all__ = ["DateOf", "Either", "ListOf", "MapOf", "Record", "Shape", "TextOf"]


class Shape(Protocol):
    """Anything that can check a node and describe itself."""

    def check(self, node: Node, report: Report) -> Node | None: ...

    def schema(self) -> dict[str, Any]: ...


def _kind(node: Node) -> str:
    return {Text: "text", Items: "a list", Table: "a mapping"}[type(node)]


@dataclass(frozen=True, kw_only=True, slots=True)
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

    def check(self, node: Node, report: Report) -> Node | None:
        if not isinstance(node, Text):
            report.add(node.at, f"{_kind(node)} where {self.what} belongs", self._remedy())
            return None
        if self.choices and node not in self.choices:
            report.add(
                node.at,
                f"{node!r} is not {self.what}",
                did_you_mean(node, self.choices),
            )
            return None
        if not re.fullmatch(self.pattern, node, re.ASCII):
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
        kind: str | list[str] = ["string", "number"] if self.number else "string"
        what = f"{self.what} like {self.like}" if self.like else self.what
        return {"type": kind, "pattern": f"^({self.pattern})$", "description": what}


@dataclass(frozen=True, kw_only=True, slots=True)
class DateOf:
    """A day of the calendar, year first."""

    text: TextOf

    def check(self, node: Node, report: Report) -> Node | None:
        checked = self.text.check(node, report)
        if isinstance(checked, Text):
            try:
                datetime.date.fromisoformat(checked)
            except ValueError:
                report.add(node.at, f"{checked} is in no calendar", "mend the day")
                return None
        return checked

    def schema(self) -> dict[str, Any]:
        return {**self.text.schema(), "format": "date"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ListOf:
    """A list of one shape with at least one item."""

    item: Shape
    what: str

    def check(self, node: Node, report: Report) -> Node | None:
        if not isinstance(node, Items):
            report.add(
                node.at, f"{_kind(node)} where {self.what} belong", "write a list: [one, two]"
            )
            return None
        if not node.items:
            report.add(node.at, f"no {self.what}", "name one, or remove the key")
            return None
        checked = [self.item.check(item, report) for item in node.items]
        return Items(items=tuple(item for item in checked if item is not None), at=node.at)

    def schema(self) -> dict[str, Any]:
        return {
            "type": "array",
            "items": self.item.schema(),
            "minItems": 1,
            "description": self.what,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class MapOf:
    """A mapping whose keys have one shape and whose values another, with at least one key."""

    key: TextOf
    value: Shape
    what: str

    def check(self, node: Node, report: Report) -> Node | None:
        if not isinstance(node, Table):
            report.add(node.at, f"{_kind(node)} where {self.what} belong", "write `name: value`")
            return None
        if not node.keys:
            report.add(node.at, f"no {self.what}", "name one, or remove the key")
            return None
        entries = {}
        for name, key in node.keys.items():
            sound = self.key.check(key, report)
            if name in node.entries:
                value = self.value.check(node.entries[name], report)
                if value is not None and sound is not None:
                    entries[name] = value
        return Table(entries=entries, keys=node.keys, at=node.at)

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A mapping with named fields, some of them required; nothing else may stand in it.

    Of the optional fields in `any_of` there must be at least one. A record that lacks a required
    field is of no use to later checks, unless it is `partial`.
    """

    what: str
    required: Mapping[str, Shape] = field(default_factory=dict)
    optional: Mapping[str, Shape] = field(default_factory=dict)
    any_of: tuple[str, ...] = ()
    partial: bool = False

    def check(self, node: Node, report: Report) -> Node | None:
        if not isinstance(node, Table):
            report.add(
                node.at,
                f"{_kind(node)} where {self.what} belongs",
                f"write a mapping with {', '.join([*self.required, *self.optional])}",
            )
            return None
        fields = {**self.required, **self.optional}
        entries = {}
        for name, key in node.keys.items():
            if name not in fields:
                report.add(
                    key.at, f"{name!r} is not a key of {self.what}", did_you_mean(name, fields)
                )
            elif name in node.entries:
                value = fields[name].check(node.entries[name], report)
                if value is not None:
                    entries[name] = value
        missing = [name for name in self.required if name not in node.keys]
        for name in missing:
            report.add(node.at, f"{self.what} has no {name!r}", f"add `{name}:`")
        if self.any_of and not any(name in node.keys for name in self.any_of):
            report.add(
                node.at,
                f"{self.what} has neither {' nor '.join(repr(name) for name in self.any_of)}",
                "add one of them",
            )
            return None
        if not self.partial and any(name not in entries for name in self.required):
            return None
        return Table(entries=entries, keys=node.keys, at=node.at)

    def schema(self) -> dict[str, Any]:
        fields = {**self.required, **self.optional}
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {name: shape.schema() for name, shape in fields.items()},
            "required": list(self.required),
            "additionalProperties": False,
            "description": self.what,
        }
        if self.any_of:
            schema["anyOf"] = [{"required": [name]} for name in self.any_of]
        return schema


@dataclass(frozen=True, kw_only=True, slots=True)
class Either:
    """A short form as text, or the whole record."""

    text: TextOf
    record: Record

    def check(self, node: Node, report: Report) -> Node | None:
        if isinstance(node, Items):
            report.add(
                node.at,
                f"a list where {self.text.what} belongs",
                f"write one like {self.text.like}, or a mapping with {', '.join(self._keys())}",
            )
            return None
        return (self.text if isinstance(node, Text) else self.record).check(node, report)

    def _keys(self) -> list[str]:
        return [*self.record.required, *self.record.optional]

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [self.text.schema(), self.record.schema()]}
