"""Bake files: targets as `docker buildx bake -f FILE` reads them.

Bake reads JSON as HCL: `${...}` in a text is filled in, and stands for itself as `$${...}`.
"""

from __future__ import annotations

import datetime
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.build.plan import framework_layer
from builder.engine.image import KEY_LABEL, key_tag

if TYPE_CHECKING:
    from builder.matrix.target import Target

__all__ = ["NO_CACHE", "Cache", "Job", "definition", "identifier", "standalone", "target_id"]

# Predefined in every Dockerfile: they reach its steps, but neither history nor cache keys.
_PROXY_ARGUMENTS = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "FTP_PROXY", "ALL_PROXY")
# The variables of a file that stands alone, which name the files of secrets, by their ids.
_SECRET_VARIABLES = {"ca-bundle": "CA_BUNDLE", "site": "SITE"}
# SageMaker takes no index of manifests, which an attestation would make of an image.
_NO_ATTESTATION = ["type=provenance,disabled=true", "type=sbom,disabled=true"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One target to build: its context, the base images its stages start from, its labels.

    `superseded` are the tags' keys of images that the same checkout built before. `aside` takes no
    step from a cache, and gives the image no name.
    """

    target: Target
    context: Path
    arguments: Mapping[str, str]
    labels: Mapping[str, str]
    superseded: tuple[str, ...] = ()
    aside: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Cache:
    """Where layers come from and go to: repositories, or whole entries as buildx writes them.

    A repository gets one tag for each framework layer: whoever builds on that finds it there.
    """

    sources: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()

    def entries(self, target: Target) -> dict[str, list[str]]:
        """What a target of a bake file says of it."""
        layer = framework_layer(target)
        # ECR takes a cache only as an image, with OCI's media types
        # (aws/containers-roadmap#876); BuildKit before 0.21 does not do so by itself.
        much = "mode=max,image-manifest=true,oci-mediatypes=true"
        found = {
            "cache-from": [
                text if "=" in text else f"type=registry,ref={text}:{layer}"
                for text in self.sources
            ],
            "cache-to": [
                text if "=" in text else f"type=registry,ref={text}:{layer},{much}"
                for text in self.destinations
            ],
        }
        return {name: texts for name, texts in found.items() if texts}


NO_CACHE = Cache()


def identifier(name: str) -> str:
    """A name that bake accepts: letters, digits, dashes and underscores.

    >>> identifier("pytorch-1.9.1-cpu")
    'pytorch-1_9_1-cpu'
    """
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def target_id(target: Target) -> str:
    """A target's name as bake accepts it."""
    return identifier(target.name)


def definition(
    jobs: Iterable[Job],
    secrets: Mapping[str, Path],
    *,
    printed: bool = False,
    cache: Cache = NO_CACHE,
) -> dict[str, Any]:
    """The bake file of some targets, for this caller.

    One that is to be `printed` leaves proxies with credentials for bake to read from the
    environment.
    """
    proxies = {name: value for name in _proxy_arguments() if (value := os.environ.get(name))}
    found = _escaped(
        {
            target_id(job.target): {
                **_target(job),
                "args": {**proxies, **_arguments(job)},
                "secret": [f"id={name},src={path}" for name, path in sorted(secrets.items())],
                **cache.entries(job.target),
            }
            for job in jobs
        }
    )
    hidden = sorted(name for name, value in proxies.items() if printed and "@" in value)
    for target in found.values():
        target["args"] |= {name: f"${{{name}}}" for name in hidden}
    file: dict[str, Any] = {"target": found}
    if hidden:
        file["variable"] = {name: {"default": ""} for name in hidden}
    return file


def standalone(jobs: Iterable[Job]) -> dict[str, Any]:
    """The bake file of some targets for anybody, with groups by framework layer and by mode.

    What is the caller's own are variables, read from the environment: the files of the secrets
    (CA_BUNDLE, SITE), proxies, and the REGISTRY that names begin with. Images get their names and
    the tags of their keys.
    """
    jobs = list(jobs)
    found = _escaped({target_id(job.target): _target(job) for job in jobs})
    groups: dict[str, list[str]] = {"default": []}
    for job in jobs:
        target, name = job.target, target_id(job.target)
        for group in ("default", "all", identifier(framework_layer(target)), target.mode):
            groups.setdefault(group, []).append(name)
        tags = [target.tag]
        if key := job.labels.get(KEY_LABEL):
            tags.append(key_tag(key))
        prefix = '${REGISTRY == "" ? "" : "${REGISTRY}/"}'
        found[name] |= {
            "args": {
                **{each: f'${{{each} == "" ? null : {each}}}' for each in _proxy_arguments()},
                **found[name]["args"],
            },
            "secret": _secrets_expression(),
            "tags": [f"{prefix}{target.repository}:{tag}" for tag in tags],
            "attest": _NO_ATTESTATION,
        }
    variables = ("REGISTRY", *_SECRET_VARIABLES.values(), *_proxy_arguments())
    return {
        "variable": {name: {"default": ""} for name in variables},
        "group": {name: {"targets": members} for name, members in groups.items()},
        "target": found,
    }


def _target(job: Job) -> dict[str, Any]:
    """What any bake file says of a target."""
    return {
        "context": str(job.context),
        "dockerfile": "Dockerfile",
        "args": _arguments(job),
        "labels": dict(sorted(job.labels.items())),
        "platforms": [job.target.platform],
        "output": ["type=docker"],
        **({"no-cache": True} if job.aside else {}),
    }


def _arguments(job: Job) -> dict[str, str]:
    """The build arguments of a target; an image is as old as its locks, whenever it is built."""
    day = datetime.datetime.combine(job.target.date, datetime.time(), datetime.timezone.utc)
    return {**job.arguments, "SOURCE_DATE_EPOCH": str(int(day.timestamp()))}


def _proxy_arguments() -> tuple[str, ...]:
    return (*_PROXY_ARGUMENTS, *(name.lower() for name in _PROXY_ARGUMENTS))


def _secrets_expression() -> str:
    """The secrets whose variables name a file: bake refuses one that is not there."""
    lists = (
        f'{variable} == "" ? [] : ["id={name},src=${{{variable}}}"]'
        for name, variable in _SECRET_VARIABLES.items()
    )
    return "${concat(" + ", ".join(lists) + ")}"


def _escaped(targets: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The same, with nothing for bake to fill in."""
    text = json.dumps(targets).replace("${", "$${").replace("%{", "%%{")
    escaped: dict[str, dict[str, Any]] = json.loads(text)
    return escaped
