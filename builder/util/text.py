"""Texts that people read."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["causes", "counted", "did_you_mean", "human_size", "short_name", "system_words"]


# A list that is longer is no help.
_MOST_KNOWN = 20


def human_size(size: int) -> str:
    """Bytes as people read them, in powers of ten as Docker does.

    >>> human_size(2_240_000_000)
    '2.24 GB'
    """
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= 0.9995 * factor:  # what would be rounded to 1000 of the smaller unit
            return f"{size / factor:.3g} {unit}"
    return f"{size} B"


def counted(count: int, noun: str) -> str:
    """A number and its noun, in the singular for one.

    >>> counted(1, "target"), counted(2, "target"), counted(0, "entry")
    ('1 target', '2 targets', '0 entries')
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun[:-1]}ies" if noun.endswith("ry") else f"{count} {noun}s"


def short_name(name: str) -> str:
    """A target's name without what all names have."""
    return name.removeprefix("huggingface-")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Name the nearest known words, or list them all when none is near.

    >>> did_you_mean("pytroch", ["pytorch", "tensorflow"])
    "did you mean 'pytorch'?"
    """
    import difflib  # for those who mistype only

    known = list(known)
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(repr(match) for match in near)}?"
    more = f" and {len(known) - _MOST_KNOWN} more" if len(known) > _MOST_KNOWN else ""
    return f"known: {', '.join(known[:_MOST_KNOWN]) or 'none'}{more}"


def system_words(error: BaseException) -> str:
    """The operating system's words for what went wrong, in small letters; empty without any.

    >>> system_words(ValueError(OSError(111, "Connection refused")))
    'connection refused'
    """
    words = (each.strerror for each in causes(error) if isinstance(each, OSError))
    return next((each.lower() for each in words if each), "")


def causes(error: BaseException) -> list[BaseException]:
    """An error, and all that libraries wrapped it around, nearest first."""
    chain = [error]
    for link in chain:
        inner = (*link.args, link.__cause__, link.__context__, getattr(link, "reason", None))
        chain += [each for each in inner if isinstance(each, BaseException) and each not in chain]
    return chain
