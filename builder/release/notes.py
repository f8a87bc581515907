"""Release notes: what differs between an image and the former one with its tag."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder.errors import InventoryError
from builder.inventory.diff import compare
from builder.inventory.markdown import markdown
from builder.inventory.model import Inventory, from_json
from builder.release.inventories import NOTES
from builder.release.inventories import file_of as inventory_file
from builder.release.record import Released, read
from builder.util import atomic

__all__ = ["file_of", "write"]

_RECORD = re.compile(r"\d{4}-\d{2}-\d{2}\.json", re.ASCII)


def file_of(folder: Path, digest: str) -> Path:
    """The notes of the image with a digest, beside the records in `folder`."""
    return folder / NOTES / f"{digest.partition(':')[2]}.md"


def write(folder: Path, released: Released) -> Path | None:
    """Write the notes of what was released, and tell where; None if there is nothing to compare.

    An image that is released once more, under another tag, keeps its notes. WriteError if they
    cannot be written.
    """
    path = file_of(folder, released.digest)
    if path.is_file():
        return None
    now = _inventory(folder, released.digest)
    if now is None:
        return None
    for row in _former(folder, released):
        if before := _inventory(folder, row["digest"]):
            text = markdown(
                compare(before, now),
                before=f"{row['image']}:{row['tag']}@{row['digest']}",
                after=released.reference,
            )
            atomic.write(path, text, folders=True)
            return path
    return None


def _former(folder: Path, released: Released) -> list[Mapping[str, Any]]:
    """The other images that were pushed under the tag, the newest first."""
    days = sorted(each for each in folder.glob("*.json") if _RECORD.fullmatch(each.name))
    rows = [row for day in days for row in read(day)]
    return [
        row
        for row in reversed(rows)
        if (row["image"], row["tag"]) == (released.image, released.tag)
        and row["digest"] != released.digest
        and row["profile"] == released.profile
    ]


def _inventory(folder: Path, digest: str) -> Inventory | None:
    path = inventory_file(folder, digest)
    try:
        return from_json(json.loads(path.read_text("utf-8")), str(path))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise InventoryError(f"{path} is not JSON", remedy="move it away") from error
