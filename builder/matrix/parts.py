"""What targets are made from, as matrix.yaml has it: bases, accelerators, builds, components.

These are the records of builder.matrix.format, which says how their keys are declared.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from builder.matrix import values as v
from builder.matrix.keys import Key, Struct, key, located, named, record, struct
from builder.matrix.schema import Day, ListOf, MapOf, Section, Texts
from builder.matrix.yaml_nodes import Position, Text

__all__ = [
    "ACCEPTED",
    "UNSAID",
    "Accelerator",
    "Accepted",
    "Base",
    "Build",
    "Component",
    "CudaKeyring",
    "FrameworkVersion",
    "Tools",
    "Wheel",
]

# What the file does not say of a key that always has a value.
UNSAID = Text("", Position(file="", line=0, column=0))


@record
class Tools:
    """What the build uses and no image keeps."""

    base: Text = key(v.BASE, "The base of the stage that has them.")
    uv: Text = key(v.VERSION, "The version of uv.", "uv")
    build: Texts = key(v.REQUIREMENTS, "What builds source distributions.", "build_requirements")
    pythons: Mapping[str, Text] = key(
        MapOf(v.PYTHON, v.VERSION, "standalone Pythons"),
        "Builds of CPython that uv installs where a base has no such Python: whole versions, of "
        "which uv has the hashes.",
        default_factory=dict,
    )


@record
class Accepted:
    """An advisory that is accepted, for a reason and until a day."""

    advisory: Text = key(v.ADVISORY, "Its identifier, or any of its aliases.")
    reason: Text = key(v.REASON, "Why the vulnerability may stay.")
    until: Day = key(v.DATE, "The last day of that; after it, `dlc audit` fails.")

    @property
    def at(self) -> Position:
        """Where the matrix names it."""
        return self.advisory.at


ACCEPTED = ListOf(struct(Accepted, "an accepted advisory"), "accepted advisories")


def distribution(base: str) -> str:
    """The distribution and release that the name of a base begins with.

    >>> distribution("debian12-slim"), distribution("ubuntu20.04")
    ('debian12', 'ubuntu20.04')
    """
    return base.partition("-")[0]


@record
class CudaKeyring:
    """The package with the key of NVIDIA's apt repositories."""

    path: str = key(v.KEYRING_PATH, "Where it is below `CUDA_PACKAGES`.")
    sha256: str = key(v.SHA256, "Its hash.")


@record
class Base:
    """An operating system image, pinned by digest."""

    name: str = named(-1, gives="os")
    image: str = key(
        v.IMAGE, "The image, by digest; `dlc bases --update` pins one that has only a tag.", "base"
    )
    end_of_life: datetime.date = key(v.DATE, "The last day of its updates.", "end_of_life")
    jdk: str = key(v.PACKAGE, "The package that Java comes from.")
    pythons: Mapping[str, tuple[str, ...]] = key(
        MapOf(v.PYTHON, v.PACKAGES, "Pythons"),
        "The packages of each Python that the distribution has.",
    )
    bootstrap: str | None = key(
        v.SUITE, "The suite, if the base can be made from an archive.", default=None
    )
    system_date: Day | None = key(
        v.DATE,
        "The date of the distribution's packages, which locks them: [system.md](system.md).",
        "system_date",
        default=None,
    )


@record
class Accelerator:
    """A CUDA toolkit or Neuron SDK, named as in a tag: cu111, sdk1.17.1."""

    name: str = named(-1, gives="device_tag")
    device: str = key(v.ACCELERATED, "The device that it is for.")
    version: str = key(v.VERSION, "The version of the toolkit or SDK.")
    packages: Texts = key(v.PACKAGES, "Its packages.", "accelerator_packages", default=())
    driver_cuda: Text | None = key(
        v.CUDA,
        "The CUDA version of the oldest driver that it runs on, if that is older than its own; "
        "[layers.md](layers.md) has the rule.",
        "driver_cuda",
        default=None,
    )
    develop: Texts = key(v.PACKAGES, "What components for GPUs are built with.", default=())


@record
class Wheel:
    """A wheel outside the package index."""

    url: Text = key(v.WHEEL_ADDRESS, "Where it is, below one of the `sources`.")
    sha256: str | None = key(v.SHA256, "Its hash, once it is known.", default=None)

    @property
    def at(self) -> Position:
        """Where the matrix names it."""
        return self.url.at

    @property
    def filename(self) -> Text:
        """The wheel's file name, unquoted."""
        return Text(_unquoted(self.url.rsplit("/", 1)[1]), self.at)

    @property
    def python(self) -> str:
        """The tag of the one CPython it is for, like cp38; nothing if it is for several."""
        return _tags(self.url)[0]

    @property
    def machine(self) -> str:
        """The architecture that it is for, like x86_64; nothing if it is for all."""
        return _tags(self.url)[1]

    @property
    def source(self) -> str:
        """The name of the source the address begins with."""
        return self.url[2 : self.url.index("}")]


def _unquoted(name: str) -> str:
    from urllib.parse import unquote

    return unquote(name) if "%" in name else name


