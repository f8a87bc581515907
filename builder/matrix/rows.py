"""The rows of a matrix: releases, the framework versions in their modes, and sets of libraries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from builder.matrix import values as v
from builder.matrix.keys import key, named, record, struct
from builder.matrix.parts import ACCEPTED, UNSAID, Accepted
from builder.matrix.schema import Day, ListOf, Texts
from builder.matrix.yaml_nodes import Text

__all__ = ["Entry", "Libraries", "Mode", "Release"]


@record
class Libraries:
    """A set of requirements of the libraries layer."""

    requires: Texts = key(
        v.REQUIREMENTS,
        "What it requires; `{transformers}` and `{datasets}` are the release's versions.",
        "library_requirements",
    )
    pytorch: Texts = key(
        v.REQUIREMENTS, "What more on PyTorch.", "library_requirements", default=()
    )
    tensorflow: Texts = key(
        v.REQUIREMENTS, "What more on TensorFlow.", "library_requirements", default=()
    )
    excludes: Texts = key(
        v.REQUIREMENTS,
        "Packages that are left out although others require them, by name; a marker may say on "
        "which Pythons.",
        "excludes",
        default=(),
    )
    compilers: Texts = key(
        v.COMPILERS,
        "Packages that are there only while source distributions are built.",
        "compilers",
        default=(),
    )
    system: Texts = key(v.PACKAGES, "Packages that the image keeps.", "system_packages", default=())
    env: Mapping[Text, Text] = key(v.ENV, "Environment variables.", "env", default_factory=dict)
    labels: Mapping[Text, Text] = key(v.LABELS, "Labels.", "own_labels", default_factory=dict)
    accepted: tuple[Accepted, ...] = key(
        ACCEPTED, "Advisories that its targets may have.", "accepted", default=()
    )

    def on(self, framework: str) -> Libraries:
        """The set as it is on one framework."""
        others: dict[str, Any] = {name: () for name in v.FRAMEWORKS if name != framework}
        return replace(self, **others)


@record
class Entry:
    """One framework version in one mode of a release."""

    mode: Text = named(-2, gives="mode")
    framework: Text = named(-1, gives="framework")
    version: Text = key(v.VERSION, "The framework version.", "framework_version")
    devices: Texts = key(
        ListOf(v.DEVICE, "devices"),
        "One target for each; else gpu for training, cpu and gpu for inference.",
        "device",
        default=(),
    )
    platforms: Texts = key(
        ListOf(v.PLATFORM, "platforms"),
        "One target for each; else linux/amd64. Others are for own images for cpu; see "
        "[platforms.md](platforms.md).",
        "platform",
        default=(),
    )
    python: Text | None = key(v.PYTHON, "Else the build's or version's.", "python", default=None)
    base: Text | None = key(v.BASE, "Else the build's or version's.", "os", default=None)
    accelerator: Text | None = key(
        v.ACCELERATOR, "Else the framework version's.", "device_tag", default=None
    )
    date: Day | None = key(v.DATE, "Else the release's.", "date", default=None)
    system_date: Day | None = key(
        v.DATE, "Else the framework version's or base's.", "system_date", default=None
    )
    libraries: Text = key(v.LIBRARIES, "Else the mode's.", "libraries", default=UNSAID)
    origin: Text | None = key(
        v.ORIGIN,
        "Released by AWS (the default), only in the reference tables, or our own.",
        "origin",
        default=None,
    )
    major: Text | None = key(
        v.MAJOR, "Of the official image's releases, vX.Y; else 1.", "major", default=None
    )
    toolchain: Text | None = key(
        v.TOOLCHAIN, "Else the framework version's.", "toolchain", default=None
    )
    variant: Text | None = key(
        v.VARIANT,
        "Ends the tags of its targets, beside others of the same versions; own images only.",
        "variant",
        default=None,
    )
    components: Texts = key(
        ListOf(v.COMPONENT, "components"),
        "Optional parts, for training.",
        "components",
        default=(),
    )
    env: Mapping[Text, Text] = key(
        v.ENV, "Added to those of the libraries; the row's value wins.", "env", default_factory=dict
    )
    labels: Mapping[Text, Text] = key(
        v.LABELS,
        "Added to those of the libraries; the row's value wins.",
        "own_labels",
        default_factory=dict,
    )
    accepted: tuple[Accepted, ...] = key(
        ACCEPTED, "Advisories that its targets may have, too.", "accepted", default=()
    )


_ENTRIES = ListOf(struct(Entry, "a framework entry", short="version"), "framework versions")


@record
class Mode:
    """What a release has for training, or for inference."""

    libraries: Text = key(v.LIBRARIES, "The libraries of its targets.", "libraries")
    pytorch: tuple[Entry, ...] = key(_ENTRIES, "PyTorch versions.", default=())
    tensorflow: tuple[Entry, ...] = key(_ENTRIES, "TensorFlow versions.", default=())


def _mode(*, libraries: Text, **frameworks: tuple[Entry, ...]) -> Mode:
    """A mode whose entries have its libraries, where they name none."""
    entries = {
        name: tuple(replace(each, libraries=each.libraries or libraries) for each in found)
        for name, found in frameworks.items()
    }
    return Mode(libraries=libraries, **entries)


_MODE = struct(Mode, "a mode of a release", make=_mode, any_of=v.FRAMEWORKS)


@record
class Release:
    """One Transformers version with its datasets version and date."""

    transformers: Text = key(v.VERSION, "The Transformers version.", "transformers")
    datasets: Text = key(v.VERSION, "The datasets version, of training.", "datasets")
    date: Day = key(v.DATE, "The date of the libraries layer.", "date")
    training: Mode | None = key(_MODE, "Its targets for training.", default=None)
    inference: Mode | None = key(_MODE, "Its targets for inference.", default=None)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The entries of both modes."""
        modes = (mode for mode in (self.training, self.inference) if mode)
        return tuple(entry for mode in modes for entry in (*mode.pytorch, *mode.tensorflow))
