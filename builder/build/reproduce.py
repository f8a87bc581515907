"""Whether a second build of a target, with no step from a cache, gives the image that is there."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from builder.build.build import rebuild
from builder.build.identity import derived_here
from builder.build.plan import find_by_key, index_by_key, inputs
from builder.dockerfile.render import Renderer
from builder.engine.export import BLOCK, Chunks, read_export
from builder.engine.failures import engine_errors
from builder.engine.images import images_here
from builder.engine.layers import Layer
from builder.engine.private import up
from builder.errors import BuildError, ContainerError
from builder.inventory import tree
from builder.inventory.diff import Change, Setting, compare
from builder.inventory.image import of_image, record_of
from builder.inventory.tree import Entry, FileChange
from builder.matrix.mirrors import Mirrors

if TYPE_CHECKING:
    import docker

    from builder.build.bake import Watcher
    from builder.matrix.target import Target

__all__ = ["Rebuilt", "verify_build"]

# BuildKit before 0.11, which dates images by itself, leaves this time after each step.
_OF_THE_ENGINE = FileChange(path="/etc", what="time")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rebuilt:
    """A target's image beside one that was built anew, and what differs.

    `first` and `second` are the engine's ids, `count` how many layers the first one has, `layers`
    the steps of those whose digests differ, and `files` what differs in these. `created` tells
    whether the engine gave both images one date.
    """

    target: Target
    first: str
    second: str
    count: int
    layers: tuple[str, ...] = ()
    created: bool = True
    files: tuple[FileChange, ...] = ()
    packages: tuple[Change, ...] = ()
    settings: tuple[Setting, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether nothing differs but what the engine cannot have the same."""
        if self.packages or self.settings:
            return False
        if self.created or not self.layers:
            return not self.layers
        return {*self.files} == {_OF_THE_ENGINE}


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
    one, other = (of_image(client, image, target.name) for image in (first, second))
    found = compare(one, other)
    nothing = Layer(digest="", size=0, step="")
    pairs = [
        pair
        for pair in zip_longest(one.layers, other.layers, fillvalue=nothing)
        if pair[0].digest != pair[1].digest
    ]
    before = _trees(client, first, {old.digest for old, _ in pairs})
    after = _trees(client, second, {new.digest for _, new in pairs})
    changes = [
        change
        for old, new in pairs
        for change in tree.differences(before.get(old.digest, {}), after.get(new.digest, {}))
    ]
    return Rebuilt(
        target=target,
        first=first,
        second=second,
        count=len(one.layers),
        layers=tuple(new.step or old.step for old, new in pairs),
        created=one.created == other.created,
        files=tuple(changes),
        packages=found.packages,
        settings=found.settings,
    )


def _trees(
    client: docker.DockerClient, image: str, wanted: set[str]
) -> dict[str, Mapping[str, Entry]]:
    """The files of an image's layers, by the digests of their tars that are `wanted`."""
    found: dict[str, Mapping[str, Entry]] = {}
    if not wanted - {""}:
        return found

    def take(_: str, blocks: Iterator[bytes]) -> None:
        digest = hashlib.sha256()

        def read() -> Iterator[bytes]:
            for block in blocks:
                digest.update(block)
                yield block

        parts = read()
        with tarfile.open(fileobj=Chunks(parts), mode="r|", bufsize=BLOCK) as tar:
            files = tree.read(tar)
        for _rest in parts:  # what is after the end
            pass
        if (diff_id := f"sha256:{digest.hexdigest()}") in wanted:
            found[diff_id] = files

    read_export(client, image, is_config=lambda _: True, wanted=lambda _: True, take=take)
    return found
