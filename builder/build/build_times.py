"""What past builds on this machine took: seconds and bytes by target, to tell what one will."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.util import atomic
from builder.util.state import state_directory

if TYPE_CHECKING:
    from builder.build.bake import Outcome
    from builder.matrix.target import Target

__all__ = ["BuildTime", "Estimate", "estimates", "load", "record"]


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildTime:
    """A target's last build that tells of the next: its seconds, and the image's bytes unpacked."""

    seconds: float
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a build should take; `like` tells of how many other targets it is the median.

    0 of the target's own last build.
    """

    seconds: float
    size: int
    like: int


def estimates(
    targets: Iterable[Target], everything: Iterable[Target], past: Mapping[str, BuildTime]
) -> dict[str, Estimate]:
    """What builds of targets should take, by name, from past builds of `everything`.

    For a target that was never built, those of the same framework, mode and device tell, else of
    the same framework and mode; there is none if those were never built either.
    """
    like: dict[tuple[str, ...], list[BuildTime]] = {}
    for target in everything:
        if target.name in past:
            for kind in _kinds(target):
                like.setdefault(kind, []).append(past[target.name])
    found = {}
    for target in targets:
        own = past.get(target.name)
        near = next((like[kind] for kind in _kinds(target) if kind in like), [])
        if own:
            found[target.name] = Estimate(seconds=own.seconds, size=own.size, like=0)
        elif near:
            found[target.name] = Estimate(
                seconds=statistics.median(each.seconds for each in near),
                size=round(statistics.median(each.size for each in near)),
                like=len(near),
            )
    return found


def _kinds(target: Target) -> tuple[tuple[str, ...], ...]:
    """What makes targets alike, the nearest kind first."""
    return (target.framework, target.mode, target.device), (target.framework, target.mode)


def load() -> dict[str, BuildTime]:
    """BuildTime builds by target's name; what is no record, or cannot be read, is left out."""
    try:
        rows = json.loads(_path().read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    known = rows.items() if isinstance(rows, dict) else ()
    return {name: past for name, row in known if (past := _past(row))}


def _past(row: Any) -> BuildTime | None:
    """A build as it was recorded; None for what is no record."""
    if not isinstance(row, dict) or row.keys() != {"seconds", "size"}:
        return None
    seconds, size = row["seconds"], row["size"]
    if type(seconds) not in (int, float) or type(size) is not int:
        return None
    return BuildTime(seconds=seconds, size=size) if 0 <= seconds < math.inf and size >= 0 else None


def record(outcomes: Iterable[Outcome]) -> None:
    """Remember the builds that installed the libraries, at least.

    One that found its framework in the cache does not replace one that took longer, perhaps all of
    it. The file is replaced whole or not at all.
    """
    past = load()
    built = {
        each.target.name: BuildTime(seconds=round(each.seconds, 1), size=each.size)
        for each in outcomes
        if not (each.error or each.up_to_date or each.from_cache)
        and not (each.on_a_cached_framework and _took_longer(past, each))
    }
    if not built:
        return
    rows = {name: asdict(past) for name, past in sorted({**past, **built}.items())}
    atomic.write(_path(), json.dumps(rows, indent=1) + "\n", folders=True)


def _took_longer(past: Mapping[str, BuildTime], now: Outcome) -> bool:
    before = past.get(now.target.name)
    return before is not None and before.seconds > now.seconds


def _path() -> Path:
    return state_directory() / "builds.json"
