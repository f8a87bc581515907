"""What was pushed, by day: releases/<date>.json, with every tag, digest, size and build key."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from builder.errors import PushError

__all__ = ["Released", "file_of", "read", "record"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Released:
    """A target as a registry has it now.

    `image` is host, prefix and repository; `size` the bytes of config and layers as stored.
    """

    image: str
    tag: str
    tags: tuple[str, ...]
    digest: str
    size: int
    key: str
    profile: str

    @property
    def reference(self) -> str:
        """By tag and digest."""
        return f"{self.image}:{self.tag}@{self.digest}"


def file_of(folder: Path, date: str) -> Path:
    """The file for a day like 2026-11-21."""
    return folder / f"{date}.json"


def record(folder: Path, date: str, released: Released) -> None:
    """Add a result to the day's file, or replace that of the same tag; sorted, and never half.

    PushError if the file is there and is none of ours.
    """
    path = file_of(folder, date)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        rows = {(row["image"], row["tag"], row["profile"]): row for row in read(path)}
        rows[released.image, released.tag, released.profile] = asdict(released)
        document = {"date": date, "images": [row for _, row in sorted(rows.items())]}
        new = path.with_suffix(".json.new")
        new.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
        new.replace(path)


def read(path: Path) -> list[Mapping[str, Any]]:
    """The results of a file, none if it is not there. PushError if it is none of ours."""
    try:
        document = json.loads(path.read_text("utf-8"))
        rows: list[Mapping[str, Any]] = document["images"]
        for row in rows:
            if not re.fullmatch(r"sha256:[0-9a-f]{64}", row["digest"]):
                raise ValueError
            str(row["image"]), str(row["tag"]), str(row["profile"])
    except FileNotFoundError:
        return []
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise PushError(
            f"{path} is not a list of what was pushed", remedy="mend it, or move it away"
        ) from error
    return rows


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other threads and processes from writing at the same time."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
