"""What an image was made from, as a statement of provenance (SLSA 0.2, which buildx shows)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder import __version__
from builder.engine.image import TargetImage

__all__ = ["commit_of", "predicate"]

PREDICATE = "https://slsa.dev/provenance/v0.2"
_BUILD_TYPE = "urn:dlc:build:1"


def predicate(local: TargetImage, *, commit: str) -> Mapping[str, Any]:
    """The provenance of an image by its labels and its target.

    `commit` is the one of git that has its sources, empty where that is not known.
    """
    target, labels = local.target, local.labels
    source = {"digest": {"sha1": commit}} if commit else {}
    return {
        "builder": {"id": f"urn:dlc:builder:{__version__}"},
        "buildType": _BUILD_TYPE,
        "materials": _bases(local),
        "invocation": {
            "configSource": {**source, "entryPoint": f"images/{target.folder}/Dockerfile"},
            "parameters": {
                "key": local.key,
                "inputs": local.inputs,
                "framework_build": labels.get("dlc.build", ""),
                "base": labels.get("dlc.base", ""),
            },
            "environment": {"platform": target.platform},
        },
        "metadata": {
            "completeness": {"parameters": True, "environment": False, "materials": False},
            "reproducible": False,
        },
    }


def commit_of(folder: Path) -> str:
    """The commit that a folder of rendered files is at; empty if it was changed since, or is none.

    The caller has compared the files with the image, by build key.
    """
    try:
        head = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--", ".")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head if not changed and re.fullmatch(r"[0-9a-f]{40,64}", head) else ""


def _bases(local: TargetImage) -> list[Mapping[str, Any]]:
    """The bases that it really started from, by digest: pulled ones, or what was bootstrapped."""
    how, _, image = local.labels.get("dlc.base", "").partition(" ")
    name, _, pinned = local.target.base.image.partition("@sha256:")
    if how == "bootstrapped" and image.startswith("sha256:"):
        uri = f"urn:dlc:bootstrapped:{local.target.base.name}"
        return [{"uri": uri, "digest": {"sha256": image.removeprefix("sha256:")}}]
    repository, _, tag = name.partition(":")
    platform = local.target.platform.replace("/", "%2F")
    uri = f"pkg:docker/{repository}@{tag}?platform={platform}"
    return [{"uri": uri, "digest": {"sha256": pinned}}] if pinned else []


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, check=True, text=True
    )
    return done.stdout.strip()
