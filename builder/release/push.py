"""Pushes targets: looks first, uploads what is missing, tags by digest, reads everything back.

What can be refused is refused first: all targets are prepared before the first is uploaded.

An image goes up under the tag of its build key. Only when its manifest has been read back and fits
the profile do the tags that people use get the same manifest, which needs no upload. So whatever
breaks off, no tag names half an image, and the next push goes on where this one ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from builder.engine.failures import engine_errors
from builder.engine.image import TargetImage, key_tag
from builder.engine.namespace import local_name
from builder.engine.unpacked import diff_ids
from builder.errors import PushError, RegistryError
from builder.matrix.target import STAND_IN_LABEL, Target
from builder.registry.client import Manifest, RegistryClient
from builder.release import tagging
from builder.release.compare import (
    OCI,
    SAGEMAKER,
    Prepared,
    Remote,
    conflict,
    is_same,
    misfit,
    oci_misfit,
)
from builder.release.inventories import inventory_of, keep
from builder.release.platforms import for_all_platforms
from builder.release.record import Released
from builder.release.tags import moving
from builder.release.upload import upload

if TYPE_CHECKING:
    from builder.engine.connection import Engine
    from builder.registry.reference import Place
    from builder.release.attestations import Seal
    from builder.release.layer_store import LayerStore
    from builder.release.progress import PushWatcher

__all__ = ["Attach", "Pusher"]

# What reads all that it says of an image, and gives what pushes that beside the image, whose
# manifest it gets; that gives the manifest of both.
Attach = Callable[["Pusher", TargetImage], Callable[[str, Manifest], Manifest]]


@dataclass(frozen=True, kw_only=True)
class Pusher:
    """How targets are pushed to one registry.

    `targets` are all of the matrix; `revision` is that of the release, empty for the next one;
    `keeps` tells whether a repository keeps a tag although it is none of those that never move;
    `store` has the compressed layers; `attach` is for the profile `oci`; `stop` is the client's;
    `seal` signs what was pushed, before people's tags name it, and needs `records`;
    `changed` tells why an image is not what was built of its key (see builder.build.identity);
    below `records` the inventory of each image is kept.
    """

    engine: Engine
    place: Place
    targets: Sequence[Target]
    client: RegistryClient
    watcher: PushWatcher
    store: LayerStore
    profile: str = SAGEMAKER
    revision: str = ""
    keeps: Callable[[str, str], bool] = lambda _repository, _tag: False
    attach: Attach | None = None
    seal: Seal | None = None
    changed: Callable[[TargetImage], str] = lambda _local: ""
    records: Path | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def prepare(self, target: Target) -> Prepared:
        """Look at a target's image here and in the registry; nothing is written.

        PushError if it must not or cannot be pushed, EngineError if the engine fails.
        """
        with self._telling(target):
            local = self._local(target)
            repository = self.place.repository(target.repository)
            fixed = [key_tag(local.key)]
            if self.revision:
                fixed.append(f"{target.tag}-v{self.revision}")
            there = self._there(local, repository, fixed)
            attach = self.attach(self, local) if self.attach and there is None else None
            # What is there may be another build of the same key, with other packages.
            mine = self.records and (there is None or self._is_local(local, repository, there))
            inventory = inventory_of(self.engine, local) if mine else None
        return Prepared(
            local=local, repository=repository, there=there, attach=attach, inventory=inventory
        )

    def push(self, prepared: Prepared) -> Released:
        """Push what is prepared; what the registry then has.

        PushError if it has not all of it, EngineError if the engine fails.
        """
        target = prepared.local.target
        try:
            with self._telling(target):
                return self._push(prepared)
        finally:
            self.watcher.ended(target.name)

    @contextmanager
    def _telling(self, target: Target) -> Iterator[None]:
        """The errors of the engine and the registry as errors of this target's push."""
        try:
            with engine_errors(f"{target.name}: the engine failed"):
                yield
        except RegistryError as error:
            where = f"{self.place}/{target.name}"
            raise PushError(f"{where}: {error.message}", remedy=error.remedy) from error

    def _push(self, prepared: Prepared) -> Released:
        local, repository = prepared.local, prepared.repository
        target = local.target
        if prepared.there is None:
            manifest = self._upload(prepared)
        else:
            manifest = prepared.there
            self.watcher.news(target.name, f"{manifest.digest} is there already")
        self._check(target, repository, manifest)
        # The key's tag is this image's alone; what people use may be for other platforms as well.
        shown = for_all_platforms(self, target, repository, manifest)
        named = self.client.head(repository, target.tag)
        before = named.digest if named else ""
        revision = self.revision or tagging.revision(self, target, repository, shown.digest)
        shared = (f"{target.tag}-v{revision}", *moving(target, self.targets, revision=revision))
        tags = {key_tag(local.key): manifest, **dict.fromkeys(shared, shown)}
        if self.records and prepared.inventory:
            keep(self.records, shown.digest, prepared.inventory)
        if self.seal:
            image = self._image_manifest(target, repository, manifest).digest
            name = f"{self.place.host}/{repository}"
            for top in dict.fromkeys((manifest.digest, shown.digest)):
                if top == shown.digest:  # it is signed before a tag names it
                    self.client.put_manifest(repository, top, shown)
                self.seal(local, name, image, top, prepared.inventory)
        for tag, names in tags.items():
            there = tagging.name(self, local, repository, tag, names)
            if tag == target.tag and there not in {"", before, shown.digest}:
                # Who pushed that may have read its revision back before this push took it over.
                raise PushError(
                    f"{self.place.host}/{repository}:{tag} became {there} while this pushed "
                    f"{shown.digest}",
                    remedy=tagging.TWO_PUSHES,
                )
        for tag, names in tags.items():
            tagging.read_back(self, repository, tag, names)
        return Released(
            image=f"{self.place.host}/{repository}",
            tag=target.tag,
            tags=tuple(sorted(tags)),
            digest=shown.digest,
            size=self._image_manifest(target, repository, manifest).size,
            key=local.key,
            profile=self.profile,
        )

    def _local(self, target: Target) -> TargetImage:
        """The engine's image of a target; PushError if it is none to be pushed."""
        import docker.errors

        with closing(self.engine.client()) as client:
            try:
                image = client.images.get(local_name(target.name))
            except docker.errors.ImageNotFound as error:
                raise PushError(
                    f"there is no image {target.name}", remedy=f"run `dlc build {target.name}`"
                ) from error
        local = TargetImage(
            target=target,
            id=str(image.id),
            labels=image.labels,
            layers=diff_ids(image),
        )
        if what := local.labels.get(STAND_IN_LABEL):
            raise PushError(
                f"{target.name} is an image for tests, with a stand-in for {what}",
                remedy="build the real one where its base and its wheels can be reached",
            )
        if not local.key:
            raise PushError(
                f"the image {target.name} does not say what it was built from",
                remedy=f"run `dlc build {target.name}`",
            )
        if why := self.changed(local):
            raise PushError(
                f"image {target.name} is not as it was built: {why}",
                remedy=f"run `dlc build {target.name}`",
            )
        return local

    def _there(self, local: TargetImage, repository: str, fixed: Sequence[str]) -> Manifest | None:
        """The image's manifest if the registry has it, before anything is uploaded.

        PushError if a tag that must not move is another's.
        """
        found: Manifest | None = None
        target = local.target
        revision = self.revision or f"{target.major}.0"  # short tags have its first number only
        moves = moving(target, self.targets, revision=revision)
        kept = [tag for tag in moves if tag != target.tag and self.keeps(repository, tag)]
        for tag in (*fixed, target.tag, *kept):
            remote = self.remote(target, repository, tag)
            if remote is None:
                continue
            same = is_same(local, remote) and not self._misfit(remote)
            if not same and (tag in fixed or self.keeps(repository, tag)):
                raise conflict(f"{self.place.host}/{repository}:{tag}", local, remote)
            if same and found is None:
                found = remote.top
        return found

    def remote(self, target: Target, repository: str, tag: str) -> Remote | None:
        """What a tag names in the registry, for a target's platform; None if it names nothing."""
        top = self.client.manifest(repository, tag)
        if top is None:
            return None
        manifest = self._image_manifest(target, repository, top)
        labels = self.client.labels(repository, manifest.digest) or {}
        return Remote(top=top, manifest=manifest, labels=labels)

    def _is_local(self, local: TargetImage, repository: str, there: Manifest) -> bool:
        """Whether what a registry has is the engine's own image, and not only one of its key."""
        image = self._image_manifest(local.target, repository, there)
        config = Remote(top=there, manifest=image, labels={}).image_id
        return local.id in (config, image.digest, there.digest)

    def _image_manifest(self, target: Target, repository: str, top: Manifest) -> Manifest:
        return self.client.image_manifest(repository, top.digest, target.platform) or top

    def _misfit(self, remote: Remote) -> str:
        inner = oci_misfit(remote.manifest) if self.profile == OCI else ""
        return misfit(remote.top, self.profile) or inner

    def _upload(self, prepared: Prepared) -> Manifest:
        repository = prepared.repository
        image = upload(self, prepared.local, repository)
        return image if prepared.attach is None else prepared.attach(repository, image)

    def _check(self, target: Target, repository: str, manifest: Manifest) -> None:
        """PushError unless the registry serves what the profile promises."""
        image = self._image_manifest(target, repository, manifest)
        if why := self._misfit(Remote(top=manifest, manifest=image, labels={})):
            raise PushError(
                f"{self.place.host}/{repository}@{manifest.digest} does not fit the profile "
                f"{self.profile}: {why}",
                remedy="build it again: dlc build",
            )
