"""One image to build: everything that is known of it, its names and its labels."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from builder.matrix.format import (
    GIVES,
    Accelerator,
    Base,
    Build,
    Component,
    CudaKeyring,
    Upgrade,
)
from builder.matrix.parts import Accepted
from builder.matrix.platforms import DEFAULT, PLATFORMS, Platform
from builder.matrix.schema import Day, where
from builder.matrix.tags import Repository, Tag, python_tag
from builder.matrix.yaml_nodes import Position
from builder.util.frozen import frozen

__all__ = ["STAND_IN", "STAND_IN_LABEL", "Target"]

# The repository prefix of images that are only for tests, and the label that says so.
STAND_IN = "stand-in"
STAND_IN_LABEL = "dlc.stand-in"

_FRAMEWORK_TITLES = {"pytorch": "PyTorch", "tensorflow": "TensorFlow"}
_SAGEMAKER = "com.amazonaws.sagemaker.capabilities"
_ENGINES = "com.amazonaws.ml.engines.sagemaker.dlc"


@frozen
class Target:
    """One image to build.

    `python` is a version like 3.8; `standalone_python` the whole version of the build that uv puts
    in where the base has none, else empty; `toolchain` is what the image compiles C and C++ with,
    or none; `datasets` is None where the image has none (inference);
    `account` is the AWS account that the matrix names for its own images, else empty;
    `variant` is the end of its tag where others have the same versions, else empty;
    `platform` is what it runs on, like linux/amd64, after which a tag has no end of its own;
    `major` is the first number of the releases of the official image, vX.Y;
    `stand_in` is what an image that is only for tests has instead of the real parts, else empty;
    `budget` is what the matrix says of its size, if it does (see builder.build.size_budget);
    `excludes` are packages that it lacks although others of its packages require them;
    `components` are in the order in which the image takes them; `env` and `own_labels` are the
    matrix's own variables and labels, `accepted` the advisories that it may have; `system_date` is
    the date of the distribution's packages where these are locked.
    """

    mode: str
    framework: str
    framework_version: str
    transformers: str
    datasets: str | None
    device: str
    python: str
    base: Base
    accelerator: Accelerator | None
    build: Build
    locked: datetime.date
    date: datetime.date
    library_requirements: tuple[str, ...]
    libraries: str
    standalone_python: str
    tools_base: Base
    uv: str
    sources: Mapping[str, str]
    cuda_keyring: CudaKeyring | None
    upgrades: tuple[Upgrade, ...]
    accelerator_packages: tuple[str, ...] = ()
    build_requirements: tuple[str, ...] = ()
    framework_requirements: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    compilers: tuple[str, ...] = ()
    system_packages: tuple[str, ...] = ()
    toolchain: str = "none"
    origin: str = "official"
    account: str = ""
    major: str = "1"
    variant: str = ""
    platform: str = DEFAULT
    stand_in: str = ""
    budget: str = ""
    components: tuple[Component, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    own_labels: Mapping[str, str] = field(default_factory=dict)
    accepted: tuple[Accepted, ...] = ()
    system_date: Day | None = None

    @property
    def repository(self) -> str:
        """The repository name, like huggingface-pytorch-inference."""
        name = Repository(
            framework=self.framework,
            mode=self.mode,
            neuron=self.device if self.device in ("neuron", "neuronx") else "",
            compiler=any(each.kind == "training-compiler" for each in self.components),
        )
        return f"{STAND_IN}/{name}" if self.stand_in else str(name)

    @property
    def parts(self) -> Tag:
        """The parts of the tag."""
        return Tag(
            framework_version=self.framework_version,
            transformers=self.transformers,
            device=self.device,
            python=self.python,
            accelerator=self.accelerator.name if self.accelerator else None,
            os="-".join(filter(None, (self.base.name, self.variant, self.runs_on.suffix))),
        )

    @property
    def runs_on(self) -> Platform:
        """What is known of its platform."""
        return PLATFORMS[self.platform]

    @property
    def tag(self) -> str:
        """The full tag."""
        return str(self.parts)

    @property
    def name(self) -> str:
        """`repository:tag`, which names this target everywhere."""
        return f"{self.repository}:{self.tag}"

    @property
    def folder(self) -> str:
        """Where its rendered files are, below images/."""
        return f"{self.repository}/{self.tag}"

    @property
    def framework_title(self) -> str:
        """The framework as it spells itself: PyTorch."""
        return _FRAMEWORK_TITLES[self.framework]

    @property
    def toolchain_packages(self) -> tuple[str, ...]:
        """The distribution packages of its toolchain, with the headers of a Python of theirs."""
        if self.toolchain == "none":
            return ()
        packaged = self.base.pythons.get(self.python)
        return (self.toolchain, *([f"libpython{self.python}-dev"] if packaged else []))

    @property
    def compiles_models(self) -> bool:
        """Whether its framework compiles models, as PyTorch does from 2 on, by torch.compile."""
        return self.framework == "pytorch" and int(self.framework_version.partition(".")[0]) >= 2

    @property
    def driver_cuda(self) -> str:
        """The CUDA version, like 11.0, that a GPU's driver must have at least; empty without one.

        That of what the framework's build really carries, unless the accelerator names an older
        one.
        """
        carried = re.fullmatch(r"cu(\d+)(\d)", self.build.carries)
        if carried is None:
            return ""
        accelerator = self.accelerator
        if accelerator and accelerator.driver_cuda and accelerator.name == self.build.carries:
            return accelerator.driver_cuda
        return f"{carried[1]}.{carried[2]}"

    def given(self) -> dict[str, Any]:
        """What the matrix gives it, by the names that its keys have for that."""
        own = {
            "os": self.base.name,
            "base": self.base.image,
            "end_of_life": self.base.end_of_life,
            "device_tag": (self.accelerator or self.base).name,
            "build": self.build.carries,
            "components": tuple(each.name for each in self.components),
            "framework_requirements": (
                *self.framework_requirements,
                *(wheel.filename for wheel in self.build.wheels),
            ),
        }
        return {name: own[name] if name in own else getattr(self, name) for name in GIVES}

    @property
    def defined_at(self) -> dict[str, Position]:
        """Where the matrix gives each of them, of a list its first item; defaults are not in it."""
        return {name: at for name, value in self.given().items() if (at := where(value))}

    def row(self) -> dict[str, Any]:
        """The target as one row of a listing, in JSON's types."""
        return {
            "repository": self.repository,
            "tag": self.tag,
            "mode": self.mode,
            "framework": self.framework,
            "framework_version": self.framework_version,
            "transformers": self.transformers,
            "datasets": self.datasets,
            "device": self.device,
            "platform": self.platform,
            "python": python_tag(self.python),
            "os": self.base.name,
            "device_tag": self.parts.device_tag,
            "base": self.base.image,
            "date": self.date.isoformat(),
            "origin": self.origin,
        }

    def labels(self) -> dict[str, str]:
        """Labels of the image, sorted by name: OCI's, SageMaker's (ten at most) and our own.

        SageMaker's are those that the official images carry, in the spelling of AWS's builder:
        dots in versions become dashes.
        """
        device = self.device
        if device == "gpu" and self.accelerator:
            device = f"gpu.{self.accelerator.name}"
        engines = {
            f"framework.huggingface-{self.framework}.{_dashes(self.framework_version)}",
            f"lib.transformers.{_dashes(self.transformers)}",
            f"device.{device}",
            f"python.{python_tag(self.python)}",
            f"os.{_dashes(self.base.name)}",
            f"job.{self.mode}",
            f"arch.{self.runs_on.label}",
            "contributor.huggingface",
        }
        labels = {f"{_ENGINES}.{engine}": "true" for engine in engines}
        if self.mode == "inference":
            labels[f"{_SAGEMAKER}.accept-bind-to-port"] = "true"
            if self.device == "cpu":
                labels[f"{_SAGEMAKER}.multi-models"] = "true"
        labels |= {
            "dlc_major_version": self.major,
            "dlc.build": self.build.carries,
            "dlc.date": self.date.isoformat(),
            "dlc.origin": self.origin,
            "org.opencontainers.image.base.name": self.base.image.split("@")[0],
            "org.opencontainers.image.title": self.repository,
            "org.opencontainers.image.version": self.tag,
        }
        if self.components:
            labels["dlc.components"] = " ".join(f"{c.kind}={c.version}" for c in self.components)
        if self.excludes:
            labels["dlc.excludes"] = " ".join(self.excludes)
        if self.toolchain != "none":
            labels["dlc.toolchain"] = self.toolchain
        if self.stand_in:
            labels[STAND_IN_LABEL] = self.stand_in
        return dict(sorted({**labels, **self.own_labels}.items()))


def _dashes(version: str) -> str:
    return version.replace(".", "-")
