"""What is in each layer of images, looked at once however many of them have it."""

from __future__ import annotations

import json
import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import docker

from builder.engine.export import Chunks

__all__ = ["Entry", "contains", "look_at_layers"]

# Engines differ in how they name layers; what else is in an image is JSON, or a few bytes.
_SMALLEST_TAR = 2 * tarfile.BLOCKSIZE
# tarfile copies what is left of its buffer for each header: a large one is slow.
_BLOCK = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A file or folder of a layer; `file` is its content, which can be read once."""

    name: str
    size: int = 0
    is_folder: bool = False
    file: IO[bytes] | None = None


Look = Callable[[Entry], Iterator[str]]


def look_at_layers(
    client: docker.DockerClient, images: Sequence[str], look: Look
) -> list[list[list[str]]]:
    """What `look` finds, for each image, in each of its layers, the base's first.

    An engine of this machine has layers as folders, which takes a tenth of the time; any other one
    is asked for the images.
    """
    found: dict[str, list[str]] = {}
    folders = [_folders(client.images.get(image).attrs) for image in images]
    if all(folders):
        for folder in {each for of_image in folders for each in of_image}:
            found[str(folder)] = [told for entry in _on_disk(folder) for told in look(entry)]
        layers = [[str(each) for each in of_image] for of_image in folders]
    else:
        layers = _saved(client, images, look, found)
    wanted = [len(client.images.get(image).attrs["RootFS"]["Layers"]) for image in images]
    assert [len(each) for each in layers] == wanted
    return [[found[name] for name in of_image] for of_image in layers]


def contains(file: IO[bytes], texts: Sequence[bytes]) -> bool:
    """Whether any of the texts is in a file; none is longer than 200 bytes."""
    assert all(len(text) <= 200 for text in texts)
    tail = b""
    while block := file.read(_BLOCK):
        data = tail + block
        if any(text in data for text in texts):
            return True
        tail = block[-200:]
    return False


def _folders(attributes: dict[str, Any]) -> list[Path]:
    """The folders that overlay2 has an image's layers in; none if they cannot be read here."""
    driver = attributes.get("GraphDriver") or {}
    data = driver.get("Data") or {}
    if driver.get("Name") != "overlay2" or "UpperDir" not in data:
        return []
    below = data.get("LowerDir", "").split(":")
    found = [Path(each) for each in (data["UpperDir"], *below) if each][::-1]
    return found if all(os.access(each, os.R_OK | os.X_OK) for each in found) else []


def _on_disk(folder: Path) -> Iterator[Entry]:
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(where, name)
            said, inside = path.lstat(), str(path.relative_to(folder))
            if stat.S_ISREG(said.st_mode):
                with path.open("rb") as file:
                    yield Entry(name=inside, size=said.st_size, file=file)
            elif not (stat.S_ISCHR(said.st_mode) and said.st_rdev == 0):  # marks what is gone
                yield Entry(name=inside, is_folder=stat.S_ISDIR(said.st_mode))


def _saved(
    client: docker.DockerClient, images: Sequence[str], look: Look, found: dict[str, list[str]]
) -> list[list[str]]:
    """The names of each image's layers, as saved; what is in them is added to `found`."""
    address = f"{client.api.base_url}/images/get"
    answer = client.api.get(address, params={"names": list(images)}, stream=True)
    answer.raise_for_status()
    contents: list[Any] = []
    stream = Chunks(answer.iter_content(_BLOCK))
    with tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK) as saved:
        for part in saved:
            inner: Any = saved.extractfile(part) if part.isfile() else None
            if inner is None:
                continue
            if part.name == "manifest.json":
                contents = json.load(inner)
            elif part.size >= _SMALLEST_TAR and inner.peek(1)[:1] not in b"{[":
                with tarfile.open(fileobj=inner, mode="r|", bufsize=_BLOCK) as tar:
                    found[part.name] = [told for each in _of_tar(tar) for told in look(each)]
    return [image["Layers"] for image in contents]


def _of_tar(tar: tarfile.TarFile) -> Iterator[Entry]:
    for member in tar:
        file = tar.extractfile(member) if member.isfile() else None
        yield Entry(name=member.name, size=member.size, is_folder=member.isdir(), file=file)
