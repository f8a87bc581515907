"""Reads YAML as nodes: every value is text, and every complaint names file:line:column.

YAML's own typing is not used: `3.10` stays the text "3.10" and `no` the text "no". Anchors,
aliases, tags, duplicate keys and several documents in one file are refused, because each of them
hides from a reader where a value is defined.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.matrix.yaml_nodes import Items, Node, Position, Report, Table, Text

if TYPE_CHECKING:
    import yaml

__all__ = ["load"]

# A hundred times the largest matrix; what is larger, a device perhaps, is none.
_MOST_BYTES = 64 * 1024 * 1024
# A matrix is seven deep. libyaml ends the process at some ten thousand, or refuses a thousand.
_DEPTH = 20
_NO_VALUE = frozenset({"", "~", "null", "Null", "NULL"})
# Of what UTF-8 can say.
_NOT_YAML = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]"


class _TooDeepError(Exception):
    """Nested deeper than a matrix may be; `at` is where that begins."""

    def __init__(self, at: Position) -> None:
        super().__init__(at)
        self.at = at


def load(
    path: Path, report: Report, *, name: str | None = None, what: str = "matrix"
) -> Table | None:
    """Read the one mapping in `path`; None, with the reason in `report`, if there is none.

    `name` is what messages call the file, by default the path as given; `what` is what it holds,
    and the option that names it.
    """
    import yaml  # 40 ms that `dlc --help` need not pay

    name = name or str(path)
    start = Position(file=name, line=1, column=1)
    try:
        content = _read(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        report.add(
            _after(error.object[: error.start].decode("utf-8-sig"), name),
            f"byte 0x{error.object[error.start]:02x} is not UTF-8 text",
            f"{_kind(what)} is a YAML text file; save it as UTF-8",
        )
        return None
    except OSError as error:
        report.add(start, f"cannot be read ({error.strerror})", f"check --{what}")
        return None

    reader = _Reader(content, name, report)
    before = len(report.problems)
    try:
        documents = reader.documents()
    except _TooDeepError as error:
        _report_depth(error.at, report)
        return None
    except yaml.YAMLError as error:
        if control := re.search(_NOT_YAML, content):
            report.add(
                _after(content[: control.start()], name),
                f"control character 0x{ord(control[0]):02x}",
                f"{_kind(what)} is a YAML text file; remove it",
            )
        elif deep := _depth_before(error, content, name):
            _report_depth(deep, report)
        else:
            _report_syntax(error, content, name, report)
        return None
    if len(report.problems) > before:
        return None
    if not documents:
        start_from = "start from the matrix.yaml of this project"
        report.add(
            start, "the file is empty", start_from if what == "matrix" else "fill or remove it"
        )
        return None
    report.problems += reader.faults.problems
    node = documents[0]
    if isinstance(node, Table):
        return node
    if node is not None:
        report.add(node.at, "the file is not a mapping", "it holds `key: value` lines")
    return None


def _read(path: Path) -> bytes:
    """The bytes of a file; OSError for a pipe or a device, which may never end."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(None, "it is a pipe or a device, not a file")
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise OSError(None, f"it is larger than {_MOST_BYTES // 2**20} MiB")
    return content


def _kind(what: str) -> str:
    return "a matrix" if what == "matrix" else f"a file of {what}"


