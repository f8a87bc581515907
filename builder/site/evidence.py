"""What was measured of images, as proof.json, tasks.json and contract.json have it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from builder.engine.layers import from_json as layers_from_json
from builder.errors import ArgumentError
from builder.site.records import Asked, Contract, Proof, Task
from builder.util.check import Check
from builder.util.text import system_words

__all__ = ["contracts", "proofs", "tasks"]

_Row = TypeVar("_Row")


def proofs(path: Path) -> dict[str, Proof]:
    """What proof.json tells, by image; nothing without the file. ArgumentError if damaged."""
    return _rows(path, _proof, "run `make prove`, or name another folder with --docs")


def contracts(path: Path) -> dict[str, Contract]:
    """What contract.json tells, by image; nothing without the file. ArgumentError if damaged."""
    return _rows(path, _contract, "run `make contract`, or name another folder with --docs")


def tasks(path: Path) -> dict[str, tuple[Asked, tuple[Task, ...]]]:
    """What tasks.json tells, by image; nothing without the file. ArgumentError if damaged."""
    return _rows(path, _tasks, "run `make tasks`, or name another folder with --docs")


def _rows(path: Path, read: Callable[[Mapping[str, Any]], _Row], remedy: str) -> dict[str, _Row]:
    try:
        rows = json.loads(path.read_text("utf-8"))["rows"]
        return {str(row["image"]): read(row) for row in rows}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ArgumentError(
            f"{path} cannot be read: {system_words(error)}", remedy=remedy
        ) from error
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ArgumentError(
            f"{path} is not as it should be: {type(error).__name__}: {error}", remedy=remedy
        ) from error


def _proof(row: Mapping[str, Any]) -> Proof:
    layers = layers_from_json({"image": row["image"], "layers": row["layers"]}).layers
    return Proof(
        base=str(row["base"]),
        stand_in=str(row["stand_in"]),
        gaps=tuple(map(str, row["gaps"])),
        date=str(row["proven"]),
        seconds=float(row["seconds"]),
        size=int(row["size"]),
        limit=int(row["limit"]),
        fills={str(name): int(size) for name, size in row["fills"].items()},
        error=str(row["error"]),
        checks=tuple(
            Check(name=str(each["name"]), passed=bool(each["passed"]), detail=str(each["detail"]))
            for each in row["checks"]
        ),
        layers=layers,
    )


def _contract(row: Mapping[str, Any]) -> Contract:
    return Contract(
        date=str(row["date"]),
        seconds=float(row["seconds"]),
        stand_in=str(row["stand_in"]),
        parts={str(part): _counts(counts) for part, counts in row["parts"].items()},
        skipped=tuple(map(str, row["skipped"])),
        told={str(test): str(text) for test, text in row["told"].items()},
    )


def _counts(outcomes: Mapping[str, int]) -> tuple[int, int]:
    """The tests that passed, and those that ran."""
    passed = int(outcomes.get("passed", 0))
    return passed, passed + int(outcomes.get("failed", 0))


def _tasks(row: Mapping[str, Any]) -> tuple[Asked, tuple[Task, ...]]:
    asked = Asked(
        date=str(row["date"]),
        toolkit=str(row["versions"]["toolkit"]),
        stand_in=str(row["stand_in"]),
    )
    return asked, tuple(
        Task(
            name=str(each["task"]),
            supported=bool(each["supported"]),
            passed=each["outcome"] == "passed",
            seconds=float(each["seconds"]),
            detail=str(each["detail"]),
            reason=str(each["reason"]),
        )
        for each in row["tasks"]
    )
