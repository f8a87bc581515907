"""What differs between the Pythons that one framework version has images for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from builder.matrix.format import Entry, Matrix

__all__ = ["alike", "marked"]


def alike(matrix: Matrix, last: Entry) -> list[Entry]:
    """The entries of the release of `last` that differ from it in base, Python and platforms alone.

    So what is on several bases, for several Pythons, stays on them in a later release.
    """
    release = next(each for each in matrix.releases if any(entry is last for entry in each.entries))
    found = {_kind(entry): entry for entry in release.entries if _same(entry) == _same(last)}
    return list(found.values())


def marked(found: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Requirements by Python as one list: what counts for some of the Pythons has a marker.

    >>> list(marked({"3.11": ["a<2", "b<3"], "3.13": ["b<3"]}))
    ["a<2; python_version == '3.11'", 'b<3']
    """
    for text in dict.fromkeys(text for texts in found.values() for text in texts):
        pythons = [python for python, texts in found.items() if text in texts]
        if len(pythons) == len(found):
            yield text
        else:
            yield from (f"{text}; python_version == '{python}'" for python in pythons)


def _same(entry: Entry) -> tuple[object, ...]:
    names = ("mode", "framework", "version", "devices", "accelerator", "libraries", "origin")
    return tuple(getattr(entry, name) for name in (*names, "variant"))


def _kind(entry: Entry) -> tuple[object, ...]:
    return entry.python, entry.base, entry.platforms
