"""Our commands beside what one would run otherwise."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["measure"]

ROUNDS = 15
ROOT = Path(__file__).parents[1]
DLC = str(Path(sys.executable).with_name("dlc"))
# The warm-up leaves bytecode, as any first run does.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A command of ours and the one it is held against."""

    ours: Sequence[str]
    other: Sequence[str]


PAIRS = (
    Pair(ours=[DLC, "--help"], other=[sys.executable, "-c", "pass"]),
    Pair(ours=[DLC, "list"], other=[sys.executable, "-c", "pass"]),
    Pair(ours=[DLC, "list", "--format", "json"], other=[sys.executable, "-c", "pass"]),
    Pair(
        ours=[DLC, "render", "--check"], other=[sys.executable, "-c", "import jinja2, yaml, click"]
    ),
)


def seconds(command: Sequence[str]) -> float:
    """The wall time of one run, in seconds."""
    begin = time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def measure() -> None:
    """Time each pair in turn, after one warm-up, and print medians and their ratio."""
    print(f"{'ours':34} {'median':>8}   {'beside':44} {'median':>8}   ratio")
    for pair in PAIRS:
        seconds(pair.ours), seconds(pair.other)
        rounds = [(seconds(pair.ours), seconds(pair.other)) for _ in range(ROUNDS)]
        ours, other = (statistics.median(column) for column in zip(*rounds, strict=True))
        names = [" ".join([Path(c[0]).name, *c[1:]]) for c in (pair.ours, pair.other)]
        print(f"{names[0]:34} {ours:6.3f} s   {names[1]:44} {other:6.3f} s   {ours / other:5.1f}")
