"""The jobs of continuous integration: targets that share a framework layer built by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builder.build.plan import framework_layer
from builder.matrix.target import Target

__all__ = ["LIMIT", "LONGEST_SECONDS", "Shard", "as_github", "shards"]

# GitHub fails a whole run whose matrix has more than 256 jobs.
LIMIT = 250
# A job that takes 6 hours is ended, so a group that would is built by several.
LONGEST_SECONDS = 5 * 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One job: a name, its targets, and the seconds they should take; None if nobody knows."""

    name: str
    targets: tuple[Target, ...]
    seconds: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Group:
    """Targets that are best built together; `weight` has seconds, or what stands for them."""

    name: str
    targets: tuple[Target, ...]
    weight: float


def shards(
    targets: Iterable[Target],
    seconds: Mapping[str, float],
    *,
    at_most: int = LIMIT,
    by_framework: bool = True,
) -> list[Shard]:
    """Every target in one job, groups of a framework layer whole, the longest job first.

    `seconds` are what targets should take, by name, for those that anybody knows it of; the others
    count as their mean. Where there are more groups than `at_most`, or than LIMIT, several are in
    one job, so that all take about as long. A group is split only if it would not end in time.
    """
    targets = tuple(targets)
    known = [seconds[target.name] for target in targets if target.name in seconds]
    mean = sum(known) / len(known) if known else 1.0
    weights = {target.name: seconds.get(target.name, mean) for target in targets}
    longest = LONGEST_SECONDS if known else float("inf")
    groups: dict[str, list[Target]] = {}
    for target in targets:
        name = framework_layer(target) if by_framework else target.name
        groups.setdefault(name, []).append(target)
    pieces: list[_Group] = []
    for name, members in groups.items():
        pieces += _split(name, members, weights, longest)
    bins: list[list[_Group]] = [[] for _ in range(max(1, min(at_most, LIMIT)))]
    loads = [0.0] * len(bins)
    # The longest first, each to whoever has least to do.
    for piece in sorted(pieces, key=lambda each: -each.weight):
        least = min(range(len(bins)), key=lambda number: (loads[number], len(bins[number])))
        bins[least].append(piece)
        loads[least] += piece.weight
    filled = [(load, members) for load, members in zip(loads, bins, strict=True) if members]
    filled.sort(key=lambda each: -each[0])
    return [_shard(members, load if known else None) for load, members in filled]


def as_github(found: Sequence[Shard]) -> dict[str, Any]:
    """The jobs as GitHub Actions reads a matrix; `targets` are selectors with spaces between."""
    return {
        "include": [
            {
                "name": shard.name,
                "targets": " ".join(target.name for target in shard.targets),
                "seconds": None if shard.seconds is None else round(shard.seconds),
            }
            for shard in found
        ]
    }


def _split(
    name: str, members: Sequence[Target], weights: Mapping[str, float], longest: float
) -> list[_Group]:
    """A group whole, or in as few pieces as end in time."""
    pieces: list[list[Target]] = [[]]
    load = 0.0
    for target in members:
        weight = weights[target.name]
        if pieces[-1] and load + weight > longest:
            pieces.append([])
            load = 0.0
        pieces[-1].append(target)
        load += weight
    return [
        _Group(
            name=name if len(pieces) == 1 else f"{name} ({number} of {len(pieces)})",
            targets=tuple(piece),
            weight=sum(weights[target.name] for target in piece),
        )
        for number, piece in enumerate(pieces, 1)
    ]


def _shard(members: Sequence[_Group], seconds: float | None) -> Shard:
    more = f" and {len(members) - 1} more" if len(members) > 1 else ""
    return Shard(
        name=f"{members[0].name}{more}",
        targets=tuple(target for group in members for target in group.targets),
        seconds=seconds,
    )
