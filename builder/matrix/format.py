"""The format of matrix.yaml: each key once, at the field of the record that it becomes.

A key says of what shape its value is (builder.matrix.values), what it means, and which value of a
target it gives. The reader, its messages, the JSON schema, the tables of docs/matrix.md and what
`dlc show` tells come from that. builder.matrix.rows has the releases and their rows,
builder.matrix.parts what those are made from.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from builder.matrix import values as v
from builder.matrix.keys import gifts, key, located, record, struct
from builder.matrix.parts import (
    ACCEPTED,
    UNSAID,
    Accelerator,
    Accepted,
    Base,
    Build,
    Component,
    CudaKeyring,
    FrameworkVersion,
    Tools,
    Wheel,
)
from builder.matrix.rows import Entry, Libraries, Release
from builder.matrix.schema import ListOf, MapOf, Section, Texts, where
from builder.matrix.yaml_nodes import Position, Text

__all__ = [
    "GIVES",
    "MATRIX",
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
    "schema_text",
]


@record
class Upgrade:
    """A package that is newer than a lock's date gives; `dlc lock --upgrade` writes them.

    Of several of one package, a lock takes the newest that it can.
    """

    package: str = key(v.PROJECT, "The package.")
    date: datetime.date = key(v.DATE, "The day of the upgrade, until which its versions count.")
    reason: str = key(v.REASON, "Why it is needed.")
    until: datetime.date = key(v.DATE, "The day after which to look again.")
    version: str | None = key(v.ANY_VERSION, "Its version; else the newest.", default=None)
    oldest: str | None = key(
        v.ANY_VERSION,
        "The oldest version that it replaces; else all older ones.",
        name="from",
        default=None,
    )

    @property
    def at(self) -> Position:
        """Where the matrix names it."""
        return where(self.package) or UNSAID.at

    @property
    def requirement(self) -> str:
        """The constraint that it is."""
        return f"{self.package}=={self.version}" if self.version else self.package

    @property
    def rule(self) -> str:
        """What of it determines a lock."""
        rule = f"upgrade {self.requirement} as of {self.date}"
        return f"{rule} from {self.oldest}" if self.oldest else rule

    def lifts(self, version: str) -> bool:
        """Whether it is for a lock that has this version."""
        from packaging.version import Version

        found = Version(version)
        if self.oldest is not None and found < Version(self.oldest):
            return False
        return self.version is None or found < Version(self.version)


@record
class Matrix:
    """All of matrix.yaml that is sound; `keys` are those of broken sections too."""

    tools: Tools | None = key(struct(Tools, "tools"), "What the build uses and no image keeps.")
    bases: Mapping[str, Base] = key(
        MapOf(v.BASE, struct(Base, "a base"), "bases"), "Operating systems."
    )
    frameworks: Section[Section[FrameworkVersion]] = key(
        MapOf(
            v.FRAMEWORK,
            MapOf(v.VERSION, struct(FrameworkVersion, "a framework version"), "framework versions"),
            "frameworks",
        ),
        "Frameworks and their versions.",
    )
    libraries: Mapping[str, Libraries] = key(
        MapOf(v.LIBRARIES, struct(Libraries, "a set of libraries"), "sets of libraries"),
        "Sets of requirements, by a name that releases use.",
    )
    releases: tuple[Release, ...] = key(
        ListOf(struct(Release, "a release", any_of=v.MODES), "releases"),
        "One for each Transformers release.",
    )
    sources: Mapping[str, str] = key(
        MapOf(v.SOURCE, v.SOURCE_ADDRESS, "sources"),
        "Addresses of wheels and components that the package index does not have; locks name the "
        "variable.",
        default_factory=Section,
    )
    cuda_keyring: CudaKeyring | None = key(
        struct(CudaKeyring, "the CUDA keyring"),
        "NVIDIA's package with the key of its apt repositories.",
        default=None,
    )
    upgrades: tuple[Upgrade, ...] = key(
        ListOf(struct(Upgrade, "an upgrade"), "upgrades"),
        "Packages that are newer than a lock's date gives; `dlc lock --upgrade` writes them.",
        default=(),
    )
    accepted: tuple[Accepted, ...] = key(
        ACCEPTED,
        "Advisories that any target may have; see [inventory.md](inventory.md).",
        "accepted",
        default=(),
    )
    budgets: Mapping[Text, Text] = key(
        MapOf(v.TARGETS, v.BUDGET, "budgets"),
        "How large an image may be, by a glob over names of targets; the last that fits counts. "
        "The default is 15 %; see [size.md](size.md).",
        "budget",
        default_factory=dict,
    )
    account: Text | None = key(
        v.ACCOUNT,
        "The AWS account whose registries have your own rows' images; `dlc uri` names it.",
        "account",
        default=None,
    )
    components: Mapping[str, Component] = key(
        MapOf(v.COMPONENT, struct(Component, "a component"), "components"),
        "Optional parts of training images; see [components.md](components.md).",
        default_factory=Section,
    )
    accelerators: Mapping[str, Accelerator] = key(
        MapOf(v.ACCELERATOR, struct(Accelerator, "an accelerator"), "accelerators"),
        "CUDA toolkits and Neuron SDKs, by their name in a tag.",
        default_factory=Section,
    )
    keys: Mapping[str, Position] = located()

    def named(self, section: str) -> Texts:
        """The names in a section, those of broken entries too."""
        names: Texts = getattr(self, section).named
        return names

    def versions(self, framework: str) -> Section[FrameworkVersion]:
        """The versions of a framework; none if the matrix does not have it."""
        return self.frameworks.get(framework, Section())


MATRIX = struct(Matrix, "the matrix", partial=True)
# The values of a target that the matrix gives.
GIVES = gifts(MATRIX)


def schema_text() -> str:
    """The JSON schema of the matrix, as committed in builder/matrix.schema.json."""
    import json

    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "matrix.yaml: which Deep Learning Containers exist",
        **MATRIX.schema(),
    }
    return json.dumps(schema, indent=2) + "\n"
