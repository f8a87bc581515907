"""What is a registry, and what Docker would take for a repository on Docker Hub."""

from __future__ import annotations

import pytest

from builder.errors import PushError
from builder.registry import parse_registry


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("localhost/team", "localhost/team"),
        ("localhost:5000", "localhost:5000"),
        ("127.0.0.1:5000/team/", "127.0.0.1:5000/team"),
        ("registry:5000/team", "registry:5000/team"),
        ("registry.example.com/a/b-c", "registry.example.com/a/b-c"),
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
    ["", "team", "registry/team", "localhosts/team", "https://host.example/a", "h.example/A"],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(PushError, match="is not a registry; write HOST"):
        parse_registry(text)
