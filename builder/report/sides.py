"""What people name to compare: files, targets, commits and images, as inventories."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from builder.build.git_ref import known, tree_at
from builder.errors import (
    ContainerError,
    DlcError,
    InventoryError,
    SelectionError,
)
from builder.inventory.locked import of_texts
from builder.inventory.model import Inventory, from_json
from builder.locks import freshness, lockfile
from builder.matrix.select import select, select_one
from builder.matrix.target import Target
from builder.release import inventories
from builder.release.record import read
from builder.util.text import counted, system_words

__all__ = ["Sides", "of_locks"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sides:
    """Where things are looked for: the targets of a matrix, and the folders beside it."""

    targets: Sequence[Target]
    matrix: Path
    images: Path

    def both(self, before: str, after: str, *, locks: bool) -> tuple[Inventory, Inventory]:
        """Two sides of a comparison; one of a commit has the other's locks alone, too.

        SelectionError if something is not there.
        """
        locks = locks or any(self._commit(text) for text in (before, after))
        return self.one(before, locks=locks), self.one(after, locks=locks)

    def one(self, text: str, *, locks: bool = False) -> Inventory:
        """An inventory: of a file, a target, REF:TARGET or an image of the engine, in this order.

        `locks` takes a target's locks, and needs no image.
        """
        file, _, rest = text.partition(":")
        if Path(text).is_file():
            return _file(Path(text), "")
        if Path(file).is_file():
            return _file(Path(file), rest)
        if commit := self._commit(text):
            return self._at(*commit)
        if target := self._target(text):
            return of_locks(target, self.images) if locks else _of_image(target.name, target)
        try:
            return _of_image(text, None)
        except ContainerError as error:
            raise SelectionError(
                f"{text} is no file, target, REF:TARGET or image of the engine",
                remedy="see `dlc list`, `docker image ls` and `git log`",
            ) from error

    def _target(self, text: str) -> Target | None:
        try:
            return select_one(self.targets, [text])
        except SelectionError:
            if _matches(self.targets, text):
                raise  # it matches several
            return None

    def _commit(self, text: str) -> tuple[str, str] | None:
        """The commit and the target that REF:TARGET names; None if it is anything else."""
        ref, _, rest = text.partition(":")
        if not (ref and rest) or Path(ref).is_file() or _matches(self.targets, text):
            return None
        return (ref, rest) if known(ref, self.matrix) else None

    def _at(self, ref: str, text: str) -> Inventory:
        with tree_at(ref, self.matrix, self.images) as (targets, images):
            found = of_locks(select_one(targets, [text]), images)
        return _renamed(found, f"{ref}:{found.image}")


def of_locks(target: Target, images: Path) -> Inventory:
    """What a target's locks say that its image is to have; LockError if one is missing."""
    return of_texts(target, lockfile.texts(images / target.folder, freshness.layers(target)))


def _of_image(name: str, target: Target | None) -> Inventory:
    from builder.engine.connection import engine_client
    from builder.engine.namespace import local_name
    from builder.inventory.image import of_image

    with engine_client() as client:
        return of_image(client, local_name(name) if target else name, name)


def _matches(targets: Sequence[Target], text: str) -> bool:
    try:
        return bool(select(targets, [text]))
    except DlcError:
        return False


def _file(path: Path, text: str) -> Inventory:
    """An inventory, or that of one of the images of a release record."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InventoryError(
            f"{path} cannot be read: {system_words(error)}", remedy="name another file"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InventoryError(
            f"{path} is not JSON", remedy="write one: dlc inventory TARGET --format json"
        ) from error
    if isinstance(document, dict) and "images" in document and "dlc_inventory" not in document:
        return _recorded(path, text)
    return from_json(document, str(path))


def _recorded(path: Path, text: str) -> Inventory:
    rows = [
        row
        for row in read(path)
        if not text
        or any(
            fnmatchcase(name, f"*{text}")
            for name in (row["tag"], f"{row['image']}:{row['tag']}", *row["tags"])
        )
    ]
    if len(rows) != 1:
        names = ", ".join(f"{row['image']}:{row['tag']}" for row in rows[:5])
        raise SelectionError(
            f"{path} has {counted(len(rows), 'image')} {f'like {text}' if text else ''}".rstrip()
            + (f": {names}" if names else ""),
            remedy=f"name one, as {path}:TAG",
        )
    row: Mapping[str, Any] = rows[0]
    kept = inventories.file_of(path.parent, row["digest"])
    if not kept.is_file():
        raise InventoryError(
            f"there is no inventory of {row['image']}:{row['tag']} beside {path}",
            remedy="it was pushed before inventories were kept, or push it again",
        )
    return _renamed(_file(kept, ""), f"{row['image']}:{row['tag']}@{row['digest']}")


def _renamed(inventory: Inventory, name: str) -> Inventory:
    return replace(inventory, image=name)
