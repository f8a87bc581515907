"""Broken matrices, each with everything that is to be said about it: tests/data/broken*.txt, read.

There each is a passage of a small matrix as a diff, then its messages without the file's name:

    == NAME [shape]
    -a line that is there once
    +what stands there instead
    LINE:COLUMN: what; what to do

A line of `@@` begins another passage. `[shape]` marks a mistake of shape that plain YAML can
express, which the schema must refuse too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from builder.matrix.edit import MatrixText
from builder.matrix.format import Upgrade

__all__ = ["BROKEN", "BROKEN_COMPONENTS", "SMALL", "Broken", "with_upgrade"]

_TESTS = Path(__file__).parent.parent
SMALL = (_TESTS / "golden" / "matrix.yaml").read_text("utf-8")


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A broken matrix and the messages it must give."""

    name: str
    text: str
    messages: tuple[str, ...]
    shape: bool


def _read(matrix: str, block: str) -> Broken:
    title, *lines = block.splitlines()
    name, shape = re.fullmatch(r"(.*?)( \[shape\])?", title).groups()  # type: ignore[union-attr]
    text = matrix
    for passage in "\n".join(lines).split("\n@@\n"):
        changed = passage.splitlines()
        before = "".join(f"{line[1:]}\n" for line in changed if line[:1] in ("-", " "))
        after = "".join(f"{line[1:]}\n" for line in changed if line[:1] in ("+", " "))
        found = text.count(before)
        assert found == 1, f"{name}: what it changes is there {found} times"
        text = text.replace(before, after)
    return Broken(
        name=name,
        text=text,
        messages=tuple(line for line in lines if line[:1].isdigit()),
        shape=shape is not None,
    )


def _all(file: str, matrix: str) -> tuple[Broken, ...]:
    blocks = (_TESTS / "data" / file).read_text("utf-8").split("\n== ")[1:]
    return tuple(_read(matrix, block) for block in blocks)


BROKEN = _all("broken.txt", SMALL)
BROKEN_COMPONENTS = _all(
    "broken_components.txt", (_TESTS / "golden" / "components" / "matrix.yaml").read_text("utf-8")
)


def with_upgrade(matrix: str, upgrade: Upgrade) -> str:
    """The text of a matrix with an upgrade."""
    return MatrixText(matrix, "m").set_upgrade(upgrade).text
