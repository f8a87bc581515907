"""What the site tells, as values: all images, and what is known of each. No page is made here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builder.engine.layers import Layer
from builder.inventory.diff import Change
from builder.matrix.platforms import DEFAULT
from builder.util.check import Check

__all__ = [
    "Advisory",
    "Asked",
    "Catalog",
    "Contract",
    "Image",
    "Package",
    "Proof",
    "Published",
    "Table",
    "Task",
]

# How far an image is proven, from the best to the worst: what it is called, and its explanation.
STATES: Mapping[str, tuple[str, str]] = {
    "proven": ("proven", "the real image was built and passed its checks"),
    "stand-in": ("on a stand-in", "proven with another base or wheel in place of the real one"),
    "partial": ("in part", "proven on a stand-in, without packages that nothing stood in for"),
    "failed": ("failed", "it did not pass its checks"),
    "untried": ("not built yet", "it can be built, and was not yet"),
    "unbuildable": ("not buildable", "the SHA-256 of something that it needs is not known"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """A package of an image; `layer` is the lock that has it, empty for what is in no lock."""

    kind: str
    name: str
    version: str
    layer: str = ""
    licenses: tuple[str, ...] = ()
    within: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """What became of an image when it was built and checked; sizes are bytes unpacked.

    `stand_in` is what was not the real thing, `gaps` what nothing stood in for: without this.
    """

    base: str
    stand_in: str
    gaps: tuple[str, ...]
    date: str
    seconds: float
    size: int
    limit: int
    fills: Mapping[str, int]
    error: str
    checks: tuple[Check, ...]
    layers: tuple[Layer, ...]

    @property
    def passed(self) -> bool:
        """Whether it was built, and every check passed."""
        return bool(self.checks) and not self.error and all(each.passed for each in self.checks)


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What an image answered when it was asked a task; `reason` is why it cannot."""

    name: str
    supported: bool
    passed: bool
    seconds: float
    detail: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """When an image was asked its tasks, with which toolkit, and what in it was a stand-in."""

    date: str
    toolkit: str
    stand_in: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """The results of an image's contract: tests passed and run, by part.

    `skipped` are tests with their reasons, `told` what training jobs did, by test.
    """

    date: str
    seconds: float
    stand_in: str
    parts: Mapping[str, tuple[int, int]]
    skipped: tuple[str, ...]
    told: Mapping[str, str]

    @property
    def passed(self) -> int:
        """The number of tests that passed."""
        return sum(passed for passed, _ in self.parts.values())

    @property
    def ran(self) -> int:
        """The number of tests that ran."""
        return sum(ran for _, ran in self.parts.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Advisory:
    """A known vulnerability of a package; `accepted` is why it may stay, and `until` when."""

    id: str
    aliases: tuple[str, ...]
    severity: str
    summary: str
    package: str
    version: str
    fix: str
    fixed_in: str
    accepted: str = ""
    until: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """An image in a registry: of a day, with its digest, its stored bytes and its notes."""

    date: str
    image: str
    tags: tuple[str, ...]
    digest: str
    size: int
    profile: str
    notes: str = ""

    @property
    def reference(self) -> str:
        """By digest."""
        return f"{self.image}@{self.digest}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """Everything that the site tells of one image.

    `state` is one of STATES, and `reason` says more of it. `tasks` and `asked` are None for one
    that was not asked, `advisories` for one that was not audited; `accepted` are advisories that
    the matrix lets it have, with reason and last day. `former` is the image before it, by name, and
    `changes` what differs.
    """

    name: str
    repository: str
    tag: str
    mode: str
    framework: str
    framework_version: str
    transformers: str
    datasets: str
    device: str
    python: str
    standalone_python: str
    os: str
    base: str
    accelerator: str
    carries: str
    driver_cuda: str
    date: str
    locked: str
    end_of_life: str
    origin: str
    components: tuple[str, ...]
    labels: Mapping[str, str]
    env: Mapping[str, str]
    budget: str
    state: str
    reason: str
    dockerfile: str
    packages: tuple[Package, ...]
    proof: Proof | None = None
    tasks: tuple[Task, ...] | None = None
    asked: Asked | None = None
    contract: Contract | None = None
    advisories: tuple[Advisory, ...] | None = None
    accepted: tuple[tuple[str, str, str], ...] = ()
    published: tuple[Published, ...] = ()
    inventory_of: str = ""
    former: str = ""
    platform: str = DEFAULT
    changes: tuple[Change, ...] = ()

    @property
    def page(self) -> str:
        """The address of its page, below the site."""
        return f"images/{self.repository}/{self.tag}.html"

    @property
    def data(self) -> str:
        """The address of its data, below the site."""
        return f"data/images/{self.repository}/{self.tag}.json"

    @property
    def title(self) -> str:
        """In words: PyTorch 2.3.0, Transformers 4.48.0."""
        return f"{self.framework} {self.framework_version}, Transformers {self.transformers}"

    @property
    def size(self) -> int:
        """Its bytes unpacked, 0 if nobody has built it."""
        return self.proof.size if self.proof else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table of the reference page, or of what came after it: cells and the image of each row."""

    heading: str
    titles: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalog:
    """All images, in the order of the reference page and then of the matrix.

    `tables` are those of that page, with what came after them; `templates` are the sources of the
    Dockerfiles by their addresses; `regions` those with official images: account and DNS suffix.
    """

    images: tuple[Image, ...]
    templates: Mapping[str, str]
    regions: Mapping[str, Mapping[str, Any]]
    tables: tuple[Table, ...] = ()
    version: str = ""

    def image(self, name: str) -> Image | None:
        """The image of a name."""
        return next((each for each in self.images if each.name == name), None)