@cache  # All targets on a build have its wheels.
def _tags(url: str) -> tuple[str, str]:
    """The Python and the architecture in the name of a wheel; each empty if it is for several."""
    name = _unquoted(url.rsplit("/", 1)[1])
    python = re.search(r"-(cp3\d+)-", name)
    machine = re.search(r"_(x86_64|aarch64)(?:\.[^-]*)?\.whl$", name)
    return python[1] if python else "", machine[1] if machine else ""


_WHEELS = ListOf(struct(Wheel, "a wheel"), "wheels")


@record
class Build:
    """One build of a framework version, for cpu or an accelerator."""

    name: Text = named(-1)
    requires: Texts = key(
        v.REQUIREMENTS,
        "Requirements of the package index. What comes from elsewhere is not read when locking, so "
        "what that needs is written here.",
        "framework_requirements",
        default=(),
    )
    wheels: tuple[Wheel, ...] = key(_WHEELS, "Wheels that are not on the index.", default=())
    indexes: Mapping[Text, Texts] = key(
        MapOf(v.SOURCE, v.REQUIREMENTS, "indexes"),
        "Requirements that only another index has, by its source.",
        default_factory=dict,
    )
    carries: Text = key(
        v.ACCELERATOR,
        "The accelerator whose libraries it brings, if not that of its name.",
        "build",
        default=UNSAID,
    )
    python: Text | None = key(v.PYTHON, "Else the framework version's.", "python", default=None)
    base: Text | None = key(v.BASE, "Else the framework version's.", "os", default=None)


def _build(*, name: Text, fallback: Build | None = None, **values: Any) -> Build:
    """The build itself, or its fallback as long as a wheel of it has no known hash."""
    build = Build(name=name, **values)
    if fallback and any(wheel.sha256 is None for wheel in build.wheels):
        build = replace(fallback, name=name)
    return replace(build, carries=build.carries or name)


_ONE_OF = ("requires", "wheels", "indexes")
_FALLBACK = Key(
    shape=struct(Build, "a fallback build", any_of=_ONE_OF),
    meaning="What stands in for it as long as the hash of one of its wheels is not known.",
)
_BUILD = struct(Build, "a build", make=_build, more={"fallback": _FALLBACK}, any_of=_ONE_OF)


@record
class FrameworkVersion:
    """A framework version, and what its targets use unless a release says otherwise."""

    framework: Text = named(-2)
    version: Text = named(-1)
    locked: Day = key(v.DATE, "The date of the framework layer.", "locked")
    python: Text = key(v.PYTHON, "The Python of its targets.", "python")
    base: Text = key(v.BASE, "The base of its targets.", "os")
    builds: Section[Build] = key(
        MapOf(v.BUILD, _BUILD, "builds"), "Its builds, for cpu and by accelerator."
    )
    gpu: Text | None = key(
        v.ACCELERATOR, "The accelerator of gpu targets.", "device_tag", default=None
    )
    neuron: Text | None = key(v.ACCELERATOR, "Of neuron targets.", "device_tag", default=None)
    neuronx: Text | None = key(v.ACCELERATOR, "Of neuronx targets.", "device_tag", default=None)
    requires: Texts = key(
        v.REQUIREMENTS, "What all its builds need.", "framework_requirements", default=()
    )
    constraints: Texts = key(v.REQUIREMENTS, "Limits to other packages.", "constraints", default=())
    toolchain: Text | None = key(
        v.TOOLCHAIN,
        "What compiles C and C++ in its images: else g++ in those of training and of PyTorch 2 and "
        "later, where `torch.compile` needs it.",
        "toolchain",
        default=None,
    )
    system_date: Day | None = key(v.DATE, "Else the base's.", "system_date", default=None)

    @property
    def accelerators(self) -> dict[str, Text]:
        """Its accelerators, by device."""
        return {name: found for name in v.DEVICES[1:] if (found := getattr(self, name))}


@record
class Component:
    """An optional part of training images that a row can name; `components` knows the kinds."""

    name: Text = named(-1, gives="components")
    defined: Text = named(-1)
    kind: Text = key(v.KIND, "What it is.")
    version: Text = key(v.VERSION, "Its version.")
    frameworks: Mapping[str, Texts] = key(
        Struct(
            what="the `for` of a component",
            keys={
                name: Key(shape=v.VERSIONS, meaning=f"Versions of {name}.") for name in v.FRAMEWORKS
            },
            any_of=v.FRAMEWORKS,
        ),
        "The framework versions that it is for, if not for any.",
        name="for",
        default_factory=dict,
    )
    source: Text | None = key(v.FILE_ADDRESS, "Where its file is.", default=None)
    sha256: str | None = key(v.SHA256, "The hash of that file.", default=None)
    wheels: tuple[Wheel, ...] = key(_WHEELS, "Wheels that are not on the index.", default=())
    requires: Texts = key(v.REQUIREMENTS, "What it is on the index.", default=())
    build: Texts = key(
        v.REQUIREMENTS,
        "What its source distributions are built with, besides what `tools` says.",
        "build_requirements",
        default=(),
    )
    needs: Texts = key(v.KINDS, "What a row must name besides.", default=())
    compilers: Texts = key(v.COMPILERS, "Packages of its own stage.", default=())
    system: Texts = key(v.PACKAGES, "Packages that the image keeps.", default=())
    keys: Mapping[str, Position] = located()

    @property
    def at(self) -> Position:
        """Where it is defined; its name may stand where a row names it."""
        return self.defined.at
