"""`dlc site` for the real matrix and for synthetic ones, beside `dlc render --check` of the same.

The goals: 3 seconds for the real images, 30 for 1,000, and time that grows with their number.
Synthetic images have real locks, Dockerfiles, layers and tasks, under made-up names.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import DLC, ENVIRONMENT, ROOT
from benchmarks.page import Section, machine, markdown
from benchmarks.scaling import REAL, exponent, write
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from builder.util.console import say
from builder.util.text import human_size

__all__ = ["evidence", "measure"]

SIZES = (102, 300, 1_002)
ROUNDS = 5


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


def measure() -> Section:
    """Print seconds, ratios and the exponent, and return them; DLC_BENCH_MOST ends the sizes."""
    most = int(os.environ.get("DLC_BENCH_MOST", SIZES[-1]))
    sizes = [size for size in SIZES if size <= most]
    with tempfile.TemporaryDirectory(prefix="dlc-bench-site-") as scratch:
        lines = [_line(ROOT, Path(scratch))]
        for size in sizes:
            say(f"writing a matrix of {size} targets")
            folder = Path(scratch, str(size))
            write(folder, size)
            evidence(folder)
            lines.append(_line(folder, Path(scratch)))
    titles = ("images", "`dlc site`", "`dlc render --check`", "ratio", "size of the site")
    table = markdown(titles, [each.cells() for each in lines])
    text = f"Medians of {ROUNDS} rounds. {machine()}\n\n{table}"
    if len(sizes) > 1:
        grows = exponent(sizes, [each.site for each in lines[1:]])
        span = f"From {sizes[0]} to {sizes[-1]:,} made-up images"
        text += f"\n{span} the time grows with the power {grows:.2f} of their number.\n"
    print(text)
    return "The site", text


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """What was measured of a matrix: seconds of both commands, and the bytes of its site."""

    images: int
    site: float
    render: float
    size: int

    def cells(self) -> tuple[str, ...]:
        """The line of the table."""
        return (
            f"{self.images:,}",
            f"{self.site:.2f} s",
            f"{self.render:.2f} s",
            f"{self.site / self.render:.2f}",
            human_size(self.size),
        )


def _line(folder: Path, scratch: Path) -> Line:
    """Measure a matrix."""
    site = scratch / "site"
    rounds = []
    for _ in range(ROUNDS):
        shutil.rmtree(site, ignore_errors=True)  # each is a whole site
        ours = _seconds(folder, ["site", "--output", str(site)])
        rounds.append((ours, _seconds(folder, ["render", "--check"])))
    ours, other = (statistics.median(column) for column in zip(*rounds, strict=True))
    return Line(
        images=len(load_targets(folder / "matrix.yaml")),
        site=ours,
        render=other,
        size=sum(path.stat().st_size for path in site.rglob("*") if path.is_file()),
    )


def _seconds(folder: Path, words: Sequence[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(
        [DLC, *words], cwd=folder, env=ENVIRONMENT, check=True, capture_output=True, timeout=600
    )
    return time.perf_counter() - begin


def _kind(target: Target) -> tuple[str, str, str]:
    return target.framework, target.mode, target.device
