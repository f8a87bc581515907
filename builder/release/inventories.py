"""The inventories of what is pushed: they stand beside the records, by the digest of the image."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from builder.inventory.image import dumps, of_image
from builder.util import atomic

if TYPE_CHECKING:
    from builder.engine.connection import Engine
    from builder.engine.image import TargetImage
    from builder.inventory.model import Inventory

__all__ = ["FOLDER", "NOTES", "beside", "copy", "file_of", "inventory_of", "keep"]

FOLDER, NOTES = "inventories", "notes"


def inventory_of(engine: Engine, local: TargetImage) -> Inventory:
    """What is in an image that is to be pushed.

    InventoryError if it is not as locked, docker's errors if the engine fails.
    """
    with closing(engine.client(timeout=300)) as client:
        found = of_image(client, local.id, local.target.name)
    found.require_locked()
    return found


def file_of(folder: Path, digest: str) -> Path:
    """The inventory of the image with a digest, beside the records in `folder`."""
    return folder / FOLDER / f"{digest.partition(':')[2]}.json"


def beside(path: Path) -> bool:
    """Whether a file is one that stands beside the records, and is none of them."""
    return path.parent.name == FOLDER


def copy(folder: Path, sources: Iterable[Path]) -> None:
    """Take what stands beside the records of other folders to those in `folder`."""
    for source in sources:
        for kind in (FOLDER, NOTES):
            for path in sorted(source.rglob(f"{kind}/*")):
                there = folder / kind / path.name
                if path.is_file() and not there.exists():
                    atomic.write(there, path.read_bytes(), folders=True)


def keep(folder: Path, digest: str, inventory: Inventory) -> None:
    """Keep the inventory of what was pushed; WriteError if it cannot be written."""
    path = file_of(folder, digest)
    if not path.is_file():
        atomic.write(path, dumps(inventory), folders=True)
