"""What registries have of images, as records tell it: digests, sizes, notes and inventories."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from builder.errors import ArgumentError
from builder.inventory.model import Inventory, from_json
from builder.release import inventories, notes
from builder.release.record import read
from builder.site.records import Published
from builder.util.text import system_words

__all__ = ["by_image", "inventory_beside", "read_inventories"]

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\.json", re.ASCII)


def by_image(folder: Path, names: Iterable[str]) -> dict[str, tuple[Published, ...]]:
    """What was pushed of the images, the newest first; PushError if a record is none.

    A record names an image with its registry and prefix: it is the one that its repository ends in.
    """
    known = set(names)
    found: dict[str, list[Published]] = {}
    for day in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        if not _DAY.fullmatch(day.name):
            continue
        for row in read(day):
            if name := _name(row, known):
                found.setdefault(name, []).append(_published(folder, day.stem, row))
    return {name: tuple(reversed(rows)) for name, rows in found.items()}


def inventory_beside(folder: Path, published: Iterable[Published]) -> tuple[str, Inventory] | None:
    """The inventory of the newest image that has one, and which image that is."""
    for each in published:
        path = inventories.file_of(folder, each.digest)
        if path.is_file():
            return each.reference, _inventory(path)
    return None


def read_inventories(paths: Iterable[Path]) -> dict[str, Inventory]:
    """Inventories of files, by the image that each is of; InventoryError if one is none."""
    return {found.image: found for found in map(_inventory, paths)}


def _name(row: Mapping[str, Any], known: set[str]) -> str:
    """The target that a row is of: the longest end of its repository that is one; else nothing."""
    parts = row["image"].split("/")
    ends = ("/".join(parts[index:]) for index in range(len(parts)))
    return next((name for end in ends if (name := f"{end}:{row['tag']}") in known), "")


def _published(folder: Path, date: str, row: Mapping[str, Any]) -> Published:
    path = notes.file_of(folder, row["digest"])
    size = row.get("size")
    return Published(
        date=date,
        image=row["image"],
        tags=tuple(row["tags"]),
        digest=row["digest"],
        size=size if isinstance(size, int) else 0,
        profile=row["profile"],
        notes=_text(path) if path.is_file() else "",
    )


def _inventory(path: Path) -> Inventory:
    try:
        return from_json(json.loads(_text(path)), str(path))
    except (ValueError, RecursionError) as error:
        raise ArgumentError(
            f"{path} is not JSON", remedy="write it: dlc inventory TARGET --format json"
        ) from error


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise ArgumentError(
            f"{path} cannot be read: {system_words(error)}", remedy="see who may read it"
        ) from error


def sizes(published: Iterable[Published]) -> Iterator[tuple[str, int]]:
    """The stored bytes of an image over time, the oldest first."""
    for each in sorted(published, key=lambda one: one.date):
        if each.size:
            yield each.date, each.size
