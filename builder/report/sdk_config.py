"""Targets as the files that the SageMaker SDK finds its Hugging Face images by.

The SDK (version 2, sagemaker/image_uris.py) reads `image_uri_config/huggingface.json`, for
Inferentia `huggingface-neuron.json`, and others for what is asked for as neuronx or with a training
compiler. An image is found by mode, Transformers, framework, Python and processor; versions may be
short, and then the tag is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from builder.errors import DlcError
from builder.matrix.platforms import DEFAULT
from builder.matrix.tags import python_tag
from builder.matrix.target import Target
from builder.matrix.uris import regions

__all__ = ["SdkConfig", "sdk_config"]

# Repositories whose SDK the SageMaker SDK itself puts before the operating system.
_PREFIXED = frozenset(
    {"huggingface-pytorch-inference-neuron", "huggingface-pytorch-inference-neuronx"}
)
# By mode, where the repository is one for Neuron: Trainium trains, Inferentia serves.
_NEURON_PROCESSORS = {"training": "trn", "inference": "inf"}

_REPOSITORY = re.compile(r"huggingface-[a-z]+(?P<compiler>-trcomp)?-[a-z]+(?P<tool>-neuronx?)?")

Images = dict[str, dict[str, Target]]  # by Python as tags have it, then by processor


@dataclass(frozen=True, kw_only=True, slots=True)
class SdkConfig:
    """The SDK's files by name, and why targets are in none of them, by name."""

    files: Mapping[str, str]
    left_out: Mapping[str, str]


def sdk_config(targets: Iterable[Target], account: str | None, named: Iterable[str]) -> SdkConfig:
    """The SDK's files for images in an account's registries in the named regions.

    Without an account they are the official registries of these regions, which have released
    images only. Regions and account have been checked: see builder.matrix.uris.registry_host.
    """
    registries = {region: account or regions()[region]["account"] for region in named}
    found: dict[str, dict[str, dict[str, dict[str, Images]]]] = {}
    left_out = {}
    for target in targets:
        if account is None and target.origin != "official":
            left_out[target.name] = f"the official registries do not have it: {target.origin}"
            continue
        if target.variant:
            left_out[target.name] = "the SDK cannot ask for a variant"
            continue
        if target.platform != DEFAULT:
            left_out[target.name] = f"the SDK cannot ask for {target.platform}"
            continue
        # Both modes in every file: asked for a mode that is not there, the SDK takes the other.
        modes = found.setdefault(_file(target), {"inference": {}, "training": {}})
        scope = modes[target.mode]
        frameworks = scope.setdefault(target.transformers, {})
        pythons = frameworks.setdefault(f"{target.framework}{target.framework_version}", {})
        processors = pythons.setdefault(python_tag(target.python), {})
        first = processors.setdefault(_processor(target), target)
        if first is not target:
            left_out[target.name] = f"the SDK cannot tell it from {first.name}"
    files = {
        name: json.dumps(
            {mode: _scope(scope, registries) for mode, scope in scopes.items()}, indent=2
        )
        + "\n"
        for name, scopes in sorted(found.items())
    }
    return SdkConfig(files=files, left_out=left_out)


def _scope(
    scope: Mapping[str, Mapping[str, Images]], registries: Mapping[str, str]
) -> dict[str, Any]:
    releases = _sorted(scope)
    return {
        "version_aliases": _aliases("", releases),
        "versions": {
            release: {
                # Also a version that is its own short form: without any alias the SDK breaks.
                "version_aliases": _framework_aliases(scope[release]),
                **{
                    framework: _entry(images, registries)
                    for framework, images in sorted(scope[release].items())
                },
            }
            for release in releases
        },
    }


def _entry(images: Images, registries: Mapping[str, str]) -> dict[str, Any]:
    """A framework version of a release; with several Pythons, one below each."""
    by_python = {python: _image(processors, registries) for python, processors in images.items()}
    if len(by_python) > 1:
        return dict(sorted(by_python.items()))
    [(python, entry)] = by_python.items()
    return {"py_versions": [python], **entry}


def _image(processors: Mapping[str, Target], registries: Mapping[str, str]) -> dict[str, Any]:
    target = next(iter(processors.values()))
    entry: dict[str, Any] = {
        # Here and not for the mode, as the SDK's own files have it: so it says which this one has.
        "processors": sorted(processors),
        "registries": dict(sorted(registries.items())),
        "repository": target.repository,
        "container_version": {name: _version(each) for name, each in sorted(processors.items())},
    }
    if target.repository in _PREFIXED and target.accelerator:
        entry["sdk_versions"] = [target.accelerator.name]
    return entry


def _version(target: Target) -> str:
    """The device tag, but for what the SDK puts before it by itself."""
    return target.base.name if target.repository in _PREFIXED else target.parts.device_tag


def _file(target: Target) -> str:
    """Which of the SDK's files has a repository's images."""
    compiler = "-training-compiler" if _parts(target)["compiler"] else ""
    return f"huggingface{compiler}{_parts(target)['tool'] or ''}.json"


def _processor(target: Target) -> str:
    return _NEURON_PROCESSORS[target.mode] if _parts(target)["tool"] else target.device


def _parts(target: Target) -> re.Match[str]:
    found = _REPOSITORY.fullmatch(target.repository)
    if found is None:
        raise DlcError(f"the SDK has no file for {target.repository}", remedy="leave it out")
    return found


def _framework_aliases(frameworks: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in ("pytorch", "tensorflow"):
        versions = [each.removeprefix(name) for each in frameworks if each.startswith(name)]
        found |= _aliases(name, _sorted(versions), identical=True)
    return found


def _aliases(name: str, versions: Iterable[str], *, identical: bool = False) -> dict[str, str]:
    """Short versions and the newest version of each.

    >>> _aliases("pytorch", ["1.9.0", "1.9.1", "2.0"])
    {'pytorch1.9': 'pytorch1.9.1'}
    """
    found = {".".join(version.split(".")[:2]): version for version in versions}
    return {
        f"{name}{short}": f"{name}{version}"
        for short, version in found.items()
        if identical or short != version
    }


def _sorted(versions: Iterable[str]) -> list[str]:
    from packaging.version import Version

    return sorted(versions, key=Version)
