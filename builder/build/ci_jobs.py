"""The jobs of continuous integration: targets that share a framework layer built by one.

A job counts as long as it has targets: what builds took is known on the machine that ran them, and
a runner of GitHub's is a new one each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from builder.build.plan import framework_layer
from builder.matrix.target import Target

__all__ = ["LIMIT", "Shard", "as_github", "shards"]

# GitHub fails a whole run whose matrix has more than 256 jobs.
LIMIT = 250


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One job: a name and its targets."""

    name: str
    targets: tuple[Target, ...]


def shards(
    targets: Iterable[Target], *, at_most: int = LIMIT, by_framework: bool = True
) -> list[Shard]:
    """Every target in one job, groups of a framework layer whole, the longest job first.

    Where there are more groups than `at_most`, or than LIMIT, several are in one job, so that all
    have about as many targets.
    """
    groups: dict[str, list[Target]] = {}
    for target in targets:
        name = framework_layer(target) if by_framework else target.name
        groups.setdefault(name, []).append(target)
    jobs: list[dict[str, list[Target]]] = [{} for _ in range(max(1, min(at_most, LIMIT)))]
    # The longest first, each to whoever has least to do.
    for name, members in sorted(groups.items(), key=lambda each: -len(each[1])):
        min(jobs, key=_load)[name] = members
    filled = sorted(filter(None, jobs), key=lambda job: -_load(job))
    return [_shard(job) for job in filled]


def as_github(found: Sequence[Shard]) -> dict[str, Any]:
    """The jobs as GitHub Actions reads a matrix; `targets` are selectors with spaces between."""
    return {
        "include": [
            {"name": shard.name, "targets": " ".join(target.name for target in shard.targets)}
            for shard in found
        ]
    }


def _load(job: dict[str, list[Target]]) -> int:
    return sum(map(len, job.values()))


def _shard(job: dict[str, list[Target]]) -> Shard:
    first, *others = job
    more = f" and {len(others)} more" if others else ""
    members = (target for group in job.values() for target in group)
    return Shard(name=f"{first}{more}", targets=tuple(members))
