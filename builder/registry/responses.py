"""What registries answer in JSON, read and checked before anything trusts its shape."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from builder.registry.exchange import printable

__all__ = [
    "CONFIG",
    "MANIFEST",
    "TAGS",
    "TOKEN",
    "complaint",
    "github_remedy",
    "json_object",
    "misshapen",
]

# Shapes: a type for a value, a list of one shape for a list, names to shapes for an object, and for
# one of any names the shape under "*". What is not named may be there; nothing has to be.
_DESCRIPTOR = {"mediaType": str, "digest": str, "size": int}
_PLATFORM = {"os": str, "architecture": str}
MANIFEST: Mapping[str, Any] = {
    "mediaType": str,
    "config": _DESCRIPTOR,
    "layers": [_DESCRIPTOR],
    "manifests": [{**_DESCRIPTOR, "platform": _PLATFORM}],
}
CONFIG: Mapping[str, Any] = {"config": {"Labels": {"*": str}}}
TAGS: Mapping[str, Any] = {"tags": [str]}
TOKEN: Mapping[str, Any] = {"token": str, "access_token": str}

_WORDS = {str: "a text", int: "a non-negative number", list: "a list", dict: "an object"}


def json_object(content: bytes) -> dict[str, Any] | None:
    """A JSON object; None if the bytes are none.

    A member that is null is left out: registries written in Go write it for what is not there.

    >>> json_object(b'{"a": null, "b": 1}'), json_object(b"[1]")
    ({'b': 1}, None)
    """
    with suppress(ValueError, RecursionError):
        document = json.loads(content, object_pairs_hook=_without_null)
        if isinstance(document, dict):
            return document
    return None


def misshapen(value: Any, shape: Any, path: str = "") -> str:
    """What in a value is not of a shape, by its path; empty if all of it is.

    >>> misshapen({"layers": [{"size": 1}, 5]}, MANIFEST)
    '`layers[1]` is 5, not an object'
    """
    kind = shape if isinstance(shape, type) else dict if isinstance(shape, Mapping) else list
    fits = isinstance(value, kind) and not isinstance(value, bool)
    if not fits or (kind is int and value < 0):
        return f"`{path}` is {_shown(value)}, not {_WORDS[kind]}"
    if isinstance(shape, Mapping):
        parts = [
            (f"{path}.{name}".lstrip("."), part, shape.get(name, shape.get("*")))
            for name, part in value.items()
        ]
    elif isinstance(shape, list):
        parts = [(f"{path}[{number}]", part, shape[0]) for number, part in enumerate(value)]
    else:
        return ""
    found = (misshapen(part, each, name) for name, part, each in parts if each is not None)
    return next(filter(None, found), "")


def _shown(value: Any) -> str:
    """A value in few signs; what steers a terminal is escaped."""
    if isinstance(value, list | dict):
        return _WORDS[type(value)]
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _without_null(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in pairs if value is not None}


def complaint(content: bytes, media_type: str) -> tuple[str, str]:
    """The registry's code and words of an error, where it has them.

    Docker Hub also says `{"message": ...}` and, where it is asked far too much, plain text.
    """
    document = json_object(content) or {}
    with suppress(TypeError, KeyError, IndexError):
        first = document["errors"][0]
        if not isinstance(first, dict):
            return "", ""
        words = str(first.get("message") or "")
        detail = first.get("detail")
        if isinstance(detail, str):
            words = f"{words} ({detail})" if words else detail
        return str(first.get("code", "")), printable(words)[:500]
    words = document.get("message") or document.get("details") or ""
    if not document and media_type == "text/plain":
        words = content[:200].decode("utf-8", "replace").strip()
    return "", printable(words)[:500] if isinstance(words, str) else ""


def github_remedy(words: str) -> str:
    """What to do where GitHub's registry lets nobody write; empty for other words.

    It says `permission_denied: write_package` where a package does not let a workflow write, and
    `installation not allowed to Create organization package` where a token may not make packages
    (docker/build-push-action issues 463 and 806).
    """
    if not re.search(r"(?:write|create)_package|not allowed to (?:create|write)", words, re.I):
        return ""
    return (
        "log in with a token that has `write:packages` (in a workflow `permissions: packages: "
        "write`), and give it access in the package's settings if there is one already"
    )
