"""What past builds on this machine took: seconds and bytes by target, to tell what one will."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from builder.bake import Outcome
from builder.engine import state_directory

__all__ = ["Past", "load", "record"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """The last build of a target: its seconds, and the image's bytes unpacked."""

    seconds: float
    size: int


def load() -> dict[str, Past]:
    """Past builds by target's name; none if there is no record, or it cannot be read."""
    try:
        rows = json.loads(_path().read_text("utf-8"))
        return {name: Past(**row) for name, row in rows.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def record(outcomes: Iterable[Outcome]) -> None:
    """Remember the builds that were done; the file is replaced whole or not at all."""
    built = {
        each.target.name: Past(seconds=round(each.seconds, 1), size=each.size)
        for each in outcomes
        if not each.error and not each.up_to_date
    }
    if not built:
        return
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {name: asdict(past) for name, past in sorted({**load(), **built}.items())}
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    temporary.replace(path)


def _path() -> Path:
    return state_directory() / "builds.json"
