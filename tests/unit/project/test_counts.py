"""Numbers in messages: `counted` writes them with their noun, so that nobody reads of 1 targets."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

SOURCES = sorted((ROOT / "builder").rglob("*.py"))
# What is counted in messages, in the plural, after a value.
NOUN = re.compile(
    r"(?:other |more )?(?:targets|images|layers|locks|packages|files|jobs|bases|builds|rows|tests"
    r"|requests|requirements|entries|problems|mistakes|tags|repositories|upgrades|processes)\b"
)


def plurals(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The lines of texts in which a value stands right before a plural, with that plural."""
    for text in (node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)):
        for value, after in zip(text.values, text.values[1:], strict=False):
            words = after.value if isinstance(after, ast.Constant) else ""
            if isinstance(value, ast.FormattedValue) and isinstance(words, str):
                if isinstance(value.value, ast.Name) and value.value.id.isupper():  # a constant
                    continue
                noun = NOUN.match(words.removeprefix(" "))
                if words.startswith(" ") and noun:
                    yield value.lineno, noun[0]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('f"{a} of {b} targets"', [(1, "targets")]),
        ('f"{a} other targets"', [(1, "other targets")]),
        ("f\"{counted(a, 'target')} of all images\"", []),
        ('f"{a}targets, {b} has images"', []),
        ('f"more than {_MOST} files"', []),
    ],
)
def test_it_finds_them(source: str, found: list[tuple[int, str]]) -> None:
    assert list(plurals(ast.parse(source))) == found


def test_a_number_has_its_noun_from_counted() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {noun}"
        for path in SOURCES
        for line, noun in plurals(ast.parse(path.read_text("utf-8")))
    ]
    assert found == []
