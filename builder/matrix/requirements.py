"""Requirements and names of wheels, read by pattern where they are plain.

All of the matrix are, and `packaging`, which reads the others, takes as long to import as the
whole matrix to read.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from typing import NamedTuple

from builder.matrix.yaml_nodes import Text

__all__ = ["Requirement", "for_python", "normalise", "parse_requirement", "parse_wheel_name"]

_NAME = r"(?P<name>[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*)"
_NUMBER = r"(?:0|[1-9]\d*)"
_VERSION = rf"{_NUMBER}(?:\.{_NUMBER})*"
_LOCAL = rf"(?:[a-z][a-z0-9]*|{_NUMBER})"
_SPECIFIER = rf"(?:(?:==|!=){_VERSION}(?:\.\*)?|(?:<=?|>=?){_VERSION}|~={_NUMBER}(?:\.{_NUMBER})+)"
_EXTRAS = r"(?:\[[a-z]+(?:,[a-z]+)*\])?"
_REQUIREMENT = re.compile(
    rf"{_NAME}{_EXTRAS}(?P<rest>(?:{_SPECIFIER}(?:,{_SPECIFIER})*)?)", re.ASCII
)
_WHEEL = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)*)"
    rf"-(?P<version>{_VERSION}(?:\+{_LOCAL}(?:\.{_LOCAL})*)?)"
    r"-(?:cp|py)\d+-(?:cp\d+m?|abi3|none)-[a-z][a-z0-9_]*\.whl",
    re.ASCII,
)
_PYTHON_MARKER = re.compile(rf"python_version *([<>]=?|[!=]=) *(['\"])3\.({_NUMBER})\2", re.ASCII)
# packaging evaluates markers, too, but to import it takes longer than to read a matrix.
_COMPARISONS: Mapping[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
}


class Requirement(NamedTuple):
    """A requirement: its normalised name, and what limits it.

    `rest` is all of that: specifiers, the `address` and a marker.
    """

    name: str
    rest: str
    address: str = ""


@cache
def parse_requirement(text: str) -> Requirement | None:
    """Read a requirement; None if pip could not. One text is in many entries."""
    named, separator, marker = text.partition(";")
    known = _PYTHON_MARKER.fullmatch(marker.strip())
    plain = _REQUIREMENT.fullmatch(named.rstrip() if known else text)
    if plain and (known or not separator):
        specifiers = ",".join(sorted({*plain["rest"].split(",")}))
        limited = f';python_version {known[1]} "3.{known[3]}"' if known else ""
        return Requirement(normalise(plain["name"]), specifiers + limited)
    from packaging import requirements

    try:
        found = requirements.Requirement(text)
    except requirements.InvalidRequirement:
        return None
    address = f"@{found.url}" if found.url else ""
    marker = f";{found.marker}" if found.marker else ""
    rest = f"{found.specifier}{address}{marker}"
    return Requirement(normalise(found.name), rest, found.url or "")


def for_python(texts: Iterable[str], python: str) -> tuple[str, ...]:
    """The requirements that count on a Python, without the markers that say so.

    Other markers than of `python_version` stay, for the resolver.

    >>> for_python(["numpy<2; python_version < '3.13'", "pip"], "3.13")
    ('pip',)
    """
    found = []
    for text in texts:
        plain, _, marker = text.partition(";")
        if known := _PYTHON_MARKER.fullmatch(marker.strip()):
            if _COMPARISONS[known[1]](int(python.partition(".")[2]), int(known[3])):
                plain = plain.rstrip()
                found.append(Text(plain, text.at) if isinstance(text, Text) else plain)
        else:
            found.append(text)
    return tuple(found)


def parse_wheel_name(filename: str) -> tuple[str, str] | None:
    """The normalised name and the version in a wheel's file name; None if it is not one's."""
    if plain := _WHEEL.fullmatch(filename):
        return normalise(plain["name"]), plain["version"]
    if not re.fullmatch(r"[\w.+!-]+", filename, re.ASCII):  # tags may be anything to packaging
        return None
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        name, version, _, _ = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return None
    return name, str(version)


@lru_cache(maxsize=4096)  # Thousands of locks have the same packages.
def normalise(name: str) -> str:
    """A package's name as indexes compare them (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
