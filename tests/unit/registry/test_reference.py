"""What is a registry, and what Docker would take for a repository on Docker Hub."""

from __future__ import annotations

import pytest

from builder.errors import ArgumentError
from builder.matrix.target import Target
from builder.registry.reference import parse_registry
from tests.conftest import Dlc


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("localhost/team", "localhost/team"),
        ("localhost:5000", "localhost:5000"),
        ("127.0.0.1:5000/team/", "127.0.0.1:5000/team"),
        ("registry:5000/team", "registry:5000/team"),
        ("registry.example.com/a/b-c", "registry.example.com/a/b-c"),
        ("registry.example.com/a__b/c--d", "registry.example.com/a__b/c--d"),
        ("registry.example.com:65535", "registry.example.com:65535"),
        (
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        ),
    ],
)
def test_registries(text: str, parsed: str) -> None:
    assert str(parse_registry(text)) == parsed


@pytest.mark.parametrize(
    "text",
    [
        *("", "team", "registry/team", "localhosts/team", "https://host.example/a", "h.example/A"),
        *("http://x", "x/", "a..b/team", "a.b-/team", "a.b//team", "a.b:0", "a.b:65536", "u@a.b"),
        *(" a.b", "a.b:\u0661", "a.b/team\n"),
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ArgumentError, match="is not a registry; write HOST"):
        parse_registry(text)


def test_prefix_that_is_too_long() -> None:
    assert parse_registry(f"h.example/{'x' * 214}").prefix == "x" * 214
    with pytest.raises(ArgumentError, match="a prefix of 215 characters is too long; 214"):
        parse_registry(f"h.example/{'x' * 215}")


def test_longest_repository(targets: tuple[Target, ...]) -> None:
    assert max(len(target.repository) for target in targets) <= 40


@pytest.mark.parametrize("prefix", ["A", "a b", "a//b", ".a", "a/.."])
def test_prefixes_that_are_none(dlc: Dlc, prefix: str) -> None:
    """For ECR before AWS is asked."""
    told = dlc("ecr", "plan", "--prefix", prefix)
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith(f"dlc: {prefix!r} is not the prefix of a repository's name; ")
