"""Comparison of what is long: the first difference, in linear time.

pytest explains a failed comparison with difflib, which needs minutes for two files of a few
thousand lines. As a plugin (see tests/conftest.py), this module answers for operands that are long;
`assert_same` and `assert_same_files` name what they compare.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, TypeGuard, cast

import pytest

__all__ = ["assert_same", "assert_same_files", "first_difference"]

# Operands of more characters than this are not for pytest to explain.
_LONG = 2_000
_CONTEXT = 2
_LINES = 5
_WIDTH = 160


def assert_same(actual: object, expected: object, what: str) -> None:
    """Fail with the first difference between two values, where there is one."""
    __tracebackhide__ = True
    if actual != expected:
        pytest.fail("\n".join([f"{what} differs", *first_difference(actual, expected)]))


def assert_same_files(actual: Path, expected: Path) -> None:
    """Fail with the first lines that differ between two files, where there are any."""
    __tracebackhide__ = True
    assert_same(actual.read_bytes(), expected.read_bytes(), f"{actual} (+), from {expected} (-),")


def first_difference(actual: object, expected: object) -> list[str]:
    """The first difference of two values that are not equal: what is expected after `-`.

    Takes time in proportion to their size, and gives a few lines whatever their size.
    """
    where = ""
    while True:
        step = _step(actual, expected)
        if step is None:
            break
        key, actual, expected = step
        where += key
    told = _leaf(actual, expected)
    return [f"at {where}:", *told] if where else told


def _step(actual: object, expected: object) -> tuple[str, object, object] | None:
    """The first part that differs of two values of one shape, and how it is reached."""
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if actual.keys() == expected.keys():
            for key, value in actual.items():
                if value != expected[key]:
                    return f"[{_short(repr(key))}]", value, expected[key]
    elif _is_list(actual) and _is_list(expected) and len(actual) == len(expected):
        for index, (one, other) in enumerate(zip(actual, expected, strict=True)):
            if one != other:
                return (f"[{index}]", one, other) if _has_parts(one) and _has_parts(other) else None
    elif _is_data(actual) and type(actual) is type(expected):
        for field in dataclasses.fields(cast(Any, actual)):
            one, other = getattr(actual, field.name), getattr(expected, field.name)
            if field.compare and one != other:
                return f".{field.name}", one, other
    return None


def _leaf(actual: object, expected: object) -> list[str]:
    if isinstance(actual, str) and isinstance(expected, str):
        return _lines(actual.splitlines(True), expected.splitlines(True), "line")
    if isinstance(actual, bytes) and isinstance(expected, bytes):
        return _lines(actual.splitlines(True), expected.splitlines(True), "line")
    if _is_list(actual) and _is_list(expected):
        return _lines(actual, expected, "item")
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        return _sets(actual.keys(), expected.keys())
    if isinstance(actual, AbstractSet) and isinstance(expected, AbstractSet):
        return _sets(actual, expected)
    return _pairs([repr(expected)], [repr(actual)])


def _lines(actual: Sequence[object], expected: Sequence[object], noun: str) -> list[str]:
    """What is between the beginning and the end that two sequences share."""
    start = 0
    for one, other in zip(actual, expected, strict=False):
        if one != other:
            break
        start += 1
    end = 0
    shortest = min(len(actual), len(expected)) - start
    while end < shortest and actual[-1 - end] == expected[-1 - end]:
        end += 1
    gone, come = (whole[start : len(whole) - end] for whole in (expected, actual))
    told = [f"first difference at {noun} {start + 1} (of {len(expected)}, now {len(actual)}):"]
    told += [f"  {_short(_text(each))}" for each in expected[max(0, start - _CONTEXT) : start]]
    told += _pairs([_text(each) for each in gone[:_LINES]], [_text(each) for each in come[:_LINES]])
    more = max(len(gone) - _LINES, 0) + max(len(come) - _LINES, 0)
    return [*told, f"and {more} more {noun}s"] if more else told


def _sets(actual: AbstractSet[object], expected: AbstractSet[object]) -> list[str]:
    gone, come = expected - actual, actual - expected
    told = _pairs([repr(each) for each in islice(gone, _LINES)], [])
    told += _pairs([], [repr(each) for each in islice(come, _LINES)])
    more = max(len(gone) - _LINES, 0) + max(len(come) - _LINES, 0)
    return [*told, f"and {more} more"] if more else told


def _pairs(gone: Sequence[str], come: Sequence[str]) -> list[str]:
    """What went and what came instead; of long lines, the part where the first two differ."""
    both = zip(gone[0], come[0], strict=False) if gone and come else ()
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], both))
    start = common - _WIDTH // 4 if common > _WIDTH // 2 else 0
    told = [f"- {_short(text[start:])}" for text in gone]
    told += [f"+ {_short(text[start:])}" for text in come]
    return [f"from column {start + 1}:", *told] if start else told


def _text(value: object) -> str:
    """A line as it is where one can see all of it, else its representation."""
    if isinstance(value, str) and value.endswith("\n"):
        line = value[:-1]
        if line.isprintable() and line == line.rstrip():
            return line
    return repr(value)


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list | tuple)


def _is_data(value: object) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _has_parts(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        or _is_list(value)
        or _is_data(value)
        or (isinstance(value, str | bytes) and len(value) > _WIDTH)
    )


def _is_long(value: object) -> bool:
    try:
        return len(value if isinstance(value, str | bytes) else repr(value)) > _LONG
    except Exception:
        return False  # an object without a representation is for pytest to tell of


def _summary(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _WIDTH // 4 else f"{text[: _WIDTH // 4]}..."


# The plugin

_explain: list[Callable[..., list[str] | None]] = []


def pytest_configure(config: pytest.Config) -> None:
    """Take the place of pytest's own explanation, which is asked for here where it is cheap.

    All implementations of the hook are called, so that pytest's would run whatever ours answers:
    the plugin is put back without it.
    """
    plugins = config.pluginmanager
    own = plugins.unregister(name="assertion")
    if own is None:
        return
    _explain.append(own.pytest_assertrepr_compare)
    hooks = {name: getattr(own, name) for name in dir(own) if name.startswith("pytest_")}
    for replaced in ("pytest_addoption", "pytest_assertrepr_compare"):
        hooks.pop(replaced, None)
    rest = types.ModuleType("assertion")  # hashable, as plugins have to be for older pytests
    vars(rest).update(hooks)
    plugins.register(rest, "assertion")


def pytest_assertrepr_compare(
    config: pytest.Config, op: str, left: object, right: object
) -> list[str] | None:
    if not (_is_long(left) or _is_long(right)):
        for explain in _explain:
            return explain(config=config, op=op, left=left, right=right)
        return None
    summary = f"{_summary(left)} {op} {_summary(right)}"
    if op == "==":
        return [summary, *first_difference(left, right)]
    if op == "not in" and isinstance(left, str) and isinstance(right, str):
        before, after = right[: right.index(left)], right[right.index(left) :]
        line = before.rpartition("\n")[2] + after.partition("\n")[0]
        return [summary, f"found at line {before.count(chr(10)) + 1}:", f"  {_short(line)}"]
    return [summary]
