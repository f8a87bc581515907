"""The page of sizes: the proven images against their budgets and against the official ones."""

from __future__ import annotations

from collections.abc import Sequence

from packaging.version import Version

from builder.matrix.target import Target
from builder.util.text import human_size
from tools.prove.result import Row, span

__all__ = ["page"]

# aws/deep-learning-containers, issue 3165.
_OFFICIAL = {
    "huggingface-pytorch-inference:1.13.1-transformers4.26.0-cpu-py39-ubuntu20.04": "4.31 GB"
}
# What the official build compares its images with, in MB, and fails above 1.2 times that
# (image_size_baseline of its buildspecs); by framework, mode and device, or version.
_BASELINES = {
    ("pytorch", "training", "gpu"): "15",
    ("pytorch", "inference", "cpu"): "15",
    ("pytorch", "inference", "gpu"): "15",
    ("pytorch", "inference", "neuron"): "10",
    ("tensorflow", "training", "2.4.1"): "8.49",
    ("tensorflow", "training", "2.5.1"): "10.5",
    ("tensorflow", "training", "2.6.3"): "10.5",
    ("tensorflow", "inference", "cpu"): "2.82 to 4.9",
    ("tensorflow", "inference", "gpu"): "6.48",
    ("pytorch", "training", "2.9.0"): "25",
}
# Those by device are told of PyTorch before this version.
_BASELINES_UNTIL = "2"

_INTRODUCTION = """\
# How large the images are, and why

Written by `make prove`, with the sizes of the images that it built; `dlc size` shows yours. Sizes
are unpacked, as `docker image ls` tells them.

## The budget

`dlc build` measures every image before it gets its tag, and fails if it is over its budget. By
default that is its closure and 15 %: what the packages of its locks declare in their own lists of
files, Java, and what the distribution's packages declare. The 15 % are for bytecode, which spares
a start its seconds. A matrix may say otherwise under `budgets` ([matrix.md](matrix.md)). A build
that fails tells which packages take more than they declare (or than in the image that had the
tag), which files belong to no package, and the largest layers.

## What was taken out

- Packages' tests: every folder `tests`, and PyTorch's test programs, 86 MB in `torch/test` and
  41 MB in `torch/bin` in 2.13.0. Nothing but other tools for tests uses them.
- Java is linked with the modules that multi-model-server and its logging use: 72 MB with its
  class-data archive, where the distribution's headless runtime is 217 MB.
- What only the build needs: uv, package lists, caches, the JDK. pip is there once.

## What was kept, and why

- The toolkit declares librosa, pyctcdecode and phonemizer, and they bring numba, llvmlite,
  scikit-learn and hypothesis: 255 MB of the inference image on Debian 12, 180 MB of it llvmlite.
  The contract does not pass without them, since `pip check` then finds the toolkit broken; and a
  model's own `inference.py` may import what is in the official image.
  `...-cpu-py311-debian12-slim` is the default image without these, pandas, ffmpeg and the compiler:
  1.36 GB beside 2.13 GB, for text and pictures. Its `pip check` misses what `excludes` names alone.
- PyTorch's headers and test tools, 44 MB in 2.13.0: who builds an extension on top of an image
  needs the first, and the second are public modules.
- g++ with its headers, 300 MB on Debian 12: torch.compile needs it from PyTorch 2 on, and training
  jobs do for packages that are only there as source. `toolchain: none` leaves it out.
- botocore, 22 MB: sagemaker-inference wants boto3.
- Bytecode, 212 MB on Debian 12.

## What was measured

Image by image, with what takes the room and how that went over time, it is on the page *Sizes* of
the [site](site.md): `make site`. The last column is the size of an official image where somebody
told it, else the baseline that its build is held to.

"""


def page(rows: Sequence[Row], targets: Sequence[Target]) -> str:
    """The page, with a line for the rows of each kind that were built."""
    named = {target.name: target for target in targets}
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row.fills:
            target = named[row.image]
            kind = (target.framework_title, target.mode, target.device)
            groups.setdefault(kind, []).append(row)
    lines = [
        "| images | number | size | of the budget, at most | the official ones |",
        "|---|---|---|---|---|",
    ]
    for kind, group in groups.items():
        told = dict.fromkeys(_official(named[row.image]) for row in group)
        cells = (
            f"{kind[0]} {kind[1]}, {kind[2]}",
            str(len(group)),
            span(*(human_size(most(row.size for row in group)) for most in (min, max))),
            f"{max(row.size / row.limit for row in group):.0%}",
            ", ".join(each for each in told if each != "-") or "-",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return _INTRODUCTION + "\n".join(lines) + "\n"


def _official(target: Target) -> str:
    """The official image's size where somebody told it, else its build's baseline."""
    if target.name in _OFFICIAL:
        return _OFFICIAL[target.name]
    if target.origin == "own":
        return "-"
    kind = target.framework, target.mode
    keys = [(*kind, target.framework_version), (*kind, target.device)]
    newer = Version(target.framework_version) >= Version(_BASELINES_UNTIL)
    if target.framework == "pytorch" and newer:
        keys = keys[:1]
    for key in keys:
        if key in _BASELINES:
            return f"baseline {_BASELINES[key]} GB"
    return "-"
