"""Requirements and names of wheels: what a pattern reads is what `packaging` reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging import requirements as packaging_requirements
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename

from builder.matrix.requirements import (
    _REQUIREMENT,
    _WHEEL,
    Requirement,
    for_python,
    parse_requirement,
    parse_wheel_name,
)
from builder.matrix.yaml_nodes import Position, Text


@given(st.from_regex(_REQUIREMENT, fullmatch=True))
def test_plain_requirements(text: str) -> None:
    theirs = packaging_requirements.Requirement(text)
    found = parse_requirement(text)
    assert found is not None
    assert found.name == canonicalize_name(theirs.name)
    assert SpecifierSet(found.rest) == theirs.specifier
    assert (theirs.url, theirs.marker) == (None, None)


@given(
    st.from_regex(_REQUIREMENT, fullmatch=True),
    st.sampled_from(["<", "<=", "==", "!=", ">=", ">"]),
    st.integers(0, 20),
    st.sampled_from(["'", '"']),
)
def test_markers_of_a_python(text: str, operator: str, minor: int, quote: str) -> None:
    """As packaging reads and evaluates them."""
    marked = f"{text} ; python_version {operator} {quote}3.{minor}{quote}"
    theirs = packaging_requirements.Requirement(marked)
    found = parse_requirement(marked)
    assert found is not None
    specifiers, _, marker = found.rest.partition(";")
    assert (found.name, marker) == (canonicalize_name(theirs.name), str(theirs.marker))
    assert SpecifierSet(specifiers) == theirs.specifier
    assert theirs.marker is not None
    for python in ("3.6", "3.9", "3.10", "3.13"):
        counts = theirs.marker.evaluate({"python_version": python})
        assert for_python([marked], python) == ((text,) if counts else ())


@pytest.mark.parametrize(
    ("text", "on"),
    [
        ("numpy<2", {"3.9": "numpy<2", "3.13": "numpy<2"}),
        ("numpy<2; python_version < '3.13'", {"3.9": "numpy<2"}),
        ('numpy<2 ;python_version>="3.13"', {"3.13": "numpy<2"}),
        ("a==1; python_version == '3.9'", {"3.9": "a==1"}),
        # What is not of the image's Python alone is left to the resolver.
        (other := "a; sys_platform == 'linux'", {"3.9": other, "3.13": other}),
    ],
)
def test_requirements_of_some_pythons(text: str, on: dict[str, str]) -> None:
    node = Text(text, Position(file="m", line=3, column=5))
    found = {python: each for python in ("3.9", "3.13") for each in for_python([node], python)}
    assert found == on
    assert {isinstance(each, Text) and each.at.line for each in found.values()} == {3}


@given(st.from_regex(_WHEEL, fullmatch=True))
def test_plain_names_of_wheels(text: str) -> None:
    name, version, _, _ = parse_wheel_filename(text)
    assert parse_wheel_name(text) == (name, str(version))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Torch_XLA==1.9", ("torch-xla", "==1.9")),
        ("a[b,c]>=1.0,<2", ("a", "<2,>=1.0")),
        ("a ==1.0", ("a", "==1.0")),
        ("a==1.0; python_version < '3.9'", ("a", '==1.0;python_version < "3.9"')),
        ("a @ https://host/a.whl", ("a", "@https://host/a.whl", "https://host/a.whl")),
        ("a==1.0,==1.0", ("a", "==1.0")),
        ("a==", None),
        ("a=1", None),
        ("-a==1.0", None),
        ("a==1.0\n", ("a", "==1.0")),
    ],
)
def test_requirements(text: str, found: tuple[str, ...] | None) -> None:
    assert parse_requirement(text) == (found and Requirement(*found))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("torch-1.9.1+cpu-cp38-cp38-linux_x86_64.whl", ("torch", "1.9.1+cpu")),
        ("Torch_XLA-1.9-cp38-cp38m-manylinux1_x86_64.whl", ("torch-xla", "1.9")),
        ("a-1.0-1build-py2.py3-none-any.whl", ("a", "1.0")),
        ("a-01.0.RC1-py3-none-any.whl", ("a", "1.0rc1")),
        ("a-1.0-py3-none.whl", None),
        ("a-1.0-py3-none-any.zip", None),
        ("a-1.0-py3-none-a b.whl", None),
    ],
)
def test_names_of_wheels(text: str, found: tuple[str, str] | None) -> None:
    assert parse_wheel_name(text) == found
