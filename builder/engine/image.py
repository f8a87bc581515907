"""An image that exists, and what its labels and tags say of its build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["DIGITS", "INPUTS_LABEL", "KEY_LABEL", "Built", "key_tag"]

KEY_LABEL = "dlc.key"

INPUTS_LABEL = "dlc.inputs"

DIGITS = 16  # of a digest, in labels and tags


def key_tag(key: str) -> str:
    """The tag of an image by its build key.

    >>> key_tag("0123456789abcdef" * 4)
    'key-0123456789abcdef'
    """
    return f"key-{key[:DIGITS]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """An image that has a name: its id, its bytes unpacked and its labels.

    `config` is all that it says of itself, where that came along with the labels.
    """

    id: str
    size: int
    labels: Mapping[str, str]
    config: Mapping[str, Any] = field(default_factory=dict)
