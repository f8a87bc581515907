"""One tag for all platforms of a row: an index of the images that its targets have there.

Only the profile `oci` has it. The row's target for the default platform pushes it, so the others go
first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from builder.matrix.platforms import DEFAULT
from builder.matrix.target import Target
from builder.registry.client import OCI_INDEX, Manifest
from builder.release.compare import OCI

if TYPE_CHECKING:
    from builder.release.push import Pusher

__all__ = ["for_all_platforms", "in_order", "joined", "siblings"]


def siblings(target: Target, targets: Iterable[Target]) -> list[Target]:
    """The targets of the same row for other platforms, if a target's is the default one."""
    if target.platform != DEFAULT:
        return []
    return [
        other
        for other in targets
        if other.platform != DEFAULT
        and other.repository == target.repository
        and other.tag == f"{target.tag}-{other.runs_on.suffix}"
    ]


def in_order(targets: Sequence[Target]) -> list[Target]:
    """Targets as they are to be pushed: those for the default platform after all others."""
    return sorted(targets, key=lambda target: target.platform == DEFAULT)


def for_all_platforms(
    pusher: Pusher, target: Target, repository: str, manifest: Manifest
) -> Manifest:
    """What a target's tags name: its own index, or with it those of its row's other platforms.

    One that the registry does not have is left out, and told of.
    """
    if pusher.profile != OCI:
        return manifest
    found = []
    for other in siblings(target, pusher.targets):
        there = pusher.client.manifest(repository, other.tag)
        if there is None or there.media_type != OCI_INDEX:
            what = "no index" if there else "not there"
            news = f"the index is not for {other.platform}: {other.tag} is {what}"
            pusher.watcher.news(target.name, news)
            continue
        found.append(there)
    return joined([manifest, *found])


def joined(indexes: Sequence[Manifest]) -> Manifest:
    """An index of all that others have, each once; one alone stays as it is."""
    if len(indexes) == 1:
        return indexes[0]
    entries: dict[str, Any] = {}
    for index in indexes:
        for entry in index.document["manifests"]:
            entries.setdefault(entry["digest"], entry)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": list(entries.values()),
    }
    content = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    return Manifest(content=content, media_type=OCI_INDEX)