class _Reader:
    """Makes nodes in one pass over a file's events.

    What hides a value from a reader goes to `report`; if nothing does, `faults` are those of the
    values.
    """

    def __init__(self, content: str, name: str, report: Report) -> None:
        import yaml

        self._yaml = yaml
        # libyaml's is ten times as fast.
        self._parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(content)
        self._name = name
        self._report = report
        self.faults = Report()

    def documents(self) -> list[Node | None]:
        """The file's documents. Raises _TooDeepError and YAMLError."""
        found: list[Node | None] = []
        for event in iter(self._parser.get_event, None):
            if isinstance(event, self._yaml.DocumentStartEvent):
                if len(found) == 1:
                    at = _position(event.start_mark, self._name)
                    self._report.add(at, "a second YAML document", "keep one document in the file")
                found.append(self._node(self._parser.get_event(), 0))
        return found

    def _at(self, event: Any) -> Position:
        """Where a node begins; what it has that hides a value is reported."""
        mark = event.start_mark
        at = Position(self._name, mark.line + 1, mark.column + 1)
        if event.__class__ is self._yaml.AliasEvent:
            remedy = "write the value out; shared values have sections of their own"
            self._report.add(at, f"an alias (*{event.anchor})", remedy)
            return at
        if event.anchor:
            self._report.add(at, f"an anchor (&{event.anchor})", "remove it; write the value out")
        if event.tag not in (None, "!"):
            self._report.add(at, f"a YAML tag ({event.tag})", "remove it; every value is text")
        return at

    def _node(self, event: yaml.Event, depth: int) -> Node | None:
        """What begins with an event; None, with the reason, if it has no value."""
        at = self._at(event)
        if isinstance(event, self._yaml.ScalarEvent):
            if not event.style and event.value in _NO_VALUE:
                self.faults.add(at, "there is no value", "write one, or remove it")
                return None
            return Text(event.value, at)
        if isinstance(event, self._yaml.AliasEvent):
            return None
        if depth == _DEPTH:
            raise _TooDeepError(at)
        if isinstance(event, self._yaml.SequenceStartEvent):
            return self._items(at, depth + 1)
        return self._table(at, depth + 1)

    def _items(self, at: Position, depth: int) -> Items:
        items = []
        while not isinstance(event := self._parser.get_event(), self._yaml.SequenceEndEvent):
            if (item := self._node(event, depth)) is not None:
                items.append(item)
        return Items(items=tuple(items), at=at)

    def _table(self, at: Position, depth: int) -> Table:
        entries: dict[str, Node] = {}
        keys: dict[str, Text] = {}
        while not isinstance(event := self._parser.get_event(), self._yaml.MappingEndEvent):
            key = self._key(event, depth)
            if key is None or key in keys:
                if key is not None:
                    remedy = f"the first is on line {keys[key].at.line}; keep one"
                    self.faults.add(key.at, f"{key!r} is a duplicate key", remedy)
                self._skip(self._parser.get_event(), depth)
                continue
            keys[key] = key
            value = self._node(self._parser.get_event(), depth)
            if value is not None:
                entries[key] = value
        return Table(entries=entries, keys=keys, at=at)

    def _key(self, event: yaml.Event, depth: int) -> Text | None:
        """A key, which may be a word that would be no value; None, with the reason, if not text."""
        if isinstance(event, self._yaml.ScalarEvent):
            return Text(event.value, self._at(event))
        at = _position(event.start_mark, self._name)
        self._skip(event, depth)
        self.faults.add(at, "a key that is not text", "use a plain word as the key")
        return None

    def _skip(self, event: yaml.Event, depth: int) -> None:
        """Read on to a node's end, without its faults: nothing is to become of it."""
        before = len(self.faults.problems)
        self._node(event, depth)
        del self.faults.problems[before:]


def _depth_before(error: yaml.YAMLError, content: str, name: str) -> Position | None:
    """Where nesting is too deep before an error.

    The scanner is up to 1024 characters ahead of the events, and PyYAML 6.0.4 lets it give up at a
    depth of its own. What it had read by then is read again, without what it gave up at: that is
    at the problem, or begins at its context.
    """
    import yaml

    for which in ("problem_mark", "context_mark"):
        mark = getattr(error, which, None)
        try:
            _Reader(content[: mark.index] if mark else "", name, Report()).documents()
        except _TooDeepError as deep:
            return deep.at
        except yaml.YAMLError:
            pass
    return None


def _report_depth(at: Position, report: Report) -> None:
    report.add(at, f"nested more than {_DEPTH} deep", "close the brackets before it")


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
    return Position(name, mark.line + 1, mark.column + 1)


def _after(before: str, name: str) -> Position:
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    return Position(file=name, line=line, column=column)
