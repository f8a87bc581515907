"""YAML as text, in which places are found by its nodes, so that all else stays byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.errors import MatrixError, Problem

if TYPE_CHECKING:
    import yaml
    from typing_extensions import Self

__all__ = ["YamlText", "is_flow"]

_BLOCK = "write it as a block, an item on each line"


class YamlText:
    """A text of YAML that is sound, and where its nodes are.

    MatrixError where the file is written in a way that cannot be changed there.
    """

    def __init__(self, text: str, name: str) -> None:
        import yaml

        self._name = name
        self._newline = "\r\n" if "\r\n" in text else "\n"
        if text and not text.endswith("\n"):
            text += self._newline
        self.text = text
        # libyaml leaves a byte order mark out of its count; the other loader is slow.
        self._offset = int(text.startswith("\ufeff"))
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            root = yaml.compose(text[self._offset :], Loader=loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._problem(f"it would be no YAML: {error.problem}", mark) from error
        assert root is not None  # noqa: S101 - a sound matrix is not empty
        self._root: yaml.Node = root

    def _insert(self, index: int, text: str) -> Self:
        return self._replace(index, index, text)

    def _replace(self, start: int, end: int, text: str) -> Self:
        return type(self)(self.text[:start] + text + self.text[end:], self._name)

    def _above(self, node: yaml.Node) -> int:
        """Where the line of a node begins, or that of the first comment directly above it."""
        start = self._line(self._mark(node.start_mark))
        while start:
            before = self._line(start - 1)
            if not self.text[before:start].lstrip(" ").startswith("#"):
                break
            start = before
        return start

    def _line(self, index: int) -> int:
        """Where the line begins that a character is on."""
        return self.text.rfind("\n", 0, index) + 1

    def _after(self, node: yaml.Node) -> int:
        """Where the line after a node's last one begins: blanks and comments there are not its."""
        return self.text.index("\n", self._mark(_end(node))) + 1

    def _past(self, node: yaml.Node, indent: int) -> int:
        """Where the line after a node's last one begins, and after deeper comments below it."""
        end = self._after(node)
        while line := self.text[end : self.text.find("\n", end) + 1]:
            words = line.lstrip(" ")
            if not words.startswith("#") or len(line) - len(words) <= indent:
                break
            end += len(line)
        return end

    def _end_of_document(self) -> int:
        """The end of the text, or where the line begins that ends the document before it."""
        if is_flow(self._root):
            raise self._unfit("a mapping in braces cannot be added to here", self._root)
        last = self._after(self._root)
        marker = self.text.find("\n...", last - 1)
        return marker + 1 if marker >= 0 else len(self.text)

    def _mark(self, mark: yaml.Mark) -> int:
        """Where in the text a mark is."""
        return int(mark.index) + self._offset

    def _value(self, mapping: yaml.Node, key: str) -> yaml.Node:
        found = self._find(mapping, key)
        if found is None:
            raise self._unfit(f"no `{key}` is there to add to", mapping)
        return found

    def _find(self, mapping: yaml.Node, key: str) -> yaml.Node | None:
        return next((value for name, value in mapping.value if name.value == key), None)

    def _sequence(self, node: yaml.Node) -> list[yaml.Node]:
        if is_flow(node):
            raise self._unfit("a list in brackets cannot be added to here", node)
        return list(node.value)

    @staticmethod
    def _scalar(node: yaml.Node) -> str:
        return str(node.value)

    def _unfit(self, message: str, node: yaml.Node, remedy: str = _BLOCK) -> MatrixError:
        return self._problem(message, node.start_mark, remedy)

    def _problem(self, message: str, mark: yaml.Mark | None, remedy: str = _BLOCK) -> MatrixError:
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = Problem(file=self._name, line=line, column=column, message=message, remedy=remedy)
        return MatrixError([problem])


def is_flow(node: yaml.Node) -> bool:
    """Whether a mapping or list is in braces or brackets."""
    return bool(getattr(node, "flow_style", False))


def _end(node: yaml.Node) -> yaml.Mark:
    """Where a node ends; a block's own end would be that of what follows it."""
    import yaml

    if isinstance(node, yaml.CollectionNode) and not is_flow(node):
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return node.end_mark
