"""What templates are told of a target."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from packaging.version import Version

from builder.matrix.components import KINDS, locked, wheels
from builder.matrix.format import Component
from builder.matrix.parts import distribution
from builder.matrix.target import Target
from builder.matrix.validate import fill

__all__ = ["HEADER", "quoted", "template_context"]

HEADER = "Rendered from matrix.yaml by `dlc render`: change that or the templates, not this file."

# Before this Transformers, which leaves downloads to huggingface_hub 0.9, they do not follow the
# redirects that the Hub answers with today.
_FOLLOWS_REDIRECTS = "4.22"
# From this Transformers on the last toolkit does not import.
_BREAKS_TOOLKIT = "5"
# A wheel that brings the program; only its name is to be put on PATH.
_FFMPEG_WHEEL = "imageio-ffmpeg"
# Repositories by NVIDIA's and Ubuntu's names for a base.
_CUDA_REPOSITORY = "https://developer.download.nvidia.com/compute/cuda/repos"
_NEURON_REPOSITORY = "https://apt.repos.neuron.amazonaws.com"
_ACCELERATOR_KINDS = {"gpu": "cuda", "neuron": "neuron", "neuronx": "neuron"}
_SUITES = {
    "ubuntu18.04": "bionic",
    "ubuntu20.04": "focal",
    "ubuntu22.04": "jammy",
    "debian12": "bookworm",
}


def template_context(target: Target) -> Mapping[str, Any]:
    """The variables that every template has, by name."""
    accelerator = target.accelerator
    components = [_component(target, each) for each in target.components]
    sources = {wheel.source: str(target.sources[wheel.source]) for wheel in target.build.wheels}
    if target.build.indexes:
        indexes = (target.sources[source] for source in target.build.indexes)
        sources["UV_INDEX"] = " ".join(indexes)
    return {
        "target": target,
        "needs_redirect_patch": _needs_redirect_patch(target),
        "needs_toolkit_patch": _needs_toolkit_patch(target),
        "compiles_models": target.compiles_models,
        "ffmpeg_wheel": _FFMPEG_WHEEL in target.library_requirements,
        "header": HEADER,
        "accelerator_kind": _ACCELERATOR_KINDS.get(target.device, ""),
        "cuda_series": ".".join(accelerator.version.split(".")[:2]) if accelerator else "",
        # What the image really has: cu102 is CUDA 10.2, whatever its tag says.
        "cuda_carried": re.sub(r"cu(\d+)(\d)", r"\1.\2", target.build.carries),
        "cuda_repository": _CUDA_REPOSITORY,
        "cuda_folder": f"{distribution(target.base.name).replace('.', '')}/x86_64",
        "neuron_repository": _NEURON_REPOSITORY,
        "suite": _SUITES.get(distribution(target.base.name), ""),
        "python_packages": [*map(str, target.base.pythons.get(target.python, ()))],
        "wheel_sources": sorted(sources.items()),
        "components": components,
        "python_components": [each for each in components if each["locked"]],
        "developing": any(each["develop"] for each in components),
        "mpi": any(component.kind == "openmpi" for component in target.components),
        "framework_title": target.framework_title,
        "env": {name: quoted(value) for name, value in sorted(target.env.items())},
        "labels": {name: quoted(value) for name, value in target.labels().items()},
    }


@lru_cache(maxsize=4096)  # Targets share most of their labels.
def quoted(value: str) -> str:
    """A value as ENV and LABEL take it, whatever is in it.

    >>> print(quoted('a "b" $c'))
    "a \\"b\\" \\$c"
    """
    escaped = re.sub(r'([$"\\])', r"\\\1", value)
    return f'"{escaped}"'


def _component(target: Target, component: Component) -> Mapping[str, Any]:
    """What the templates of a component are told of it."""
    kind = KINDS[component.kind]
    source, name, path = "", "", ""
    if component.source:
        name, path = component.source[2:].split("}/", 1)
        source = target.sources[name]
    compilers = [fill(text, {"python": target.python}) for text in component.compilers]
    accelerator = target.accelerator
    return {
        "kind": component.kind,
        "version": component.version,
        "variable": name,
        "source": source,
        "path": path,
        "file": path.rpartition("/")[2],
        "sha256": component.sha256 or "",
        "locked": component in locked(target.components),
        "compilers": compilers,
        "develop": list(accelerator.develop) if kind.develops and accelerator else [],
        "system": list(component.system),
        "wheel_sources": sorted(
            {wheel.source: target.sources[wheel.source] for wheel in wheels([component])}.items()
        ),
    }


def _needs_redirect_patch(target: Target) -> bool:
    return not _reaches(target.transformers, _FOLLOWS_REDIRECTS)


def _needs_toolkit_patch(target: Target) -> bool:
    return target.mode == "inference" and _reaches(target.transformers, _BREAKS_TOOLKIT)


@lru_cache(maxsize=1024)
def _reaches(version: str, first: str) -> bool:
    """Whether a version is the first of a kind, or a later one."""
    return Version(version) >= Version(first)
