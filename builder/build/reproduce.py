"""Whether a second build of a target, with no step from a cache, gives the image that is there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.build.build import rebuild
from builder.build.identity import derived_here
from builder.build.plan import find_by_key, index_by_key, inputs
from builder.dockerfile.render import Renderer
from builder.engine.failures import engine_errors
from builder.engine.images import images_here
from builder.engine.private import up
from builder.errors import BuildError, ContainerError
from builder.inventory import tree
from builder.inventory.diff import Change, Setting, compare
from builder.inventory.image import exported, of_image, record_of
from builder.inventory.tree import FileChange
from builder.matrix.mirrors import Mirrors

if TYPE_CHECKING:
    import docker

    from builder.build.bake import Watcher
    from builder.matrix.target import Target

__all__ = ["Rebuilt", "verify_build"]

# Java 17 lays its class archive out by the addresses of the process that dumps it, which no option
# that an image's build may set makes the same (docs/reproducible.md).
_KNOWN = frozenset({"/opt/java/lib/server/classes.jsa"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Rebuilt:
    """A target's image beside one that was built anew: what differs, and what was compared.

    `first` and `second` are the engine's ids, `known` the files that are expected to differ,
    `layers` how many of all layers have one digest.
    """

    target: Target
    first: str
    second: str
    files: tuple[FileChange, ...]
    known: tuple[FileChange, ...]
    packages: tuple[Change, ...]
    settings: tuple[Setting, ...]
    compared: int
    layers: tuple[int, int]

    @property
    def is_same(self) -> bool:
        """Whether files, packages and settings are as expected; digests may not be the same."""
        return not (self.files or self.packages or self.settings)


def verify_build(
    target: Target,
    *,
    images: Path,
    renderer: Renderer,
    mirrors: Mirrors,
    watcher: Watcher,
    say: Callable[[str], None],
) -> Rebuilt:
    """Build a target anew and compare both images; the second one is removed.

    ContainerError if no image of the target is up to date, BuildError if the second build fails.
    """
    wanted = inputs(target, images, renderer)
    engine = up(say=say)
    own = find_by_key(wanted, index_by_key(images_here()), derived_here)
    if own is None:
        raise ContainerError(
            f"there is no image {target.name} that is up to date",
            remedy=f"run `dlc build {target.name}`",
        )
    outcome = rebuild(wanted, images=images, mirrors=mirrors, watcher=watcher, say=say)
    if outcome.error:
        raise BuildError(f"the second build of {target.name} failed: {outcome.error}")
    with (
        engine_errors(f"{target.name} cannot be compared", kind=BuildError),
        closing(engine.client(timeout=300)) as client,
    ):
        try:
            return _compared(client, target, own[1].id, outcome.image_id)
        finally:
            if outcome.image_id != own[1].id:
                record_of(wanted.key, outcome.image_id).unlink(missing_ok=True)
                client.images.remove(outcome.image_id)


def _compared(client: docker.DockerClient, target: Target, first: str, second: str) -> Rebuilt:
    one, other = (exported(client, image, tree.read) for image in (first, second))
    changes = tree.differences(one, other)
    found = compare(*(of_image(client, image, target.name) for image in (first, second)))
    return Rebuilt(
        target=target,
        first=first,
        second=second,
        files=tuple(each for each in changes if each.path not in _KNOWN),
        known=tuple(each for each in changes if each.path in _KNOWN),
        packages=found.packages,
        settings=found.settings,
        compared=len({*one, *other}),
        layers=(found.shared_layers, len(found.after.layers)),
    )
