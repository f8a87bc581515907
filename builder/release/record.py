"""What was pushed, by day: releases/<date>.json, with every tag, digest, size and build key."""

from __future__ import annotations

import fcntl
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from builder.errors import PushError, WriteError
from builder.release.tags import revisions
from builder.util import atomic
from builder.util.text import system_words

__all__ = ["Released", "check_writable", "file_of", "merge", "read", "record"]

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


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


def check_writable(folder: Path) -> None:
    """PushError unless files can be written below `folder`, which is left as it was."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        with suppress(OSError):  # somebody else may have put something there meanwhile
            for each in missing:
                each.rmdir()


def record(folder: Path, date: str, released: Released) -> None:
    """Add a result to the day's file; sorted, and never half.

    PushError if the file is there and is none of ours, or cannot be written.
    """
    _add(folder, date, [asdict(released)])


def merge(folder: Path, paths: Iterable[Path]) -> list[Path]:
    """Add what other such files say to those in `folder`; which those are, in any order the same.

    PushError if a file is none of ours, before anything is written, or if one cannot be written.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for path in paths:
        date, rows = _document(path)
        found.setdefault(date, []).extend(rows)
    for date in found:
        read(file_of(folder, date))
    for date, rows in sorted(found.items()):
        _add(folder, date, rows)
    return [file_of(folder, date) for date in sorted(found)]


def read(path: Path) -> list[Mapping[str, Any]]:
    """The results of a file, none if it is not there. PushError if it is none of ours."""
    try:
        return _document(path)[1]
    except FileNotFoundError:
        return []


def _document(path: Path) -> tuple[str, list[Mapping[str, Any]]]:
    """A file's day and its results."""
    try:
        document = json.loads(path.read_text("utf-8"))
        rows: list[Mapping[str, Any]] = document["images"]
        for row in rows:
            if not re.fullmatch(r"sha256:[0-9a-f]{64}", row["digest"]):
                raise ValueError
            str(row["image"]), str(row["tag"]), str(row["profile"])
            if not all(isinstance(tag, str) for tag in [row["tag"], *row["tags"]]):
                raise TypeError
        date: str = document["date"]
        if not _DATE.fullmatch(date):
            raise ValueError
    except FileNotFoundError:
        raise
    except OSError as error:
        raise PushError(
            f"{path} cannot be read: {system_words(error)}", remedy="fix that, or move it away"
        ) from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise PushError(
            f"{path} is not a release record", remedy="fix it, or move it away"
        ) from error
    return date, rows


def _add(folder: Path, date: str, more: Iterable[Mapping[str, Any]]) -> None:
    path = file_of(folder, date)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            rows: dict[tuple[str, ...], Mapping[str, Any]] = {}
            # One image by its digest: a second release of the day is a row of its own, the same
            # image under one more tag is not.
            for row in [*read(path), *more]:
                which = (row["image"], row["tag"], row["profile"], row["digest"])
                had = rows[which]["tags"] if which in rows else ()
                rows[which] = {**row, "tags": sorted({*had, *row["tags"]})}
            document = {"date": date, "images": sorted(rows.values(), key=_order)}
            atomic.write(path, json.dumps(document, indent=2) + "\n")
    except (OSError, WriteError) as error:
        raise _unwritable(path, error) from error


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """By name, then the oldest release first, then by digest."""
    releases = revisions(row["tag"], row["tags"])
    numbers = [tuple(map(int, each.split("."))) for each in releases]
    return row["image"], row["tag"], numbers, row["profile"], row["digest"]


def _unwritable(path: Path, error: Exception) -> PushError:
    return PushError(
        f"{path} cannot be written: {system_words(error)}",
        remedy="fix that, or name another folder with --releases",
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other threads and processes from writing at the same time."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
