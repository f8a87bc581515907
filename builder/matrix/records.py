"""The matrix as frozen dataclasses: parsed once, checked, then trusted.

builder.matrix.read reads them from a file; builder.matrix.targets turns the releases into targets.
`at` is where the matrix names a thing.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass

from builder.matrix.yaml_nodes import Position, Text

__all__ = [
    "Accelerator",
    "Base",
    "Build",
    "Component",
    "CudaKeyring",
    "Entry",
    "FrameworkVersion",
    "Libraries",
    "Matrix",
    "Release",
    "Tools",
    "Upgrade",
    "Wheel",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools:
    """What the build uses and no image keeps; source distributions are built with `build`.

    `pythons` are the standalone builds that uv puts in where a base has none, by a version like
    3.10: whole versions, of which uv has the hashes.
    """

    base: Text
    uv: Text
    build: tuple[Text, ...]
    pythons: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """An operating system image, pinned by digest; `said` tells where its image and end are."""

    name: str
    image: str
    end_of_life: datetime.date
    jdk: str
    pythons: Mapping[str, tuple[str, ...]]
    bootstrap: str | None
    said: Mapping[str, Position]


@dataclass(frozen=True, kw_only=True, slots=True)
class Accelerator:
    """A CUDA toolkit or Neuron SDK, named as in a tag: cu111, sdk1.17.1.

    `driver_cuda` is the CUDA version that a driver must have at least, like 11.0; None stands for
    the toolkit's own. `develop` are the packages that components for GPUs are built with.
    """

    name: str
    device: str
    version: str
    packages: tuple[Text, ...]
    driver_cuda: Text | None
    develop: tuple[Text, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class CudaKeyring:
    """The package with the key of NVIDIA's apt repositories: its path below them, and its hash."""

    path: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """A wheel outside the package index. `url` begins with a source: ${PYTORCH_WHEELS}/..."""

    url: str
    sha256: str | None
    at: Position

    @property
    def filename(self) -> str:
        """The wheel's file name, unquoted."""
        from urllib.parse import unquote

        return unquote(self.url.rsplit("/", 1)[1])

    @property
    def python(self) -> str:
        """The tag of the one CPython it is for, like cp38; nothing if it is for several."""
        tag = re.search(r"-(cp3\d+)-", self.filename)
        return tag[1] if tag else ""

    @property
    def source(self) -> str:
        """The name of the source the address begins with."""
        return self.url[2 : self.url.index("}")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """One build of a framework version, for cpu or an accelerator; what it `carries` may differ.

    `indexes` are requirements that only another index has, by its source.
    """

    name: str
    requires: tuple[Text, ...]
    wheels: tuple[Wheel, ...]
    indexes: Mapping[Text, tuple[Text, ...]]
    carries: str
    python: Text | None
    base: Text | None
    at: Position


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameworkVersion:
    """A framework version and what its targets use unless a release says otherwise.

    `requires` is what all its builds need; `named` are the builds that the file names, broken ones
    too.
    """

    framework: str
    version: str
    locked: Text
    python: Text
    base: Text
    accelerators: Mapping[str, Text]
    requires: tuple[Text, ...]
    constraints: tuple[Text, ...]
    builds: Mapping[str, Build]
    named: frozenset[str]
    at: Position


@dataclass(frozen=True, kw_only=True, slots=True)
class Component:
    """An optional part of training images that a row can name; `components` knows the kinds.

    It comes as a file (`source`, which begins with a source like ${OPENMPI_SOURCES}), as `wheels`
    or by what it `requires` of the package index. `needs` are kinds of other components, `build`
    what its source distributions are built with besides; `compilers` stay in its own stage.
    `frameworks` are the versions it is `for`, by framework; `said` is where each of its keys is.
    """

    name: str
    kind: str
    version: str
    source: Text | None
    sha256: str | None
    wheels: tuple[Wheel, ...]
    requires: tuple[Text, ...]
    build: tuple[Text, ...]
    needs: tuple[Text, ...]
    compilers: tuple[Text, ...]
    system: tuple[Text, ...]
    frameworks: Mapping[str, tuple[Text, ...]]
    said: Mapping[str, Position]
    at: Position


@dataclass(frozen=True, kw_only=True, slots=True)
class Libraries:
    """A set of requirements of the libraries layer; `compilers` are there while it is installed."""

    name: str
    requires: tuple[Text, ...]
    by_framework: Mapping[str, tuple[Text, ...]]
    compilers: tuple[Text, ...]
    system: tuple[Text, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One framework version in one mode of a release; None where the entry says nothing."""

    mode: Text
    framework: Text
    version: Text
    devices: tuple[Text, ...] | None
    python: Text | None
    base: Text | None
    accelerator: Text | None
    date: Text | None
    libraries: Text
    origin: Text | None
    major: Text | None
    components: tuple[Text, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """One Transformers version with its datasets version and date."""

    transformers: Text
    datasets: Text
    date: Text
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Upgrade:
    """A package that is lifted above what a lock's date gives: to `version`, else to the newest.

    `date` is that of the upgrade, until which its versions count; after `until` it wants a new
    look.
    """

    package: str
    version: str | None
    date: datetime.date
    reason: str
    until: datetime.date
    at: Position

    @property
    def requirement(self) -> str:
        """The constraint that it is."""
        return f"{self.package}=={self.version}" if self.version else self.package

    @property
    def rule(self) -> str:
        """What of it determines a lock."""
        return f"upgrade {self.requirement} as of {self.date}"

    def lifts(self, version: str) -> bool:
        """Whether it is for a lock that has this version."""
        from packaging.version import Version

        return self.version is None or Version(version) < Version(self.version)


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """All of matrix.yaml that is sound. `named` are the keys of each section, broken ones too."""

    tools: Tools | None
    sources: Mapping[str, str]
    cuda_keyring: CudaKeyring | None
    bases: Mapping[str, Base]
    accelerators: Mapping[str, Accelerator]
    frameworks: Mapping[tuple[str, str], FrameworkVersion]
    libraries: Mapping[str, Libraries]
    releases: tuple[Release, ...]
    upgrades: tuple[Upgrade, ...]
    budgets: Mapping[Text, Text]
    components: Mapping[str, Component]
    named: Mapping[str, tuple[str, ...]]
