"""The matrix as frozen dataclasses: parsed once, checked, then trusted.

builder.matrix_reader reads them from a file; builder.targets turns the releases into targets.
`at` is where the matrix names a thing.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass

from builder.document import Position, Text

__all__ = [
    "Accelerator",
    "Base",
    "Build",
    "Entry",
    "FrameworkVersion",
    "Libraries",
    "Matrix",
    "Release",
    "Tools",
    "Wheel",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tools:
    """What the build uses and no image keeps."""

    base: Text
    uv: Text


@dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """An operating system image, pinned by digest; `said` tells where its image and end are."""

    name: str
    image: str
    end_of_life: datetime.date
    java: str
    pythons: Mapping[str, tuple[str, ...]]
    bootstrap: str | None
    said: Mapping[str, Position]


@dataclass(frozen=True, kw_only=True, slots=True)
class Accelerator:
    """A CUDA toolkit or Neuron SDK, named as in a tag: cu111, sdk1.17.1."""

    name: str
    device: str
    version: str
    packages: tuple[Text, ...]


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
    def source(self) -> str:
        """The name of the source the address begins with."""
        return self.url[2 : self.url.index("}")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """One build of a framework version, for cpu or an accelerator; what it `carries` may differ."""

    name: str
    requires: tuple[Text, ...]
    wheels: tuple[Wheel, ...]
    index: Text | None
    carries: str
    python: Text | None
    base: Text | None
    at: Position


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameworkVersion:
    """A framework version and what its targets use unless a release says otherwise.

    `named` are the builds that the file names, broken ones too.
    """

    framework: str
    version: str
    locked: Text
    python: Text
    base: Text
    accelerators: Mapping[str, Text]
    constraints: tuple[Text, ...]
    builds: Mapping[str, Build]
    named: frozenset[str]
    at: Position


@dataclass(frozen=True, kw_only=True, slots=True)
class Libraries:
    """A set of requirements of the libraries layer."""

    name: str
    requires: tuple[Text, ...]
    by_framework: Mapping[str, tuple[Text, ...]]
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """One Transformers version with its datasets version and date."""

    transformers: Text
    datasets: Text
    date: Text
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """All of matrix.yaml that is sound. `named` are the keys of each section, broken ones too."""

    tools: Tools | None
    sources: Mapping[str, str]
    bases: Mapping[str, Base]
    accelerators: Mapping[str, Accelerator]
    frameworks: Mapping[tuple[str, str], FrameworkVersion]
    libraries: Mapping[str, Libraries]
    releases: tuple[Release, ...]
    named: Mapping[str, tuple[str, ...]]
