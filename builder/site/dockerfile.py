"""A Dockerfile for reading: its sections, highlighted, each with the line of its template."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, NamedTuple

from markupsafe import Markup

__all__ = ["Section", "Templates", "highlighted", "sections"]

_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_CODE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}")
_SPACE = re.compile(r'<span class="w">(\s+)</span>')
# Fewer literal characters than these fit too much.
_DISTINCT = 6
_MACROS = re.compile(r"\{%-? *macro ")


class Place(NamedTuple):
    """A line of a template."""

    template: str
    line: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Lines of a Dockerfile up to an empty one; `place` is where its template has them."""

    text: str
    line: int
    place: Place | None

    @property
    def html(self) -> Markup:
        """Highlighted."""
        return highlighted(self.text)


class Templates:
    """The templates' own lines, to find where a line of a Dockerfile comes from."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._exact: dict[str, list[Place]] = {}
        self._patterns: list[tuple[re.Pattern[str], Place]] = []
        self._known: dict[str, tuple[Place, ...]] = {}
        self._sections: dict[str, Place | None] = {}
        self._macros = {name for name, source in sources.items() if _MACROS.search(source)}
        for name, source in sources.items():
            for number, line in enumerate(_uncommented(source).splitlines(), 1):
                self._add(line.strip(), Place(name, number))

    def _add(self, line: str, place: Place) -> None:
        literals = _CODE.split(line)
        if sum(map(len, literals)) < _DISTINCT:
            return
        if len(literals) == 1:
            self._exact.setdefault(line, []).append(place)
        else:
            pattern = ".*".join(map(re.escape, literals))
            self._patterns.append((re.compile(pattern), place))

    def place(self, section: str) -> Place | None:
        """Where a section begins in the template that has most of its lines; None if none does."""
        if section not in self._sections:
            self._sections[section] = self._find(section)
        return self._sections[section]

    def _find(self, section: str) -> Place | None:
        votes: Counter[str] = Counter()
        first: dict[str, int] = {}
        for line in section.splitlines():
            places = self._places(line.strip())
            # A line that several have says little of each.
            for name in {each.template for each in places}:
                votes[name] += 60 // len({each.template for each in places})
            for each in places:
                first.setdefault(each.template, each.line)
        # What others call says less than who calls it.
        for name in self._macros & votes.keys():
            votes[name] = 0
        if not votes:
            return None
        best = max(votes, key=lambda name: (votes[name], name))
        return Place(best, first[best])

    def _places(self, line: str) -> tuple[Place, ...]:
        if line not in self._known:
            found = self._exact.get(line) or [
                place for pattern, place in self._patterns if line and pattern.fullmatch(line)
            ]
            self._known[line] = tuple(found)
        return self._known[line]


def sections(dockerfile: str, templates: Templates) -> Iterator[Section]:
    """The sections of a Dockerfile, in order."""
    start, lines = 1, list[str]()
    for number, line in enumerate([*dockerfile.splitlines(), ""], 1):
        if line.strip():
            if not lines:
                start = number
            lines.append(line)
        elif lines:
            text = "\n".join(lines)
            yield Section(text=text, line=start, place=templates.place(text))
            lines = []


@lru_cache(maxsize=4096)  # Images share most of their sections.
def highlighted(text: str) -> Markup:
    """A part of a Dockerfile as HTML of Pygments, every character of it escaped."""
    from pygments import highlight

    found: str = highlight(text, *_pygments())
    # Pygments escapes all that it takes; its marks of spaces are half of what it writes.
    return Markup(_SPACE.sub(r"\1", found).rstrip("\n"))  # noqa: S704


@cache
def _pygments() -> tuple[Any, Any]:
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import DockerLexer

    return DockerLexer(stripnl=False), HtmlFormatter(nowrap=True)


def _uncommented(source: str) -> str:
    """A template without comments, all other lines where they were."""
    return _COMMENT.sub(lambda found: "\n" * found[0].count("\n"), source)
