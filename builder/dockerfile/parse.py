"""A Dockerfile as its stages and their instructions, each on one line, as Docker reads it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile, takewhile

__all__ = ["Instruction", "instructions", "last_stage"]

_HEREDOC = re.compile(r"<<-?[\"']?(\w+)")
_WITH_HEREDOCS = frozenset({"RUN", "COPY", "ADD"})


@dataclass(frozen=True, slots=True)
class Instruction:
    """What a Dockerfile says in one place: its verb in capitals, and the rest on one line.

    Comments and the bodies of heredocs are left out.
    """

    verb: str
    text: str

    @property
    def options(self) -> list[str]:
        """The options that it begins with, like --from=build."""
        return list(takewhile(_is_option, self.text.split()))

    @property
    def words(self) -> list[str]:
        """The words that follow its options."""
        return list(dropwhile(_is_option, self.text.split()))


def instructions(dockerfile: str) -> Iterator[Instruction]:
    """Every instruction of every stage, in their order.

    >>> list(instructions("# why\\nrun a \\\\\\n # how\\n\\n  b <<X\\nCOPY c /\\nX\\nUSER e"))
    [Instruction(verb='RUN', text='a   b <<X'), Instruction(verb='USER', text='e')]
    """
    lines = deque(dockerfile.splitlines())
    while lines:
        line = lines.popleft().strip()
        if not line or line.startswith("#"):
            continue
        parts = [line]
        while parts[-1].endswith("\\") and lines:
            more = lines.popleft().rstrip()
            if more and not more.lstrip().startswith("#"):
                parts[-1] = parts[-1][:-1]
                parts.append(more)
        verb, *rest = "".join(parts).split(maxsplit=1)
        found = Instruction(verb.upper(), "".join(rest))
        if found.verb in _WITH_HEREDOCS:
            for end in _HEREDOC.findall(found.text):
                _skip(lines, end)
        yield found


def _is_option(word: str) -> bool:
    return word.startswith("--")


def _skip(lines: deque[str], end: str) -> None:
    """Take a heredoc's body out of what follows; what has no end is none."""
    stripped = [line.strip() for line in lines]
    if end in stripped:
        for _ in range(stripped.index(end) + 1):
            lines.popleft()


def last_stage(dockerfile: str) -> list[Instruction]:
    """The instructions of the last stage but for FROM, after those of stages that it starts from.

    >>> [each.text for each in last_stage("FROM a AS b\\nRUN c\\nFROM d\\nFROM b\\nUSER e\\n")]
    ['c', 'e']
    """
    found: list[Instruction] = []
    stages: dict[str, list[Instruction]] = {}
    for each in instructions(dockerfile):
        if each.verb != "FROM":
            found.append(each)
            continue
        words = each.words
        found = list(stages.get(words[0].lower(), ())) if words else []
        if len(words) == 3:
            stages[words[2].lower()] = found
    return found
