"""`dlc site` for the real matrix and for synthetic ones, beside `dlc render --check` of the same.

The goals: 3 seconds for the real images, 30 for 1,000, and time that grows with their number.
Synthetic images have real locks, Dockerfiles, layers and tasks, under made-up names.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.commands import DLC, ENVIRONMENT, ROOT
from benchmarks.scaling import REAL, exponent, write
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from builder.util.console import say

__all__ = ["evidence", "measure"]

SIZES = (102, 300, 1_002)
ROUNDS = 3


def evidence(folder: Path) -> None:
    """Write the proof and the tasks of a synthetic matrix: those of the real image of its kind."""
    real = {each.name: each for each in load_targets(ROOT / "matrix.yaml")}
    (folder / "docs").mkdir()
    for name in ("proof.json", "tasks.json"):
        rows = json.loads((ROOT / "docs" / name).read_text("utf-8"))["rows"]
        like = {
            _kind(real[row["image"]]): row
            for row in rows
            if row["image"] in real and real[row["image"]].transformers == REAL
        }
        made = [
            {**like[_kind(target)], "image": target.name}
            for target in load_targets(folder / "matrix.yaml")
            if _kind(target) in like
        ]
        (folder / "docs" / name).write_text(json.dumps({"rows": made}), "utf-8")


def measure() -> None:
    """Print seconds, ratios and the exponent; DLC_BENCH_MOST ends the sizes."""
    most = int(os.environ.get("DLC_BENCH_MOST", SIZES[-1]))
    sizes = [size for size in SIZES if size <= most]
    print(f"{'images':>7} {'site':>9} {'render --check':>15}   ratio   {'size':>8}")
    with tempfile.TemporaryDirectory(prefix="dlc-bench-site-") as scratch:
        _line(ROOT, len(load_targets(ROOT / "matrix.yaml")), Path(scratch))
        taken = []
        for size in sizes:
            say(f"writing a matrix of {size} targets")
            folder = Path(scratch, str(size))
            write(folder, size)
            evidence(folder)
            taken.append(_line(folder, size, Path(scratch)))
    if len(sizes) > 1:
        print(f"exponent {exponent(sizes, taken):.2f}")


def _line(folder: Path, count: int, scratch: Path) -> float:
    """Measure a matrix, print its line, and return the seconds of its site."""
    site = scratch / "site"
    ours, other = [], []
    for _ in range(ROUNDS):
        shutil.rmtree(site, ignore_errors=True)  # each is a whole site
        ours.append(_seconds(folder, ["site", "--output", str(site)]))
        other.append(_seconds(folder, ["render", "--check"]))
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    best, beside = min(ours), min(other)
    print(
        f"{count:7,} {best:7.2f} s {beside:13.2f} s   {best / beside:5.2f}   {size / 1e6:5.1f} MB"
    )
    return best


def _seconds(folder: Path, words: Sequence[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(
        [DLC, *words], cwd=folder, env=ENVIRONMENT, check=True, capture_output=True, timeout=600
    )
    return time.perf_counter() - begin


def _kind(target: Target) -> tuple[str, str, str]:
    return target.framework, target.mode, target.device
