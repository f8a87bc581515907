"""What pushes to a registry: its logins, the engine, and what images were built from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.build.identity import derived_here
from builder.build.plan import inputs
from builder.dockerfile.render import Renderer
from builder.engine import connection
from builder.engine.image import TargetImage
from builder.errors import DlcError, EngineError
from builder.matrix.target import Target
from builder.registry.client import RegistryClient
from builder.registry.ecr import keeper, logins
from builder.registry.reference import parse_registry
from builder.release.attestations import Seal, attacher
from builder.release.compare import OCI, SAGEMAKER
from builder.release.layer_store import LayerStore
from builder.release.progress import PushWatcher
from builder.release.provenance import commit_of
from builder.release.push import Attach, Pusher

__all__ = ["Sources", "pusher_to"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """All targets of a matrix, and what they are built from."""

    targets: Sequence[Target]
    images: Path
    renderer: Renderer

    def changed(self, local: TargetImage) -> str:
        """Why an image was not built of its key; not known of a key that is not today's."""
        try:
            made_of = inputs(local.target, self.images, self.renderer)
        except DlcError:
            return ""
        if made_of.key != local.key:
            return ""
        return derived_here(made_of, local)

    def commit(self, local: TargetImage) -> str:
        """The commit of images/, if an image was built from what is there now."""
        try:
            key = inputs(local.target, self.images, self.renderer).key
        except DlcError:
            return ""
        return commit_of(self.images) if key == local.key else ""


@contextmanager
def pusher_to(
    registry: str,
    sources: Sources,
    *,
    watcher: PushWatcher,
    profile: str = SAGEMAKER,
    revision: str = "",
    patience: float = 90.0,
    immutable: bool = False,
    records: Path | None = None,
    seal: Seal | None = None,
) -> Iterator[Pusher]:
    """What pushes the engine's images to HOST[:PORT]/PREFIX; EngineError without a running engine.

    Its compressed layers stay for the next push, unless its store is told that all went well.
    """
    place = parse_registry(registry)
    engine = connection.find()
    if engine is None:
        raise EngineError("no Docker Engine is running", remedy="build it: dlc build")
    stop = threading.Event()
    client = RegistryClient(place.host, logins=logins(), patience=patience, stop=stop)
    keeps: Callable[[str, str], bool] = keeper(place.host)
    if immutable:
        keeps = lambda _repository, _tag: True  # noqa: E731
    attach: Attach | None = attacher(sources.commit) if profile == OCI else None
    with LayerStore(zstd=profile == OCI).opened() as store:
        yield Pusher(
            engine=engine,
            place=place,
            targets=sources.targets,
            client=client,
            watcher=watcher,
            store=store,
            profile=profile,
            revision=revision,
            keeps=keeps,
            attach=attach,
            seal=seal,
            changed=sources.changed,
            records=records,
            stop=stop,
        )
