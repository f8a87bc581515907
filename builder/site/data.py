"""The site's data as JSON: everything of an image, a line of each, and who has which package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from builder.site.records import Catalog, Image

__all__ = ["dumps", "image", "images", "packages", "script"]

# Of all documents; it grows with any change that a reader of the former would miss.
FORMAT = 1


def images(catalog: Catalog) -> dict[str, Any]:
    """All images, each in a line, and where the rest is."""
    return {"dlc_site": FORMAT, "images": [_line(each) for each in catalog.images]}


def image(one: Image) -> dict[str, Any]:
    """Everything of an image."""
    return {"dlc_site": FORMAT, "page": one.page, **_plain(one)}


def packages(catalog: Catalog) -> dict[str, Any]:
    """Which images have a package, by name and version; images are by their place in the list.

    >>> packages(Catalog(images=(), templates={}, regions={}))
    {'dlc_site': 1, 'images': [], 'packages': {}}
    """
    found: dict[str, dict[str, list[int]]] = {}
    for place, one in enumerate(catalog.images):
        for each in one.packages:
            places = found.setdefault(each.name, {}).setdefault(each.version, [])
            if not places or places[-1] != place:
                places.append(place)
    return {
        "dlc_site": FORMAT,
        "images": [each.name for each in catalog.images],
        "packages": {name: found[name] for name in sorted(found)},
    }


def script(name: str, value: Any) -> bytes:
    """A value as a script that pages load, since those of a file may not read other files.

    >>> print(script("x", {"__proto__": "it's"}).decode(), end="")
    window.x = JSON.parse('{"__proto__":"it\\u0027s"}');
    """
    # Not an object of JavaScript's own syntax: that takes a name like __proto__ for something else.
    text = dumps(value).decode().rstrip().replace("\\", "\\\\").replace("'", "\\u0027")
    return f"window.{name} = JSON.parse('{text}');\n".encode()


def dumps(value: Any) -> bytes:
    """JSON in ASCII on one line, the same for the same value."""
    return json.dumps(value, separators=(",", ":"), default=_plain).encode() + b"\n"


def _plain(value: Any) -> Any:
    """A record, or a mapping of a kind of its own, as a dictionary."""
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not for JSON")


def _line(one: Image) -> dict[str, Any]:
    return {
        "name": one.name,
        "page": one.page,
        "data": one.data,
        "mode": one.mode,
        "framework": one.framework,
        "framework_version": one.framework_version,
        "transformers": one.transformers,
        "datasets": one.datasets or None,
        "device": one.device,
        "python": one.python,
        "os": one.os,
        "date": one.date,
        "end_of_life": one.end_of_life,
        "origin": one.origin,
        "state": one.state,
        "reason": one.reason,
        "size": one.size or None,
        "digests": [each.reference for each in one.published],
    }
