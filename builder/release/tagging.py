"""Tags in a registry: each names a manifest that is there, and is read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.errors import Interrupted, PushError, RegistryError
from builder.release.compare import conflict
from builder.release.tags import is_fixed, next_revision, revisions

if TYPE_CHECKING:
    from builder.engine.image import TargetImage
    from builder.matrix.target import Target
    from builder.registry.client import Manifest
    from builder.release.push import Pusher

__all__ = ["TWO_PUSHES", "name", "read_back", "revision"]

TWO_PUSHES = (
    "somebody else pushed the same release at the same time: see which image has its tags, push "
    "again, and agree on who does"
)
# What registries answer where a tag is to be kept: ECR 400, others 405, 409 or 412.
_KEPT = frozenset({400, 405, 409, 412})


def revision(pusher: Pusher, target: Target, repository: str, digest: str) -> str:
    """The newest revision that is this image already, else the one after the newest."""
    known = revisions(target.tag, pusher.client.tags(repository))
    for each in reversed(known):
        there = pusher.client.head(repository, f"{target.tag}-v{each}")
        if there is not None and there.digest == digest:
            return each
    return next_revision(known, target.major)


def name(pusher: Pusher, local: TargetImage, repository: str, tag: str, manifest: Manifest) -> str:
    """Let a tag name a manifest that is there, unless it does; the digest that it named before.

    Empty if it named none.
    """
    if pusher.stop.is_set():
        raise Interrupted("interrupted")
    reference = f"{pusher.place.host}/{repository}:{tag}"
    there = pusher.client.head(repository, tag)
    if there is not None and there.digest == manifest.digest:
        return there.digest
    keeps = is_fixed(tag) or pusher.keeps(repository, tag)
    remote = pusher.remote(local.target, repository, tag) if there is not None and keeps else None
    if remote is not None:
        raise conflict(reference, local, remote, manifest.digest)
    try:
        pusher.client.put_manifest(repository, tag, manifest)
    except RegistryError as error:
        if error.status not in _KEPT:
            raise
        # A repository that keeps its tags says so only now, and also if an answer was lost.
        remote = pusher.remote(local.target, repository, tag)
        if remote is None:
            raise
        if remote.top.digest != manifest.digest:
            refused = conflict(reference, local, remote, manifest.digest)
            raise PushError(
                f"{refused.message} ({error.message})", remedy=refused.remedy
            ) from error
    if there is not None:
        pusher.watcher.news(local.target.name, f"{tag} moved from {there.digest}")
    return there.digest if there else ""


def read_back(pusher: Pusher, repository: str, tag: str, manifest: Manifest) -> None:
    """PushError unless a tag serves the manifest that was pushed."""
    served = pusher.client.manifest(repository, tag)
    if served is None or served.content != manifest.content:
        what = served.digest if served else "nothing"
        raise PushError(
            f"{pusher.place.host}/{repository}:{tag} was pushed as {manifest.digest}, but the "
            f"registry serves {what}",
            remedy=TWO_PUSHES,
        )
