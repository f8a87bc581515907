"""Root file systems as images of another platform than the engine's.

An import gives an image the engine's own architecture, whatever it is asked for (Engine 20.10), so
the tree is loaded as an image of its own making. The same tree gives the same image.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from builder.matrix.platforms import PLATFORMS

if TYPE_CHECKING:
    import docker

__all__ = ["load_tree"]

_BLOCK = 1 << 20
_LOADED = re.compile(r"Loaded image ID: (sha256:[0-9a-f]{64})")


def load_tree(
    client: docker.DockerClient,
    tree: IO[bytes],
    platform: str,
    *,
    config: Mapping[str, Any],
    created: str,
    scratch: Path,
) -> str:
    """The id of the image that a tar became, or what the engine said instead of one.

    `config` is as in an image's own, `created` its time. docker's errors where the engine fails.
    """
    with tempfile.TemporaryFile(dir=scratch) as layer, tempfile.TemporaryFile(dir=scratch) as file:
        digest = hashlib.sha256()
        while block := tree.read(_BLOCK):
            digest.update(block)
            layer.write(block)
        name, system = PLATFORMS[platform].architecture, platform.partition("/")[0]
        document = {
            "architecture": name,
            "os": system,
            "created": created,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest.hexdigest()}"]},
            "history": [{"created": created}],
        }
        _archive(file, json.dumps(document, sort_keys=True).encode(), layer)
        file.seek(0)
        answer = "".join(_words(client.api.load_image(file)))  # type: ignore[no-untyped-call]
    found = _LOADED.search(answer)
    return found[1] if found else answer.strip()


def _archive(file: IO[bytes], config: bytes, layer: IO[bytes]) -> None:
    """An image of one layer, as `docker load` reads it."""
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    listed = [{"Config": name, "RepoTags": None, "Layers": ["layer.tar"]}]
    with tarfile.open(fileobj=file, mode="w") as archive:
        small = ((name, config), ("manifest.json", json.dumps(listed).encode()))
        for path, content in small:
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        entry = tarfile.TarInfo("layer.tar")
        entry.size = layer.tell()
        layer.seek(0)
        archive.addfile(entry, layer)


def _words(events: Iterator[Mapping[str, Any]]) -> Iterator[str]:
    for event in events:
        yield str(event.get("stream") or event.get("error") or "")
