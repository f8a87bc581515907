"""How large an image is, unpacked: one number, the same with any engine and image store.

It is the bytes of the files of its layers. An engine with containerd's image store tells compressed
bytes in one place, and blocks of a disk in others. There the layers are read from the image's
export, each once, and what they have is remembered.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.engine.export import BLOCK, Chunks, digest_of, read_export
from builder.errors import EngineError
from builder.util import atomic
from builder.util.state import state_directory

if TYPE_CHECKING:
    import docker
    from docker.models.images import Image

__all__ = [
    "content_id",
    "diff_ids",
    "known_size",
    "layer_sizes",
    "unpacked_size",
    "uses_containerd",
]


def unpacked_size(client: docker.DockerClient, image: str) -> int:
    """The bytes of an image; docker's errors if the engine refuses or has it not."""
    found = client.images.get(image)
    if (known := known_size(str(found.id))) is not None:
        return known
    if not uses_containerd(client):
        return int(found.attrs.get("Size") or 0)
    layers = diff_ids(found)
    sizes = layer_sizes(client, str(found.id), layers)
    total = sum(sizes[each] for each in layers)
    _keep(_image(str(found.id)), str(total))
    return total


def diff_ids(image: Image) -> tuple[str, ...]:
    """The digests of the tars of an image's layers; EngineError if the engine has not all of them.

    containerd's store does not download a layer again that another image has in other compression,
    and then tells next to nothing of the image that lacks it.
    """
    found = tuple(image.attrs.get("RootFS", {}).get("Layers") or ())
    if not found and not image.attrs.get("Architecture"):
        name = next(iter(image.attrs.get("RepoDigests") or ()), image.id)
        raise EngineError(
            f"the engine has not all layers of {name}",
            remedy="remove what it has of the same layers (images, build cache), and pull it again",
        )
    return found


def content_id(attributes: Mapping[str, Any], *besides: str) -> str:
    """A digest of the layers in an image's attributes and of what counts `besides`.

    Images that differ in labels, names and time alone have the same. Empty where the engine does
    not tell the layers.
    """
    layers = (attributes.get("RootFS") or {}).get("Layers")
    if not layers:
        return ""
    return digest_of(json.dumps([layers, besides]).encode())


def known_size(image_id: str) -> int | None:
    """The same of an image that was asked for before, without the engine."""
    with suppress(OSError, ValueError):
        return int(_image(image_id).read_text("utf-8"))
    return None


def layer_sizes(
    client: docker.DockerClient, image: str, layers: Sequence[str]
) -> Mapping[str, int]:
    """The bytes of each layer of an image, by the digest of its tar."""
    found: dict[str, int] = {}
    for each in layers:
        with suppress(OSError, ValueError):
            found[each] = int(_layer(each).read_text("utf-8"))
    if found.keys() >= set(layers):
        return found

    def wanted(name: str) -> bool:
        with suppress(OSError):
            return _name(name).read_text("utf-8") not in found
        return True

    def take(name: str, blocks: Iterator[bytes]) -> None:
        diff_id, size = _measured(blocks)
        found[diff_id] = size
        _keep(_layer(diff_id), str(size))
        _keep(_name(name), diff_id)

    read_export(client, image, is_config=lambda _: True, wanted=wanted, take=take)
    return found


def uses_containerd(client: docker.DockerClient) -> bool:
    """Whether an engine keeps its images in containerd's store."""
    status = client.info().get("DriverStatus") or ()
    return ["driver-type", "io.containerd.snapshotter.v1"] in [list(each) for each in status]


def _measured(blocks: Iterator[bytes]) -> tuple[str, int]:
    """The digest of a layer's tar, and the bytes of its files as classic stores count them."""
    digest, size = hashlib.sha256(), 0

    def read() -> Iterator[bytes]:
        for block in blocks:
            digest.update(block)
            yield block

    parts = read()
    with tarfile.open(fileobj=Chunks(parts), mode="r|", bufsize=BLOCK) as tar:
        for member in tar:
            if member.isreg():
                size += member.size
            elif member.issym():
                size += len(member.linkname.encode("utf-8", "surrogateescape"))
    for _ in parts:  # what is after the end
        pass
    return f"sha256:{digest.hexdigest()}", size


def _image(identity: str) -> Path:
    return _root() / "images" / identity.partition(":")[2]


def _layer(diff_id: str) -> Path:
    return _root() / "layers" / diff_id.partition(":")[2]


def _name(exported: str) -> Path:
    return _root() / "names" / exported.replace("/", "-")


def _root() -> Path:
    return state_directory() / "unpacked"


def _keep(path: Path, text: str) -> None:
    with suppress(OSError):  # a plan needs no state that it can write to
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(path, text)
