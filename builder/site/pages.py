"""The site as files: pages from templates, the data, the feed, and what all pages share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.site import data, feed, image_page, overview
from builder.site.dockerfile import Templates
from builder.site.records import STATES, Catalog
from builder.util.text import counted, human_size

if TYPE_CHECKING:
    import jinja2

__all__ = ["files"]

_HERE = Path(__file__).parent
NEWEST = 6
# What the top of each page leads to.
NAVIGATION = {
    "index.html": "Images",
    "tables.html": "Tables",
    "matrix.html": "Matrix",
    "layers.html": "Layers",
    "sizes.html": "Sizes",
    "tasks.html": "Tasks",
    "proof.html": "Proof",
    "compare.html": "Compare",
}


def files(catalog: Catalog, *, address: str = "") -> dict[str, bytes]:
    """All files of the site by their paths below it, the same bytes for the same catalog.

    `address` is where it will be, which only the feed needs to know.
    """
    found = dict(_pages(catalog))
    found |= dict(_data(catalog))
    found |= {f"assets/{name}": content for name, content in _assets().items()}
    found["feed.xml"] = feed.atom(catalog, address)
    return found


def _pages(catalog: Catalog) -> Iterator[tuple[str, bytes]]:
    yield "index.html", _page("index", catalog, "", **_home(catalog))
    yield "compare.html", _page("compare", catalog, "")
    for name, told in overview.PAGES.items():
        yield name, _page(name.partition(".")[0], catalog, "", **told(catalog))
    templates = Templates(catalog.templates)
    for name, source in catalog.templates.items():
        path = image_page.template_page(name)
        lines = source.splitlines()
        yield path, _page("template", catalog, path, name=name, lines=lines)
    for image in catalog.images:
        values = image_page.values(catalog, image, templates)
        yield image.page, _page("image", catalog, image.page, **values)


def _data(catalog: Catalog) -> Iterator[tuple[str, bytes]]:
    packages = data.packages(catalog)
    yield "data/images.json", data.dumps(data.images(catalog))
    yield "data/packages.json", data.dumps(packages)
    for image in catalog.images:
        yield image.data, data.dumps(data.image(image))
    yield "assets/search.js", data.script("dlcPackages", packages)
    yield "assets/regions.js", data.script("dlcRegions", catalog.regions)


def _home(catalog: Catalog) -> dict[str, Any]:
    newest = sorted(catalog.images, key=lambda each: each.date, reverse=True)
    return {
        "newest": newest[:NEWEST],
        "choices": {
            "mode": _values(catalog, "mode"),
            "framework": _values(catalog, "framework"),
            "transformers": _versions(catalog, "transformers"),
            "device": _values(catalog, "device"),
            "python": _versions(catalog, "python"),
            "state": {name: STATES[name][0] for name in STATES if _has(catalog, name)},
        },
    }


def _has(catalog: Catalog, state: str) -> bool:
    return any(each.state == state for each in catalog.images)


def _values(catalog: Catalog, name: str) -> dict[str, str]:
    return {value: value for value in sorted({getattr(each, name) for each in catalog.images})}


def _versions(catalog: Catalog, name: str) -> dict[str, str]:
    from packaging.version import Version

    found = {getattr(each, name) for each in catalog.images}
    return {value: value for value in sorted(found, key=Version, reverse=True)}


def _page(template: str, catalog: Catalog, path: str, **values: Any) -> bytes:
    """A page; `path` is its address, from which all links of it are relative."""
    root = "../" * path.count("/")
    text = _environment().get_template(f"{template}.html.j2")
    return text.render(catalog=catalog, root=root, states=STATES, **values).encode()


@cache
def _assets() -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((_HERE / "static").iterdir())}


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["size"] = human_size
    found.globals |= {"counted": counted, "navigation": NAVIGATION}
    return found
