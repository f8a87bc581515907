"""What is a registry, as users write it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from builder.errors import ArgumentError

__all__ = ["Place", "check_prefix", "parse_registry"]


_WORD = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"  # of a repository's name
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
# As Docker reads names: without a dot, a port or "localhost" the first word is no host, and the
# image would go to Docker Hub (distribution/reference, splitDockerDomain).
_REGISTRY = re.compile(
    rf"(?P<host>(?=localhost(?:[:/]|$)|[^/]*[.:]){_LABEL}(?:\.{_LABEL})*(?::(?P<port>\d{{1,5}}))?)"
    rf"(?P<prefix>(?:/{_WORD})*)/?",
    re.ASCII,
)
_PREFIX = re.compile(rf"(?:{_WORD}(?:/{_WORD})*)?")
# Repositories' names have 255 characters at most; the longest of ours has 40.
_LONGEST = 255 - 40 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A registry, and the prefix of the repositories in it, which may be empty."""

    host: str
    prefix: str

    def __str__(self) -> str:
        return f"{self.host}/{self.prefix}" if self.prefix else self.host

    def repository(self, name: str) -> str:
        """A repository's whole name in the registry.

        >>> Place(host="localhost:5000", prefix="team").repository("huggingface-pytorch-training")
        'team/huggingface-pytorch-training'
        """
        return f"{self.prefix}/{name}" if self.prefix else name


def parse_registry(text: str) -> Place:
    """HOST[:PORT][/PREFIX]; ArgumentError if it is anything else."""
    match = _REGISTRY.fullmatch(text)
    if not match or (match["port"] and not 0 < int(match["port"]) < 65536):
        raise ArgumentError(
            f"{text!r} is not a registry",
            remedy="write HOST[:PORT]/PREFIX without https://, like registry.example.com/team; a "
            "host without a dot needs its port",
        )
    return Place(host=match["host"], prefix=check_prefix(match["prefix"].lstrip("/")))


def check_prefix(text: str) -> str:
    """The prefix of repositories as it is; ArgumentError if none can have it.

    >>> check_prefix("team/images")
    'team/images'
    """
    if not _PREFIX.fullmatch(text):
        raise ArgumentError(
            f"{text!r} is not the prefix of a repository's name",
            remedy="write words in small letters, like team/images",
        )
    if len(text) > _LONGEST:
        raise ArgumentError(
            f"a prefix of {len(text)} characters is too long", remedy=f"{_LONGEST} are the most"
        )
    return text
