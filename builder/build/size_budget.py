"""The size of an image: what fills it, what it may be, and what made it too large.

What an image should hold is its closure: the packages of its locks as their own lists of files
declare them, Java, and the distribution's packages as those declare themselves. Bytecode, what
scripts leave behind and what a later layer overwrites come on top.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.engine.layers import from_engine
from builder.engine.namespace import local_name
from builder.engine.unpacked import content_id, unpacked_size
from builder.errors import BuildError
from builder.serve.programs import FILES, run_report
from builder.util import atomic
from builder.util.state import state_directory
from builder.util.text import human_size

if TYPE_CHECKING:
    import docker

    from builder.engine.image import ImageInfo
    from builder.engine.layers import Layer
    from builder.matrix.target import Target

__all__ = [
    "DEFAULT_BUDGET",
    "Contents",
    "Size",
    "check",
    "explain",
    "fits",
    "limit",
    "look",
    "measure",
    "remember",
    "report_of",
]

DEFAULT_BUDGET = "15 %"
TOLD = 5  # of packages, folders and layers, each


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What size_report.py tells of an image, in bytes; `packages` by what they declare and take."""

    packages: Mapping[str, tuple[int, int]]
    system: Mapping[str, int]
    java: int
    rest: Mapping[str, int]

    @property
    def sums(self) -> dict[str, int]:
        """What the locks' packages, Java and the distribution's declare, and what nobody does."""
        return {
            "locked": sum(declared for declared, _ in self.packages.values()),
            "java": self.java,
            "system": sum(self.system.values()),
            "rest": sum(self.rest.values()),
        }

    @property
    def closure(self) -> int:
        """What the image should hold."""
        return sum(size for part, size in self.sums.items() if part != "rest")


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """An image's bytes, unpacked, and the most that they may be."""

    size: int
    limit: int
    budget: str
    contents: Contents
    layers: tuple[Layer, ...]

    @property
    def over(self) -> bool:
        """Whether it is larger than it may be."""
        return self.size > self.limit


def limit(budget: str, closure: int) -> int:
    """The bytes that a budget allows: a size, or a share on top of the closure.

    >>> limit("15 %", 1_000_000_000), limit("1.5 GB", 0), limit("800 MB", 0)
    (1150000000, 1500000000, 800000000)
    """
    number, unit = budget.split()
    if unit == "%":
        return round(closure * (1 + float(number) / 100))
    return round(float(number) * {"MB": 1e6, "GB": 1e9}[unit])


def look(client: docker.DockerClient, image: str) -> Contents:
    """What fills an image; asked once for each image, since an image never changes.

    Nor for another with the same layers, whose Python runs with the same variables.
    """
    found = client.images.get(image)
    known = report_of(str(found.id))
    if known.is_file():
        return _contents(known.read_text("utf-8"))
    alike = content_id(found.attrs, *((found.attrs.get("Config") or {}).get("Env") or ()))
    if alike and report_of(alike).is_file():
        return remember(str(found.id), report_of(alike).read_text("utf-8"))
    report = json.dumps(run_report(client, image, "size_report.py"))
    if alike:
        remember(alike, report)
    return remember(str(found.id), report)


def remember(identity: str, report: str) -> Contents:
    """Keep what size_report.py said of an image, by its id; the same, read."""
    found = _contents(report)
    atomic.write(report_of(identity), report, folders=True)  # another build may read it
    return found


def measure(client: docker.DockerClient, image: str, target: Target) -> Size:
    """An image's size against its target's budget; ContainerError if its Python does not tell."""
    contents = look(client, image)
    budget = target.budget or DEFAULT_BUDGET
    return Size(
        size=unpacked_size(client, image),
        limit=limit(budget, contents.closure),
        budget=budget,
        contents=contents,
        layers=from_engine(client, image).layers,
    )


def fits(image: ImageInfo, target: Target) -> bool:
    """Whether an image is known to be within its target's budget, without asking the engine."""
    known = report_of(image.id)
    if not known.is_file():
        return False
    closure = _contents(known.read_text("utf-8")).closure
    return image.size <= limit(target.budget or DEFAULT_BUDGET, closure)


def check(client: docker.DockerClient, image: str, target: Target) -> None:
    """BuildError, with what made it grow, if an image is over its target's budget.

    What had the target's tag until now is what it is compared with.
    """
    import docker.errors

    found = measure(client, image, target)
    if not found.over:
        return
    before = None
    with suppress(docker.errors.ImageNotFound):
        before = look(client, local_name(target.name))
    raise BuildError(
        explain(found, before),
        remedy=f"fix it, or give it another budget in the matrix; the image stays, as {image}",
    )


def explain(size: Size, before: Contents | None = None) -> str:
    """Why an image is as large as it is, in a few lines: what grew, and the largest layers.

    `before` is what filled the image that had its tag. Without one, what a package takes more than
    it declares counts as grown.
    """
    found = size.contents
    was = {name: taken for name, (_, taken) in before.packages.items()} if before else {}
    grown = {
        name: taken - (was.get(name, 0) if before else declared)
        for name, (declared, taken) in found.packages.items()
    }
    rest = {
        folder: taken - (before.rest.get(folder, 0) if before else 0)
        for folder, taken in found.rest.items()
    }
    system = {
        name: taken - before.system.get(name, 0) if before else 0
        for name, taken in found.system.items()
    }
    layers = sorted(size.layers, key=lambda layer: -layer.size)[:TOLD]
    what = "than before" if before else "than declared"
    lines = [
        f"{human_size(size.size)} is over its budget of {human_size(size.limit)} ({_basis(size)})",
        f"packages that take more {what}: {_told(grown.items())}",
        f"the distribution's packages that are larger {what}: {_told(system.items())}",
        f"files of no package: {_told(rest.items())}",
        "largest layers: " + "; ".join(f"{human_size(each.size)} {each.step}" for each in layers),
    ]
    return "\n".join(lines)


def report_of(identity: str) -> Path:
    """Where what was found in an image is kept."""
    program = hashlib.sha256((FILES / "size_report.py").read_bytes()).hexdigest()[:16]
    return state_directory() / "sizes" / program / f"{identity.partition(':')[2]}.json"


def _basis(size: Size) -> str:
    if not size.budget.endswith("%"):
        return f"{size.budget} in the matrix"
    locked, java, system = (human_size(size.contents.sums[p]) for p in ("locked", "java", "system"))
    return (
        f"{size.budget} on top of {locked} of locked packages, {java} of Java and {system} of the "
        "distribution's packages"
    )


def _told(sizes: Iterable[tuple[str, int]]) -> str:
    grown = sorted(((more, name) for name, more in sizes if more > 0), reverse=True)[:TOLD]
    return ", ".join(f"{name} {human_size(more)}" for more, name in grown) or "none"


def _contents(text: str) -> Contents:
    document = json.loads(text)
    packages = {name: (declared, taken) for name, (declared, taken) in document["packages"].items()}
    return Contents(
        packages=packages, system=document["system"], java=document["java"], rest=document["rest"]
    )
