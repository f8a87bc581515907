"""Packages that only an accelerator can use: in a CPU image, gigabytes for nothing."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping

__all__ = ["accelerator_packages", "brought_by"]

_PATTERNS = (
    *("nvidia-*", "*-cu1[0-9]", "*-cuda1[0-9]*", "cuda-*", "cupy*", "pycuda", "triton"),
    *("tensorrt*", "torch-neuron", "torch-neuronx", "neuron-*", "neuronx-*", "habana-*"),
)
_NEEDING = re.compile(r"^    # (?:via|  )\s*([a-z0-9][a-z0-9._-]*)", re.MULTILINE)
# They ask a driver what there is, and answer that there is none.
_HARMLESS = ("nvidia-ml-py", "nvidia-ml-py3")


def accelerator_packages(names: Iterable[str]) -> list[str]:
    """Those of normalised names that are an accelerator's libraries, sorted.

    >>> accelerator_packages(["torch", "nvidia-cublas-cu12", "nvidia-ml-py", "triton"])
    ['nvidia-cublas-cu12', 'triton']
    """
    return sorted(
        name
        for name in names
        if name not in _HARMLESS and any(fnmatch.fnmatchcase(name, each) for each in _PATTERNS)
    )


def brought_by(name: str, entries: Mapping[str, str]) -> str:
    """What is required that brings a package in, by uv's `# via` lines; empty if they say nothing.

    >>> entries = {"a": "a==1\\n    # via -r wanted\\n", "b": "b==1\\n    # via a\\n"}
    >>> brought_by("b", entries)
    'a'
    """
    seen: list[str] = []
    while name in entries and name not in seen:
        seen.append(name)
        needing = _NEEDING.findall(entries[name])
        if not needing:
            break
        name = needing[0]
    return seen[-1] if len(seen) > 1 else ""
