"""What the page of one image shows, in the order of the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from builder.site.dockerfile import Templates, sections
from builder.site.pictures import Box, treemap
from builder.site.records import Catalog, Image, Package
from builder.site.snippets import default_fills, snippets

__all__ = ["template_page", "values"]

# Of the picture of layers, in pixels of its own.
WIDTH, HEIGHT = 720, 300
COLOURS = 8
_GLYPH = 7.2

_LAYERS = {
    "framework": "Framework",
    "libraries": "Libraries",
    "system": "Packages of the distribution",
    "java": "Java",
    "runtime": "Runtimes",
    "binary": "Programs",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A layer in the picture: its rectangle, what is written there, and its colour."""

    box: Box
    label: str
    step: str
    size: int
    colour: int


def values(catalog: Catalog, image: Image, templates: Templates) -> dict[str, Any]:
    """All that the template of an image's page takes."""
    return {
        "image": image,
        "snippets": snippets(image),
        "fills": default_fills(image),
        "facts": _facts(image),
        "sections": list(sections(image.dockerfile, templates)),
        "template_page": template_page,
        "groups": _groups(image.packages),
        "parts": _parts(image),
        "picture": (WIDTH, HEIGHT),
        "former": catalog.image(image.former) if image.former else None,
        "licensed": any(each.licenses for each in image.packages),
        "licences": _licences(image.packages),
        "siblings": _siblings(catalog, image),
    }


def template_page(name: str) -> str:
    """The address of the page of a template.

    >>> template_page("stages/java.j2")
    'templates/stages/java.html'
    """
    return f"templates/{name.removesuffix('.j2')}.html"


def _facts(image: Image) -> Mapping[str, str]:
    """What it is built from, by title; what it has not is left out."""
    python = image.python
    if image.standalone_python:
        python += f" (standalone build {image.standalone_python})"
    facts = {
        "Operating system": image.os,
        "Base": image.base,
        "Python": python,
        "Framework": f"{image.framework} {image.framework_version}",
        "Transformers": image.transformers,
        "Datasets": image.datasets,
        "Accelerator": image.accelerator,
        "Build of the framework": image.carries,
        "Driver at least for": f"CUDA {image.driver_cuda}" if image.driver_cuda else "",
        "Components": ", ".join(image.components),
        "Framework locked as of": image.locked,
        "Libraries locked as of": image.date,
        "Origin": image.origin,
        "Size budget": image.budget,
    }
    return {title: text for title, text in facts.items() if text}


def _groups(packages: Iterable[Package]) -> dict[str, list[Package]]:
    """Packages under the title of their layer, the framework's first."""
    found: dict[str, list[Package]] = {}
    for each in packages:
        name = each.layer if each.kind == "python" else each.kind
        found.setdefault(name, []).append(each)
    order = [*_LAYERS]
    names = sorted(found, key=lambda name: (order.index(name) if name in order else 1.5, name))
    return {_LAYERS.get(name) or name or "In no lock": found[name] for name in names}


def _licences(packages: Iterable[Package]) -> dict[str, list[str]]:
    """Packages under each of their licences, those of most packages first."""
    found: dict[str, dict[str, None]] = {}
    for each in packages:
        for licence in each.licenses:
            found.setdefault(licence, {})[each.name] = None
    names = sorted(found, key=lambda name: (-len(found[name]), name))
    return {name: list(found[name]) for name in names}


def _parts(image: Image) -> list[Part]:
    layers = image.proof.layers if image.proof else ()
    boxes = treemap([each.size for each in layers], WIDTH, HEIGHT)
    found = []
    for place, box in enumerate(boxes):
        layer = layers[box.index]
        room = int((box.width - 12) / _GLYPH) if box.height > 20 else 0
        whole = len(layer.step) <= room
        label = layer.step if whole else f"{layer.step[: room - 1]}…"
        found.append(
            Part(
                box=box,
                label=label if whole or room > 8 else "",
                step=layer.step,
                size=layer.size,
                colour=place % COLOURS,
            )
        )
    return found


def _siblings(catalog: Catalog, image: Image) -> list[Image]:
    """The same versions for other devices, and for the other mode."""
    same = (image.framework, image.framework_version, image.transformers)
    return [
        each
        for each in catalog.images
        if each is not image and (each.framework, each.framework_version, each.transformers) == same
    ]
