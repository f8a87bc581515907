"""List, render and plan for synthetic matrices of up to 10,000 targets: how the time grows.

The releases are made up; frameworks, libraries and templates are the real matrix's, and every
target has locks with the real requirements. Commands are run as a user runs them, each in turn with
that of another checkout if DLC_BENCH_BESIDE names one. DLC_BENCH_MOST ends the sizes, and
DLC_BENCH_ROUNDS is the number of rounds.
"""

from __future__ import annotations

import datetime
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.commands import ENVIRONMENT
from benchmarks.page import Section, machine, markdown
from builder.dockerfile.build_context import copied
from builder.dockerfile.render import Renderer, changes
from builder.locks import freshness, lockfile
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from builder.util.console import say

__all__ = ["exponent", "measure", "write"]

ROOT = Path(__file__).parents[1]
SIZES = (102, 1_002, 10_002)
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
ROUNDS = int(os.environ.get("DLC_BENCH_ROUNDS", "5"))
COMMANDS = {"list": ["list"], "render": ["render", "--check"], "plan": ["plan"]}
# Seconds: of the clock, and of the processors.
Taken = tuple[float, float]
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
    renderer = Renderer()
    for target in targets:
        place = folder / "images" / target.folder
        place.mkdir(parents=True)
        for name, content in renderer.files(target).items():
            (place / name).write_bytes(content)
        _write_locks(place, target, like[_kind(target)])


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


def measure() -> Section:
    """Run each command on each matrix, print seconds and exponents, and return them."""
    most = int(os.environ.get("DLC_BENCH_MOST", SIZES[-1]))
    sizes = [size for size in SIZES if size <= most]
    beside = os.environ.get("DLC_BENCH_BESIDE")
    sides = {"": ROOT, **({", before": Path(beside)} if beside else {})}
    found: dict[str, list[Taken]] = {f"{name}{side}": [] for name in COMMANDS for side in sides}
    with tempfile.TemporaryDirectory(prefix="dlc-scaling-") as folder:
        for size in sizes:
            say(f"writing a matrix of {size} targets")
            matrix = Path(folder, str(size))
            write(matrix, size)
            for name, words in COMMANDS.items():
                say(f"measuring `dlc {' '.join(words)}`")
                rounds = [
                    [_taken(matrix, words, checkout) for checkout in sides.values()]
                    for _ in range(ROUNDS)
                ]
                for side, column in zip(sides, zip(*rounds, strict=True), strict=True):
                    found[f"{name}{side}"].append(_median(column))
        phases = _phases(matrix)
    table = _table(sizes, found)
    told = ", ".join(f"{seconds:.1f} s for {name}" for name, seconds in phases.items())
    text = (
        "`dlc list`, `dlc render --check` and `dlc plan` for made-up matrices with real locks: "
        f"wall time, and CPU in brackets, medians of {ROUNDS} rounds. {machine()}\n\n{table}\n"
        f"Where the CPU time of {sizes[-1]:,} targets goes, in one process: {told}.\n"
    )
    print(text)
    return "Many targets", text


def _table(sizes: Sequence[int], found: Mapping[str, Sequence[Taken]]) -> str:
    """Wall and CPU seconds by command and size, and the powers that CPU time grows with."""
    large = [index for index, size in enumerate(sizes) if size >= LARGE]
    rows = []
    for name, taken in found.items():
        powers = [exponent(sizes, [cpu for _, cpu in taken])] if len(sizes) > 1 else []
        if len(large) > 1:
            powers.append(exponent([sizes[n] for n in large], [taken[n][1] for n in large]))
        cells = [f"{wall:.2f} s ({cpu:.2f})" for wall, cpu in taken]
        rows.append([name, *cells, ", ".join(f"{each:.2f}" for each in powers)])
    numbers = [f"{size:,} targets" for size in sizes]
    return markdown(["command", *numbers, "exponent, and from 1,000 on"], rows)


def _taken(folder: Path, words: Sequence[str], checkout: Path) -> Taken:
    """The wall and the CPU time of one command of a checkout on a matrix."""
    environment = {**ENVIRONMENT, "PYTHONPATH": str(checkout)}
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "builder", *words],
        cwd=folder,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _median(taken: Sequence[Taken]) -> Taken:
    wall, cpu = (statistics.median(column) for column in zip(*taken, strict=True))
    return wall, cpu


def _phases(folder: Path) -> dict[str, float]:
    """The CPU time of what rendering and planning do, one after the other."""
    renderer, images = Renderer(), folder / "images"
    targets: Sequence[Target] = ()
    texts: list[str] = []

    def load() -> None:
        nonlocal targets
        targets = load_targets(folder / "matrix.yaml")
        renderer.files(targets[0])  # compiles the templates

    def render() -> None:
        for target in targets:
            texts.append(renderer.files(target)["Dockerfile"].decode())

    def parse() -> None:
        for text in texts:
            copied(text)

    def check() -> None:
        for _ in changes(images, targets, renderer, prune=True):
            pass

    def read() -> None:
        for target in targets:
            folder = f"{images}/{target.folder}"
            for name in os.listdir(folder):  # noqa: PTH208 - nothing else
                handle = os.open(f"{folder}/{name}", os.O_RDONLY)
                os.read(handle, 1 << 17)
                os.close(handle)

    def locks() -> None:
        for target in targets:
            freshness.state(images / target.folder, target)

    phases = {
        "reading the matrix": load,
        "rendering": render,
        "parsing what was rendered, a part of that": parse,
        "rendering and comparing with the files": check,
        "opening and reading these files, and nothing else": read,
        "checking locks": locks,
    }
    return {name: _cpu(phase) for name, phase in phases.items()}


def _cpu(work: Callable[[], None]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


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
        # Not as `dlc lock` does, which waits for the disk each time.
        (folder / f"{layer}.lock").write_text(written[layer].text(), "utf-8")
