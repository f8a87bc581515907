"""Keys of a document, each declared once, at the field of the dataclass that it becomes.

What is declared reads the key, reports its mistakes, describes it to editors and in the docs, and
says which value of a target it gives.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from functools import cache
from typing import Any, TypeVar

from builder.matrix.schema import ListOf, MapOf, Shape, Texts, kind
from builder.matrix.yaml_nodes import Node, Report, Table, Text
from builder.util.frozen import dataclass_transform, frozen
from builder.util.text import did_you_mean

__all__ = [
    "Key",
    "Struct",
    "gifts",
    "given",
    "key",
    "located",
    "named",
    "record",
    "struct",
    "structs",
]

T = TypeVar("T")


@frozen
class Key:
    """How a field of a record stands in the file; see `key`."""

    shape: Shape
    meaning: str
    gives: str = ""
    name: str = ""
    required: bool = False

    def schema(self) -> dict[str, Any]:
        schema = self.shape.schema()
        return {**schema, "description": f"{self.meaning} ({schema['description']})"}


@frozen
class Named:
    """A field that is a key on the way to its record; see `named`."""

    level: int
    gives: str = ""


def key(shape: Shape, meaning: str, gives: str = "", *, name: str = "", **default: Any) -> Any:
    """Declare a key of a record: `field: TYPE = key(SHAPE, "What it means.")`.

    `gives` is the value of a target that it gives, as `dlc show` has it; `name` is for a key that
    is a word of Python's. With a `default` or `default_factory` it is optional.
    """
    declared = Key(shape=shape, meaning=meaning, gives=gives, name=name, required=not default)
    return field(metadata={"declared": declared}, **default)


def named(level: int, gives: str = "") -> Any:
    """Declare a field that is one of the keys on the way to its record: -1 is the last."""
    return field(metadata={"declared": Named(level=level, gives=gives)})


def located() -> Any:
    """Declare a field that is where each key of its record stands."""
    return field(metadata={"declared": None})


@dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(key, named, located)
)
def record(cls: type[T]) -> type[T]:
    """A dataclass whose fields are declared."""
    return frozen(cls)


@frozen
class Struct:
    """A mapping with named keys, some of them required; nothing else may stand in it.

    Of the keys in `any_of` there must be at least one. Without a required key it is of no use to
    later checks, unless it is `partial`: what is missing is None then. Text in its place stands for
    the key `short`. `make` gets the values, by the fields of a record that are `declared`.
    """

    what: str
    keys: Mapping[str, Key]
    make: Callable[..., Any] = dict
    declared: Mapping[str, Key | Named | None] = field(default_factory=dict)
    others: Mapping[str, Key | Named | None] = field(default_factory=dict)
    any_of: tuple[str, ...] = ()
    partial: bool = False
    short: str = ""

    def read(self, node: Node, report: Report, names: Texts = ()) -> Any:
        if isinstance(node, Text) and self.short:
            node = Table(entries={self.short: node}, keys={self.short: node}, at=node.at)
        if not isinstance(node, Table):
            report.add(node.at, *self._refusal(node))
            return None
        values = self._values(node, report, names)
        return None if values is None else self._made(values, node, names)

    def _values(self, node: Table, report: Report, names: Texts) -> dict[str, Any] | None:
        values: dict[str, Any] = {}
        for name, text in node.keys.items():
            if name not in self.keys:
                message = f"{name!r} is not a key of {self.what}"
                report.add(text.at, message, did_you_mean(name, self.keys))
            elif name in node.entries:
                value = self.keys[name].shape.read(node.entries[name], report, (*names, text))
                if value is not None:
                    values[name] = value
        required = [name for name, each in self.keys.items() if each.required]
        for name in required:
            if name not in node.keys:
                report.add(node.at, f"{self.what} has no {name!r}", f"add `{name}:`")
        if self.any_of and not any(name in node.keys for name in self.any_of):
            neither = " nor ".join(repr(name) for name in self.any_of)
            report.add(node.at, f"{self.what} has neither {neither}", "add one of them")
            return None
        if self.partial:
            values = {**dict.fromkeys([*required, *self.keys.keys() & node.keys]), **values}
        elif any(name not in values for name in required):
            return None
        return values

    def _made(self, values: dict[str, Any], node: Table, names: Texts) -> Any:
        for name, each in self.others.items():
            if each is None:
                values[name] = {name: text.at for name, text in node.keys.items()}
            elif isinstance(each, Named):
                values[name] = names[each.level]
            elif each.name in values:
                values[name] = values.pop(each.name)
        return self.make(**values)

    def _refusal(self, node: Node) -> tuple[str, str]:
        what, form = self.what, f"a mapping with {', '.join(self.keys)}"
        if self.short:
            shape = self.keys[self.short].shape
            what, form = shape.what, f"one like {getattr(shape, 'like', '')}, or {form}"
        return f"{kind(node)} where {what} belongs", f"write {form}"

    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {name: each.schema() for name, each in self.keys.items()},
            "required": [name for name, each in self.keys.items() if each.required],
            "additionalProperties": False,
            "description": self.what,
        }
        if self.any_of:
            schema["anyOf"] = [{"required": [name]} for name in self.any_of]
        if self.short:
            return {"anyOf": [self.keys[self.short].shape.schema(), schema]}
        return schema


@cache
def _declared(cls: Any) -> dict[str, Key | Named | None]:
    """What is declared of a record, by field."""
    return {each.name: each.metadata["declared"] for each in dataclasses.fields(cls)}


@cache
def _giving(cls: Any) -> tuple[tuple[str, str], ...]:
    """The fields of a record that give a value of a target, each with that value's name."""
    declared = _declared(cls).items()
    return tuple((name, each.gives) for name, each in declared if each and each.gives)


def struct(
    cls: Callable[..., Any],
    what: str,
    *,
    make: Callable[..., Any] | None = None,
    more: Mapping[str, Key] | None = None,
    **options: Any,
) -> Struct:
    """The shape of a record; `make` takes its values, and those of `more` keys, instead."""
    declared = _declared(cls)
    keys = {each.name or name: each for name, each in declared.items() if isinstance(each, Key)}
    keys |= more or {}
    others = {n: each for n, each in declared.items() if not isinstance(each, Key) or each.name}
    return Struct(
        what=what, keys=keys, make=make or cls, declared=declared, others=others, **options
    )


def structs(shape: Any, place: str = "") -> Iterator[tuple[Struct, str]]:
    """The records of a shape and below it, each with where it stands: `releases[].training`."""
    if isinstance(shape, ListOf):
        yield from structs(shape.item, f"{place}[]")
    elif isinstance(shape, MapOf):
        yield from structs(shape.value, f"{place}.*")
    elif isinstance(shape, Struct):
        yield shape, place
        for name, each in shape.keys.items():
            yield from structs(each.shape, f"{place}.{name}".lstrip("."))


def gifts(shape: Any) -> tuple[str, ...]:
    """The values of a target that the keys of a shape, and of those below it, give."""
    found = (each for struct, _ in structs(shape) for each in struct.declared.values())
    return tuple(dict.fromkeys(each.gives for each in found if each and each.gives))


def given(*records: Any, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What records give a target, by its name there, after what others gave it `before`.

    Lists are joined and mappings merged; of other values that several give, the last one counts.
    """
    found: dict[str, Any] = dict(before or {})
    for each in records:
        for name, gives in _giving(each.__class__):
            value = getattr(each, name)
            if not value:
                continue
            if isinstance(value, tuple):
                value = (*found.get(gives, ()), *value)
            elif isinstance(value, dict):
                value = {**found.get(gives, {}), **value}
            found[gives] = value
    return found
