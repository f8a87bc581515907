"""The libraries that a framework wants, and where an image has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from builder.errors import ContainerError
from builder.serve.programs import run_report
from builder.util.check import Check

if TYPE_CHECKING:
    import docker

    from builder.matrix.target import Target

__all__ = ["OPENED", "Library", "checks", "compare", "look", "opened"]


# Not in the image: the container toolkit brings those of the machine's driver.
DRIVER = frozenset({"libcuda.so.1", "libnvidia-ml.so.1"})

# What TensorFlow opens by name once the driver shows it a device, by its version and CUDA's: the
# names in "Could not load dynamic library ..." of the wheels of 2.4.1, 2.5.1 and 2.6.3 themselves,
# without CUDA and with a driver of stubs. CUDA 11 kept its SONAMEs from release to release but for
# cuSOLVER's, which is 10 in 11.0 and 11 since 11.1. TensorRT is left out: TensorFlow does without.
_CUDA_11 = (
    "libcublas.so.11",
    "libcublasLt.so.11",
    "libcuda.so.1",
    "libcudart.so.11.0",
    "libcudnn.so.8",
    "libcufft.so.10",
    "libcurand.so.10",
    "libcusparse.so.11",
)
OPENED: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("2.4", "cu110"): (*_CUDA_11, "libcusolver.so.10"),
    ("2.5", "cu112"): (*_CUDA_11, "libcusolver.so.11"),
    ("2.6", "cu112"): (*_CUDA_11, "libcusolver.so.11"),
    # Built with the same CUDA and cuDNN; its wheel itself was not asked.
    ("2.11", "cu112"): (*_CUDA_11, "libcusolver.so.11"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """A library, who wants it, the files that have its name, and what follows.

    `wanted_by` are files, or `dlopen`; the first of `found` is the one that is loaded; `state` is
    found, missing, twice, or driver for one that the machine brings.
    """

    soname: str
    wanted_by: tuple[str, ...]
    found: tuple[str, ...]
    state: str


def opened(target: Target) -> tuple[str, ...]:
    """What the target's framework opens by name; ContainerError if nobody has written it down."""
    if target.framework != "tensorflow" or target.device != "gpu":
        return ()
    version = ".".join(target.framework_version.split(".")[:2])
    cuda = target.accelerator.name if target.accelerator else ""
    try:
        return OPENED[version, cuda]
    except KeyError:
        raise ContainerError(
            f"it is not known which libraries TensorFlow {version} opens with {cuda}",
            remedy="add them to builder/report/libraries.py",
        ) from None


def look(client: docker.DockerClient, image: str, target: Target) -> Mapping[str, Any]:
    """What library_report.py tells of an image; ContainerError if its Python cannot run it."""
    found: Mapping[str, Any] = run_report(client, image, "library_report.py", *opened(target))
    return found


def compare(report: Mapping[str, Any], target: Target) -> list[Library]:
    """Every library that the report or the target's framework wants, in the order of names."""
    wanted = {row["soname"]: (row["wanted_by"], row["found"]) for row in report["libraries"]}
    for soname in opened(target):
        wanted.setdefault(soname, (["dlopen"], []))
    return [
        Library(
            soname=soname,
            wanted_by=tuple(wanted_by),
            found=tuple(found),
            state=_state(soname, found, target),
        )
        for soname, (wanted_by, found) in sorted(wanted.items())
    ]


def checks(report: Mapping[str, Any], target: Target) -> list[Check]:
    """Whether nothing is missing, and in a CPU image whether no accelerator's library is there."""
    found = compare(report, target)
    module = {"pytorch": "torch"}.get(target.framework, target.framework)
    has_framework = bool(report["objects"][module])
    missing = [library for library in found if library.state == "missing"]
    details = [*([] if has_framework else [f"{module} has no shared object"]), _count(found)]
    details += [f"{library.soname} is missing, for {_short(library)}" for library in missing]
    details += [
        f"{library.soname} is twice: {', '.join(library.found)}"
        for library in found
        if library.state == "twice"
    ]
    done = [
        Check(name="libraries", passed=has_framework and not missing, detail="; ".join(details)),
    ]
    if target.device == "cpu":
        strays = report["accelerator"]
        done.append(
            Check(name="no accelerator", passed=not strays, detail=", ".join(strays) or "none")
        )
    return done


def _state(soname: str, found: list[str], target: Target) -> str:
    if target.device == "gpu" and soname in DRIVER:
        return "driver"
    return ("missing", "found")[len(found)] if len(found) < 2 else "twice"


def _count(found: Iterable[Library]) -> str:
    counts = Counter(library.state for library in found)
    return ", ".join(f"{number} {state}" for state, number in sorted(counts.items())) or "none"


def _short(library: Library) -> str:
    """Who wants it, by the names of files."""
    return " ".join(sorted({PurePosixPath(path).name for path in library.wanted_by}))
