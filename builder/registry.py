"""What is a registry, as users write it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from builder.errors import PushError

__all__ = ["Place", "parse_registry"]

# As Docker reads names: without a dot, a port or "localhost" the first word is no host, and the
# image would go to Docker Hub (distribution/reference, splitDockerDomain).
_REGISTRY = re.compile(
    r"(?P<host>(?=localhost(?:[:/]|$)|[^/]*[.:])[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d{1,5})?)"
    r"(?P<prefix>(?:/[a-z0-9]+(?:[._-][a-z0-9]+)*)*)/?"
)


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
    """HOST[:PORT][/PREFIX]; PushError if it is anything else."""
    match = _REGISTRY.fullmatch(text)
    if not match:
        raise PushError(
            f"{text!r} is not a registry",
            remedy="write HOST[:PORT]/PREFIX without https://, like registry.example.com/team; a "
            "host without a dot needs its port",
        )
    return Place(host=match["host"], prefix=match["prefix"].lstrip("/"))
