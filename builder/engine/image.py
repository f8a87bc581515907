"""An image that exists, and what its labels and tags say of its build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from builder.matrix.target import Target

__all__ = [
    "DIGITS",
    "INPUTS_LABEL",
    "KEY_LABEL",
    "ImageInfo",
    "TargetImage",
    "inputs_of",
    "key_tag",
]

KEY_LABEL = "dlc.key"

INPUTS_LABEL = "dlc.inputs"

DIGITS = 16  # of a digest, in labels and tags


def key_tag(key: str) -> str:
    """The tag of an image by its build key.

    >>> key_tag("0123456789abcdef" * 4)
    'key-0123456789abcdef'
    """
    return f"key-{key[:DIGITS]}"


def inputs_of(labels: Mapping[str, str]) -> dict[str, str]:
    """What an image was built from, by its labels: the first digits of each digest, by name.

    >>> inputs_of({"dlc.inputs": "base=0123 libraries.lock=4567"})
    {'base': '0123', 'libraries.lock': '4567'}
    """
    text = labels.get(INPUTS_LABEL, "")
    return dict(part.split("=", 1) for part in text.split() if "=" in part)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageInfo:
    """An image that exists, in an engine, a registry or a commit: what is known of it there.

    `id` is the engine's, `size` its bytes unpacked, `layers` the digests of its tars, and
    `config` all that the image says of itself.
    """

    labels: Mapping[str, str]
    id: str = ""
    size: int = 0
    layers: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Its build key; empty where it has none."""
        return self.labels.get(KEY_LABEL, "")

    @property
    def inputs(self) -> dict[str, str]:
        """What it was built from; nothing where it does not say."""
        return inputs_of(self.labels)


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetImage(ImageInfo):
    """The image of a target."""

    target: Target
