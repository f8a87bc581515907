"""What engines export, in their three ways, is the same image."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest
import zstandard

from builder.engine.export import read_export
from builder.errors import EngineError


def layer(name: str, size: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = size
        content = hashlib.shake_128(name.encode()).digest(size)
        tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


EMPTY = bytes(1024)
LAYERS = [layer("a", 3_000_000), layer("b", 10), EMPTY]


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


CONFIG = json.dumps({"rootfs": {"diff_ids": [f"sha256:{sha(each)}" for each in LAYERS]}}).encode()


def oci(layers: list[bytes]) -> dict[str, bytes]:
    return {f"blobs/sha256/{sha(each)}": each for each in layers}


WAYS = {
    "before 25": {
        "1/VERSION": b"1.0",
        "1/json": b'{"id": "1"}',
        "1/layer.tar": LAYERS[0],
        "2/layer.tar": LAYERS[1],
        "3/layer.tar": EMPTY,
        f"{sha(CONFIG)}.json": CONFIG,
        "manifest.json": b"[]",
    },
    "graph driver": {**oci([*LAYERS, CONFIG]), "index.json": b"{}", "manifest.json": b"[]"},
    "containerd": oci(
        [
            CONFIG,
            gzip.compress(LAYERS[0]),
            gzip.compress(LAYERS[1][:512]) + gzip.compress(LAYERS[1][512:]),
            gzip.compress(EMPTY),
            b'{"schemaVersion": 2}',
        ]
    ),
    "containerd, zstd": oci([CONFIG, *(zstandard.compress(each) for each in LAYERS)]),
}


class Engine:
    """What `docker.DockerClient.api` has of it."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.api = self
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            link = tarfile.TarInfo("4/layer.tar")  # as an engine writes a layer for the second time
            link.type, link.linkname = tarfile.SYMTYPE, "../3/layer.tar"
            tar.addfile(link)
        self.content = file.getvalue()

    def get_image(self, image: str, chunk_size: int) -> Iterator[bytes]:
        assert (image, chunk_size) == ("sha256:1", 1 << 20)
        for at in range(0, len(self.content), 700_001):
            yield self.content[at : at + 700_001]


def read(files: dict[str, bytes], *, left: str = "") -> tuple[bytes, dict[str, bytes]]:
    found: dict[str, bytes] = {}

    def take(name: str, blocks: Iterator[bytes]) -> None:
        found[name] = b"".join(blocks)

    engine: Any = Engine(files)
    config = read_export(
        engine,
        "sha256:1",
        is_config=lambda content: "rootfs" in json.loads(content),
        wanted=lambda name: name != left,
        take=take,
    )
    return config, found


@pytest.mark.parametrize("way", WAYS)
def test_layers_and_configuration(way: str) -> None:
    config, found = read(WAYS[way])
    assert config == CONFIG
    assert sorted(found.values()) == sorted(LAYERS)
    left = next(name for name, content in found.items() if content == LAYERS[0])
    _, fewer = read(WAYS[way], left=left)
    assert sorted(fewer.values()) == sorted(LAYERS[1:])


def test_export_without_a_configuration() -> None:
    with pytest.raises(EngineError, match="without its configuration"):
        read(oci(LAYERS))
