"""The images that a registry has of targets, with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from builder.engine.image import ImageInfo
from builder.matrix.target import Target
from builder.registry.client import RegistryClient, labels_of
from builder.registry.ecr import logins
from builder.registry.reference import parse_registry

__all__ = ["images_in"]

# Registries answer this many at a time without holding any back (ECR allows far more a second).
_AT_ONCE = 16


def images_in(
    registry: str, targets: Sequence[Target], client: RegistryClient | None = None
) -> dict[str, ImageInfo]:
    """What is under each target's name in HOST[:PORT]/PREFIX, by the target's name.

    RegistryError if it does not answer or refuses, ArgumentError if it is no registry's name.
    """
    place = parse_registry(registry)
    asked = client or RegistryClient(place.host, logins=logins())

    def ask(target: Target) -> ImageInfo | None:
        repository = place.repository(target.repository)
        config = asked.config(repository, target.tag, target.platform)
        if config is None:
            return None
        return ImageInfo(labels=labels_of(config), config=config)

    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(targets) or 1)) as pool:
        answers = list(pool.map(ask, targets))
    return {target.name: built for target, built in zip(targets, answers, strict=True) if built}
