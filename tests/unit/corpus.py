"""Broken matrices, each with everything that is to be said about it: tests/data/broken.txt, read.

There each is a passage of the small matrix as a diff, then its messages without the file's name:

    == NAME [shape]
    -a line that is there once
    +what stands there instead
    LINE:COLUMN: what; what to do

`[shape]` marks a mistake of shape that plain YAML can express, which the schema must refuse too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BROKEN", "SMALL", "Broken"]

_TESTS = Path(__file__).parent.parent
SMALL = (_TESTS / "golden" / "matrix.yaml").read_text("utf-8")


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A broken matrix and the messages it must give."""

    name: str
    text: str
    messages: tuple[str, ...]
    shape: bool


def _read(block: str) -> Broken:
    title, *lines = block.splitlines()
    name, shape = re.fullmatch(r"(.*?)( \[shape\])?", title).groups()  # type: ignore[union-attr]
    before = "".join(f"{line[1:]}\n" for line in lines if line[:1] in ("-", " "))
    after = "".join(f"{line[1:]}\n" for line in lines if line[:1] in ("+", " "))
    found = SMALL.count(before)
    assert found == 1, f"{name}: what it changes is there {found} times"
    return Broken(
        name=name,
        text=SMALL.replace(before, after),
        messages=tuple(line for line in lines if line[:1].isdigit()),
        shape=shape is not None,
    )


BROKEN = tuple(
    _read(block) for block in (_TESTS / "data" / "broken.txt").read_text("utf-8").split("\n== ")[1:]
)
