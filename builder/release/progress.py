"""What a push tells of itself while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Bytes", "PushWatcher"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bytes:
    """How far an upload is: bytes of the layers that are compressed so far, and layers."""

    done: int
    total: int
    layers: int
    of_layers: int


class PushWatcher(Protocol):
    """Who is told how pushes go, from several threads; `name` is a target's."""

    def moved(self, name: str, done: Bytes) -> None:
        """Bytes have gone."""

    def news(self, name: str, text: str) -> None:
        """Something happened that a user wants to know."""

    def ended(self, name: str) -> None:
        """It is over, well or not."""
