"""A Dockerfile as its stages and their instructions, each on one line, as Docker reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import dropwhile, takewhile

__all__ = ["Instruction", "instructions", "last_stage"]

# From its first line to its last one; comments and empty lines in between are no part of it.
_INSTRUCTION = re.compile(
    r"^[ \t]*(?=[^\s#])(?:.*\\[ \t\r]*\n(?:[ \t\r]*(?:#.*)?\n)*)*.*", re.MULTILINE
)
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
    at = 0
    while match := _INSTRUCTION.search(dockerfile, at):
        at = match.end()
        found = _read(match[0])
        if found.verb in _WITH_HEREDOCS:
            for end in _HEREDOC.findall(found.text):
                at = _after(end, dockerfile, at)
        yield found


@lru_cache(maxsize=4096)  # Dockerfiles of one template share most of their instructions.
def _read(lines: str) -> Instruction:
    """An instruction from the lines on which it stands."""
    first, *more = (line.rstrip() for line in lines.split("\n"))
    kept = [first, *(line for line in more if line and not line.lstrip().startswith("#"))]
    text = "".join([*(line.removesuffix("\\") for line in kept[:-1]), kept[-1]])
    verb, *rest = text.split(maxsplit=1)
    return Instruction(verb.upper(), "".join(rest))


def _is_option(word: str) -> bool:
    return word.startswith("--")


def _after(end: str, dockerfile: str, at: int) -> int:
    """The place after a heredoc; what has no end is none."""
    found = re.compile(rf"^[ \t]*{end}[ \t\r]*$", re.MULTILINE).search(dockerfile, at)
    return found.end() if found else at


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
