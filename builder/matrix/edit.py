"""Changes of matrix.yaml as text: all that nobody asked to change stays, byte for byte.

YAML's writers reflow lists and move comments, so the file is read for where its nodes are, and text
is put between or in the place of them.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from packaging.version import Version

from builder.errors import MatrixError, Problem
from builder.matrix.format import Upgrade
from builder.matrix.schema import Day
from builder.matrix.yaml_text import YamlText, is_flow

if TYPE_CHECKING:
    import yaml

__all__ = ["MatrixText", "flow"]

_UPGRADES = """
# Packages that are newer than a lock's date allows, each with its reason and the day on which to
# look again; `dlc lock --upgrade` writes them.
upgrades:
"""


class MatrixText(YamlText):
    """The text of a matrix that is sound; each method returns it changed.

    MatrixError where the file is written in a way that cannot be changed there.
    """

    def add_release(self, version: str, lines: Sequence[str]) -> MatrixText:
        """With an entry of `releases`, before the first with a newer Transformers.

        `lines` are its keys and what is below them, indented as below the left edge.
        """
        items = self._sequence(self._value(self._root, "releases"))
        indent = items[0].start_mark.column
        start = self._above(items[-1])
        spaced = len(items) > 1 and not self.text[self._line(start - 1) : start].strip()
        block = [f"{' ' * indent}{line}" for line in lines]
        # The dash stands where the keys' own indentation begins.
        block[0] = f"{' ' * (indent - 2)}- {lines[0]}"
        newer = (
            item
            for item in items
            if _later(self._scalar(self._value(item, "transformers")), version)
        )
        return self._between(next(newer, None), items[-1], block, spaced=spaced)

    def add_framework(self, framework: str, version: str, lines: Sequence[str]) -> MatrixText:
        """With a framework version, before the first newer one; `lines` are as of a release."""
        versions = self._value(self._value(self._root, "frameworks"), framework)
        pairs = versions.value
        indent = pairs[0][0].start_mark.column
        block = [f"{' ' * indent}{version}:", *(f"{' ' * (indent + 2)}{line}" for line in lines)]
        newer = (key for key, _ in pairs if _later(self._scalar(key), version))
        return self._between(next(newer, None), pairs[-1][1], block, spaced=False)

    def limit_constraint(
        self, framework: str, version: str, constraint: str, marker: str
    ) -> MatrixText:
        """With a marker at a constraint of a framework version: it counts nowhere else."""
        versions = self._value(self._value(self._root, "frameworks"), framework)
        constraints = self._value(self._value(versions, version), "constraints")
        [node] = (each for each in constraints.value if self._scalar(each) == constraint)
        start, end = self._mark(node.start_mark), self._mark(node.end_mark)
        return self._replace(start, end, f"{constraint}; {marker}")

    def add_accelerator(self, name: str, line: str) -> MatrixText:
        """With a CUDA toolkit, before the first that is newer or no CUDA toolkit."""
        pairs = self._value(self._root, "accelerators").value
        indent = pairs[0][0].start_mark.column
        keys = ((key, self._scalar(key)) for key, _ in pairs)
        later = (key for key, text in keys if not text.startswith("cu") or text > name)
        block = [f"{' ' * indent}{name}: {line}"]
        return self._between(next(later, None), pairs[-1][1], block, spaced=False)

    def add_entry(
        self, release: str, mode: str, framework: str, libraries: str, entry: Mapping[str, str]
    ) -> MatrixText:
        """With a framework entry in a mode of a release that is there.

        It names its set of libraries if that is not the mode's own.
        """
        item = next(
            each
            for each in self._sequence(self._value(self._root, "releases"))
            if self._scalar(self._value(each, "transformers")) == release
        )
        in_mode = self._find(item, mode)
        if in_mode is None:
            whole = f"{mode}: {{libraries: {libraries}, {framework}: [{flow(entry)}]}}"
            return self._into_mapping(item, whole)
        if self._scalar(self._value(in_mode, "libraries")) != libraries:
            entry = {**entry, "libraries": libraries}
        entries = self._find(in_mode, framework)
        if entries is None:
            return self._into_mapping(in_mode, f"{framework}: [{flow(entry)}]")
        if is_flow(entries):
            return self._insert(self._mark(entries.end_mark) - 1, f", {flow(entry)}")
        dash = self._sequence(entries)[0].start_mark.column - 2
        return self._insert(self._after(entries), f"{' ' * dash}- {flow(entry)}{self._newline}")

    def set_upgrade(self, *given: Upgrade) -> MatrixText:
        """With upgrades of one package, in the place of those of the same, else after the others.

        What stands between those that go stays.
        """
        upgrades = self._find(self._root, "upgrades")
        if upgrades is None:
            text = _UPGRADES.replace("\n", self._newline) + self._items(given, 2)
            return self._insert(self._end_of_document(), text)
        if not upgrades.value:
            if is_flow(upgrades):
                raise self._unfit("a list in brackets cannot be added to here", upgrades)
            [key] = (key for key, _ in self._root.value if key.value == "upgrades")
            return self._insert(self._after(key), self._items(given, 2))
        items = self._sequence(upgrades)
        dash = upgrades.start_mark.column
        spans = []
        for item in items:
            if self._scalar(self._value(item, "package")) == given[0].package:
                start = self._line(self._mark(item.start_mark))
                if self.text[start : self._mark(item.start_mark)].strip() != "-":
                    raise self._unfit("an upgrade that begins below its dash", item)
                spans.append((start, self._after(item)))
        if not spans:
            return self._insert(self._past(items[-1], dash), self._items(given, dash))
        text, (first, *others) = self.text, spans
        for start, end in reversed(others):
            text = text[:start] + text[end:]
        text = text[: first[0]] + self._items(given, dash) + text[first[1] :]
        return MatrixText(text, self._name)

    def pin_base(self, name: str, before: str, digest: str) -> MatrixText:
        """With another digest of a base's image than the one `before`; empty, it has only a tag."""
        bases = self._value(self._root, "bases")
        image = self._value(self._value(bases, name), "image")
        start, end = self._mark(image.start_mark), self._mark(image.end_mark)
        new = digest if before else f"{image.value}@{digest}"
        before = before or image.value
        # More than once if a comment has it, not at all if it is escaped.
        if self.text.count(before, start, end) != 1:
            raise self._unfit(
                f"{name} cannot be updated as its image is written",
                image,
                remedy="write it on one line, like `image: debian:bookworm@sha256:...`",
            )
        at = self.text.index(before, start, end)
        return self._replace(at, at + len(before), new)

    def set_days(self, days: Iterable[Day], to: datetime.date) -> MatrixText:
        """With another day in the places of some."""
        text = self.text
        for day in days:
            line = text.split("\n")[day.at.line - 1]
            start = sum(len(each) + 1 for each in text.split("\n")[: day.at.line - 1])
            start += day.at.column - 1 + (line[day.at.column - 1 : day.at.column] in ("'", '"'))
            if not text.startswith(day.isoformat(), start):
                problem = Problem(
                    file=self._name,
                    line=day.at.line,
                    column=day.at.column,
                    message=f"{day} cannot be changed as it is written",
                    remedy="write it plainly, like 2026-11-28",
                )
                raise MatrixError([problem])
            text = text[:start] + to.isoformat() + text[start + len(day.isoformat()) :]
        return MatrixText(text, self._name)

    def _items(self, upgrades: Sequence[Upgrade], dash: int) -> str:
        return "".join(self._item(each, dash) for each in upgrades)

    def _item(self, upgrade: Upgrade, dash: int) -> str:
        lines = [
            f"- package: {upgrade.package}",
            *([f"  from: {upgrade.oldest}"] if upgrade.oldest else []),
            *([f"  version: {upgrade.version}"] if upgrade.version else []),
            f"  date: {upgrade.date}",
            # A text in double quotes is YAML's as it is JSON's.
            f"  reason: {json.dumps(upgrade.reason, ensure_ascii=False)}",
            f"  until: {upgrade.until}",
        ]
        return "".join(f"{' ' * dash}{line}{self._newline}" for line in lines)

    def _into_mapping(self, mapping: yaml.Node, line: str) -> MatrixText:
        if is_flow(mapping):
            return self._insert(self._mark(mapping.end_mark) - 1, f", {line}")
        indent = mapping.value[0][0].start_mark.column
        return self._insert(self._after(mapping), f"{' ' * indent}{line}{self._newline}")

    def _between(
        self, before: yaml.Node | None, last: yaml.Node, block: Sequence[str], *, spaced: bool
    ) -> MatrixText:
        """With lines before a node and the comments above it, else after the last node."""
        text = "".join(f"{line}{self._newline}" for line in block)
        if before is None:
            return self._insert(self._after(last), (self._newline if spaced else "") + text)
        return self._insert(self._above(before), text + (self._newline if spaced else ""))


def flow(entry: Mapping[str, str]) -> str:
    """An entry on one line.

    >>> flow({"version": "2.1.0"}), flow({"version": "2.1.0", "origin": "own"})
    ('2.1.0', '{version: 2.1.0, origin: own}')
    """
    if len(entry) == 1:
        return entry["version"]
    return f"{{{', '.join(f'{name}: {value}' for name, value in entry.items())}}}"


def _later(version: str, than: str) -> bool:
    return Version(version) > Version(than)
