"""YAML with positions: every value is text, and every complaint names file:line:column.

YAML's own typing is not used: `3.10` stays the text "3.10" and `no` the text "no". Anchors,
aliases, tags, duplicate keys and several documents in one file are refused, because each of them
hides from a reader where a value was said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

from builder.errors import MatrixError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    import yaml

__all__ = ["Items", "Node", "Position", "Report", "Table", "Text", "load"]

# A matrix is seven deep. libyaml ends the process at some ten thousand, or refuses a thousand.
_DEPTH = 20
_NOT_YAML = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Position:
    """Where something was said. Lines and columns count from 1."""

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
        text = super().__new__(cls, value)
        text.at = at
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        return Text, (str(self), self.at)


@dataclass(frozen=True, kw_only=True, slots=True)
class Items:
    """A sequence."""

    items: tuple[Node, ...]
    at: Position


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A mapping; `keys` holds each key with its own position."""

    entries: dict[str, Node]
    keys: dict[str, Text]
    at: Position


class _TooDeepError(Exception):
    """Nested deeper than a matrix may be; `at` is where that begins."""

    def __init__(self, at: Position) -> None:
        super().__init__(at)
        self.at = at


Node: TypeAlias = Union[Text, Items, Table]  # noqa: UP007 - the classes refer to it by name


@dataclass(kw_only=True, slots=True)
class Report:
    """Collects problems, so that all of them are shown at once."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, at: Position, message: str, remedy: str) -> None:
        self.problems.append(
            Problem(file=at.file, line=at.line, column=at.column, message=message, remedy=remedy)
        )

    def raise_if_any(self) -> None:
        if self.problems:
            raise MatrixError(self.problems)


def load(path: Path, report: Report, *, name: str | None = None) -> Table | None:
    """Read the one mapping in `path`; None, with the reason in `report`, if there is none.

    `name` is what messages call the file; by default the path as given.
    """
    import yaml  # 40 ms that `dlc --help` need not pay

    name = name or str(path)
    start = Position(file=name, line=1, column=1)
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        report.add(
            _after(error.object[: error.start].decode("utf-8-sig"), name),
            f"byte 0x{error.object[error.start]:02x} is not UTF-8 text",
            "a matrix is a YAML text file; save it as UTF-8",
        )
        return None
    except OSError as error:
        report.add(start, f"cannot be read ({error.strerror})", "check --matrix")
        return None

    if control := _NOT_YAML.search(content):
        report.add(
            _after(content[: control.start()], name),
            f"control character 0x{ord(control[0]):02x}",
            "a matrix is a YAML text file; remove it",
        )
        return None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    before = len(report.problems)
    try:
        _refuse_what_hides(_events(content, loader, name), name, report)
        if len(report.problems) > before:
            return None
        root = yaml.compose(content, Loader=loader)
    except _TooDeepError as error:
        _report_depth(error.at, report)
        return None
    except yaml.YAMLError as error:
        if deep := _depth_before(error, content, loader, name):
            _report_depth(deep, report)
        else:
            _report_syntax(error, content, name, report)
        return None
    if root is None:
        report.add(start, "the file is empty", "start from the matrix.yaml of this project")
        return None
    node = _convert(root, name, report)
    if isinstance(node, Table):
        return node
    if node is not None:
        report.add(node.at, "the file is not a mapping", "it holds `key: value` lines")
    return None


def _events(content: str, loader: type[yaml.SafeLoader], name: str) -> Iterator[yaml.Event]:
    """Raises _TooDeepError."""
    import yaml

    depth = 0
    for event in yaml.parse(content, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEPTH:
            raise _TooDeepError(_position(event.start_mark, name))
        yield event


def _depth_before(
    error: yaml.YAMLError, content: str, loader: type[yaml.SafeLoader], name: str
) -> Position | None:
    """Where nesting is too deep before an error.

    The scanner is up to 1024 characters ahead of the events, and PyYAML 6.0.4 lets it give up at a
    depth of its own. What it had read by then is read again, without what it gave up at.
    """
    import yaml

    mark = getattr(error, "problem_mark", None)
    try:
        for _ in _events(content[: mark.index] if mark else "", loader, name):
            pass
    except _TooDeepError as deep:
        return deep.at
    except yaml.YAMLError:
        pass
    return None


def _report_depth(at: Position, report: Report) -> None:
    report.add(at, f"nested more than {_DEPTH} deep", "close the brackets before it")


def _refuse_what_hides(events: Iterator[yaml.Event], name: str, report: Report) -> None:
    import yaml

    documents = 0
    for event in events:
        at = _position(event.start_mark, name)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents == 2:
                report.add(at, "a second YAML document", "keep one document in the file")
        elif isinstance(event, yaml.AliasEvent):
            report.add(
                at,
                f"an alias (*{event.anchor})",
                "write the value out; shared values have sections of their own",
            )
        elif isinstance(event, yaml.NodeEvent):
            if event.anchor:
                report.add(at, f"an anchor (&{event.anchor})", "remove it; write the value out")
            if getattr(event, "tag", None) not in (None, "!"):
                report.add(
                    at,
                    f"a YAML tag ({getattr(event, 'tag', '')})",
                    "remove it; every value is text",
                )


def _convert(node: yaml.Node, name: str, report: Report) -> Node | None:
    import yaml

    at = _position(node.start_mark, name)
    if isinstance(node, yaml.ScalarNode):
        plain = not node.style
        if plain and node.value in ("", "~", "null", "Null", "NULL"):
            report.add(at, "there is no value", "write one, or remove it")
            return None
        return Text(node.value, at)
    if isinstance(node, yaml.SequenceNode):
        items = [_convert(item, name, report) for item in node.value]
        return Items(items=tuple(item for item in items if item is not None), at=at)

    entries: dict[str, Node] = {}
    keys: dict[str, Text] = {}
    for key_node, value_node in node.value:
        key_at = _position(key_node.start_mark, name)
        if not isinstance(key_node, yaml.ScalarNode):
            report.add(key_at, "a key that is not text", "use a plain word as the key")
            continue
        key = Text(key_node.value, key_at)
        if key in keys:
            report.add(
                key_at,
                f"{key!r} is a duplicate key",
                f"the first is on line {keys[key].at.line}; keep one",
            )
            continue
        keys[key] = key
        value = _convert(value_node, name, report)
        if value is not None:
            entries[key] = value
    return Table(entries=entries, keys=keys, at=at)


def _report_syntax(error: yaml.YAMLError, content: str, name: str, report: Report) -> None:
    problem, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    mark = problem or context
    at = _position(mark, name) if mark else Position(file=name, line=1, column=1)
    line = [*content.splitlines(), ""][at.line - 1]
    if "\t" in line[: at.column] and not line[: at.column].strip():
        report.add(at, "a tab where YAML wants spaces", "indent with spaces")
        return
    words = (getattr(error, "problem", None), getattr(error, "context", None))
    what = " ".join(word for word in words if word) or str(error)
    where = "there"
    if context and context.line + 1 != at.line:
        where = f"there, or where that begins on line {context.line + 1}"
    report.add(at, f"not YAML: {what}", f"fix the syntax {where}")


def _position(mark: Any, name: str) -> Position:  # libyaml's marks are of a class of their own
    return Position(file=name, line=mark.line + 1, column=mark.column + 1)


def _after(before: str, name: str) -> Position:
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    return Position(file=name, line=line, column=column)
