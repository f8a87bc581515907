"""List, render and plan for synthetic matrices of up to 10,000 targets: how the time grows.

The releases are made up; frameworks, libraries and templates are the real matrix's, and every
target has locks with the real requirements. Commands are run as a user runs them.
"""

from __future__ import annotations

import datetime
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.dockerfile.render import Renderer, apply, changes
from builder.locks import freshness, lockfile
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from builder.util.console import say

__all__ = ["exponent", "measure", "write"]

ROOT = Path(__file__).parents[1]
DLC = str(Path(sys.executable).with_name("dlc"))
SIZES = (102, 300, 1_002, 3_000, 10_002)
# Six targets a release: training for GPUs and inference for both, on both frameworks.
RELEASE = """
  - transformers: 9.{number}.0
    datasets: 9.{number}.0
    date: {date}
    training: {{libraries: training-3, pytorch: [1.10.2], tensorflow: [2.6.3]}}
    inference: {{libraries: serving-2, pytorch: [1.10.2], tensorflow: [2.6.3]}}
"""
A_RELEASE = 6
# The real release whose requirements all have.
REAL = "4.17.0"
FIRST_DAY = datetime.date(2022, 4, 1)
COMMANDS = {"list": ["list"], "render": ["render", "--check"], "plan": ["plan"]}
# From here on the start of Python, the same for all, hides nothing.
LARGE = 1_000


def write(folder: Path, size: int) -> None:
    """Write a matrix of `size` targets, a multiple of six, with its rendered files and locks."""
    real = (ROOT / "matrix.yaml").read_text("utf-8")
    head, _, _ = real.partition("\nreleases:\n")
    releases = (
        RELEASE.format(number=number, date=FIRST_DAY + datetime.timedelta(days=number))
        for number in range(size // A_RELEASE)
    )
    folder.mkdir(parents=True)
    (folder / "matrix.yaml").write_text(f"{head}\nreleases:\n{''.join(releases)}", "utf-8")
    targets = load_targets(folder / "matrix.yaml")
    like = {
        _kind(target): _entries(target)
        for target in load_targets(ROOT / "matrix.yaml")
        if target.transformers == REAL
    }
    for target in targets:
        _write_locks(folder / "images" / target.folder, target, like[_kind(target)])
    apply(changes(folder / "images", targets, Renderer(), prune=False))


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """The power of the size that the time grows with: least squares on a log-log scale.

    >>> round(exponent([10, 100, 1000], [0.2, 2, 20]), 3)
    1.0
    >>> round(exponent([10, 100, 1000], [1, 100, 10000]), 3)
    2.0
    """
    xs, ys = ([math.log(each) for each in column] for column in (sizes, seconds))
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    above = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return above / sum((x - mean_x) ** 2 for x in xs)


def measure() -> None:
    """Run each command on each matrix, and print seconds and exponents; DLC_BENCH_MOST ends it."""
    most = int(os.environ.get("DLC_BENCH_MOST", SIZES[-1]))
    sizes = [size for size in SIZES if size <= most]
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory(prefix="dlc-scaling-") as folder:
        for size in sizes:
            say(f"writing a matrix of {size} targets")
            matrix = Path(folder, str(size))
            write(matrix, size)
            for name, words in COMMANDS.items():
                found[name].append(_seconds(matrix, words))
    print("targets " + "".join(f"{size:>10,}" for size in sizes) + "   exponent, and from 1,000 on")
    large = [index for index, size in enumerate(sizes) if size >= LARGE]
    for name, seconds in found.items():
        told = f"{name:8}" + "".join(f"{each:8.2f} s" for each in seconds)
        told += f"   {exponent(sizes, seconds):.2f}"
        if len(large) > 1:
            last = exponent([sizes[n] for n in large], [seconds[n] for n in large])
            told += f", {last:.2f}"
        print(told)


def _seconds(folder: Path, words: Sequence[str]) -> float:
    """The wall time of one command on a matrix, the better of two."""
    taken = []
    for _ in range(2):
        begin = time.perf_counter()
        subprocess.run(
            [DLC, *words],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        taken.append(time.perf_counter() - begin)
    return min(taken)


def _kind(target: Target) -> tuple[str, str, str]:
    return target.framework, target.mode, target.device


def _entries(target: Target) -> dict[str, Mapping[str, str]]:
    """The real requirements by layer, each with one hash, so that 10,000 of them fit on a disk."""
    folder = ROOT / "images" / target.folder
    return {
        layer: {
            name: _with_one_hash(entry) for name, entry in lockfile.entries(folder, layer).items()
        }
        for layer in freshness.LAYERS
    }


def _with_one_hash(entry: str) -> str:
    first = entry.index("--hash=")
    return entry[: first + len("--hash=sha256:") + 64] + "\n"


def _write_locks(folder: Path, target: Target, entries: Mapping[str, Mapping[str, str]]) -> None:
    written: dict[str, lockfile.Lock] = {}
    for layer in freshness.LAYERS:
        below = written["framework"].text() if layer == "libraries" else ""
        python, date = freshness.origin(layer, target)
        written[layer] = lockfile.Lock(
            layer=layer,
            python=python,
            date=date,
            inputs=freshness.inputs_digest(layer, target, below),
            entries=entries[layer],
        )
    lockfile.write(folder, list(written.values()))
