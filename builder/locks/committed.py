"""The committed locks of all targets: what `dlc lock` leaves alone, and what layers share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from builder.errors import LockError
from builder.locks.freshness import inputs_digest, is_of, layers
from builder.locks.lockfile import CRLF, Lock, load
from builder.matrix.target import Target
from builder.util.links import LINE_ENDS

__all__ = ["Committed"]


class Committed:
    """The sound locks of targets in their folders below `images`, read when this is made."""

    def __init__(self, images: Path, targets: Iterable[Target]) -> None:
        self._own: dict[tuple[str, str], Lock] = {}
        self._by_layer: dict[str, list[Lock]] = {}
        for target in targets:
            for layer in layers(target):
                lock = load(images / target.folder, layer)
                if lock == CRLF:
                    path = images / target.folder / f"{layer}.lock"
                    raise LockError(f"{path} {CRLF}", remedy=LINE_ENDS)
                if isinstance(lock, Lock):
                    self._own[target.name, layer] = lock
                    if lock not in (others := self._by_layer.setdefault(layer, [])):
                        others.append(lock)

    def own(self, layer: str, target: Target) -> Lock | None:
        """The lock that a target has of a layer, fresh or not."""
        return self._own.get((target.name, layer))

    def names(self, target: Target) -> set[str]:
        """The packages that a target's locks have for its image."""
        owns = (self.own(layer, target) for layer in layers(target)[1:-1])
        return {name for lock in owns if lock for name in lock.entries}

    def notes(self, target: Target) -> set[str]:
        """What a target's locks say of upgrades."""
        owns = (self.own(layer, target) for layer in layers(target))
        return {note for lock in owns if lock for note in lock.notes}

    def same(self, layer: str, target: Target, below: str) -> Lock | None:
        """A lock that is resolved from the same, on top of the locks `below`: whoever's it is.

        The target's own comes first, but after one that has hashes which it lacks.
        """
        locks = self._by_layer.get(layer, [])
        if not target.upgrades:
            inputs = inputs_digest(layer, target, below)
            locks = [lock for lock in locks if lock.inputs == inputs]
        if own := self.own(layer, target):
            locks = [own, *locks]
        found = [lock for lock in locks if is_of(lock, target, below)]
        return next((lock for lock in found if lock.is_complete), found[0] if found else None)
