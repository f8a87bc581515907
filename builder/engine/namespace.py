"""A namespace of an engine: names of its own, and a label that finds all that was made in it.

Jobs that share an engine each set DLC_NAMESPACE. What one builds is named NAMESPACE/repository:tag
there, and no job takes the image of another for its own. In registries, nothing changes.
"""

from __future__ import annotations

import os
import re

from builder.errors import EngineError

__all__ = ["NAMESPACE", "NAMESPACE_LABEL", "labels", "local_name", "prefix", "visible"]

NAMESPACE = "DLC_NAMESPACE"
NAMESPACE_LABEL = "dlc.namespace"

# A component of a repository's name (distribution/reference).
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")


def prefix() -> str:
    """What local names of images begin with: the namespace and a slash, or nothing.

    EngineError if DLC_NAMESPACE is no component of a repository's name.
    """
    name = os.environ.get(NAMESPACE, "")
    if name and not _COMPONENT.fullmatch(name):
        raise EngineError(
            f"invalid {NAMESPACE} {name!r}",
            remedy="use lowercase letters and digits, with single dots, dashes or underscores "
            "between them",
        )
    return f"{name}/" if name else ""


def local_name(name: str) -> str:
    """The name on the engine of a target's image, or of its repository."""
    return prefix() + name


def labels() -> dict[str, str]:
    """The label for what is made in the namespace; none outside of one."""
    return {NAMESPACE_LABEL: prefix().rstrip("/")} if prefix() else {}


def visible(name: str, namespace: str) -> bool:
    """Whether an image of this name and namespace, as its label says, is one of ours to use."""
    return name.startswith(prefix()) and namespace in ("", prefix().rstrip("/"))
