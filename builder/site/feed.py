"""The Atom feed of releases: what was pushed or, where nothing was, what the matrix has."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urljoin
from xml.sax.saxutils import escape, quoteattr

from builder.site.records import Catalog, Image

__all__ = ["ENTRIES", "atom"]

ENTRIES = 100
TITLE = "Deep Learning Containers"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    date: str
    title: str
    summary: str
    page: str
    key: str


def atom(catalog: Catalog, address: str) -> bytes:
    """The feed, the newest first; links are relative unless the site's `address` is given."""
    base = address.rstrip("/") + "/" if address else ""
    entries = sorted(_entries(catalog), key=lambda each: (each.date, each.key), reverse=True)
    entries = entries[:ENTRIES]
    updated = entries[0].date if entries else "1970-01-01"
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        f"  <title>{TITLE}</title>",
        f"  <id>{_id(base or TITLE)}</id>",
        f"  <updated>{updated}T00:00:00Z</updated>",
        f'  <link rel="alternate" type="text/html" href={_link(base, "index.html")}/>',
        f'  <link rel="self" type="application/atom+xml" href={_link(base, "feed.xml")}/>',
        f"  <author><name>{TITLE}</name></author>",
    ]
    for each in entries:
        lines += [
            "  <entry>",
            f"    <title>{_text(each.title)}</title>",
            f"    <id>{_id(each.key)}</id>",
            f"    <updated>{_text(each.date)}T00:00:00Z</updated>",
            f'    <link rel="alternate" type="text/html" href={_link(base, each.page)}/>',
            f"    <summary>{_text(each.summary)}</summary>",
            "  </entry>",
        ]
    return "\n".join([*lines, "</feed>", ""]).encode()


def _entries(catalog: Catalog) -> Iterator[_Entry]:
    pushed = any(image.published for image in catalog.images)
    for image in catalog.images:
        if not pushed:
            yield _new(image)
        for each in image.published:
            yield _Entry(
                date=each.date,
                title=f"{image.title}: {image.mode}, {image.device}",
                summary=f"{each.reference}; tags: {', '.join(each.tags)}",
                page=image.page,
                key=f"{image.name}@{each.digest}",
            )


def _new(image: Image) -> _Entry:
    return _Entry(
        date=image.date,
        title=f"{image.title}: {image.mode}, {image.device}",
        summary=f"{image.name}: {image.reason}",
        page=image.page,
        key=image.name,
    )


def _id(text: str) -> str:
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, text)}"


def _link(base: str, path: str) -> str:
    return quoteattr(urljoin(base, quote(path)) if base else quote(path))


def _text(text: str) -> str:
    """Escaped; XML has no control characters, not even escaped ones."""
    return escape("".join(each if each.isprintable() else "\ufffd" for each in text))
