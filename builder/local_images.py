"""The images that an engine has, by name, in one question."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from builder.plan import Built

if TYPE_CHECKING:
    from builder.engine import Engine

__all__ = ["images_of"]


def images_of(engine: Engine) -> dict[str, Built]:
    """Every tagged image, under each of its names. EngineError's causes are passed on."""
    with closing(engine.client()) as client:
        # Not client.images.list, which asks for every image once more.
        found: list[dict[str, Any]] = client.api.images()
    return {
        name: Built(id=each["Id"], size=each["Size"], labels=each["Labels"] or {})
        for each in found
        for name in each["RepoTags"] or ()
    }
