"""No image with an advisory that nobody accepts: what a release asks before it pushes one."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.audit.audit import audit, raise_if_open
from builder.audit.sources import load
from builder.engine.connection import engine_client
from builder.inventory.image import of_image
from builder.locks import freshness, lockfile
from builder.matrix.target import Target

__all__ = ["Gate"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """Advisories from `sources` count from the severity `threshold` on; locks are in `images`."""

    sources: Sequence[str]
    threshold: str
    images: Path

    def __call__(self, target: Target, image: str) -> None:
        """FindingError if an image must not be pushed, AdvisoryError if nothing can tell."""
        with engine_client() as client:
            inventory = of_image(client, image, target.name)
        packages = ((each, inventory.operating_system) for each in inventory.packages)
        texts = lockfile.texts(self.images / target.folder, freshness.layers(target))
        today = datetime.datetime.now(datetime.timezone.utc).date()
        database = load(self.sources, packages)
        found = audit(inventory, database, today, target=target, locks=texts)
        raise_if_open([found], self.threshold)
