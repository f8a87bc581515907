"""One size of an image, whichever store an engine keeps it in."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from types import SimpleNamespace
from typing import Any

import pytest

from builder.engine.layers import from_engine
from builder.engine.unpacked import known_size, unpacked_size
from builder.errors import EngineError
from tests.unit.engine.test_export import Engine, oci, sha


def layer(*files: tuple[str, int]) -> bytes:
    """A layer of files, a folder, a link of either kind and a mark that something is gone."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, size in files:
            member = tarfile.TarInfo(name)
            member.size = size
            tar.addfile(member, io.BytesIO(bytes(size)))
        for kind, name in ((tarfile.SYMTYPE, "link"), (tarfile.LNKTYPE, "same")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "12345"
            tar.addfile(member)
        member = tarfile.TarInfo("folder")
        member.type = tarfile.DIRTYPE
        tar.addfile(member)
        tar.addfile(tarfile.TarInfo("folder/.wh.gone"))
    return file.getvalue()


LAYERS = [layer(("a", 70_000), ("b", 1)), layer(("c", 300))]
SIZES = [70_001 + 5, 300 + 5]
DIFF_IDS = [f"sha256:{sha(each)}" for each in LAYERS]
CONFIG = json.dumps({"rootfs": {"diff_ids": DIFF_IDS}}).encode()


class Client:
    """An engine with one image; with containerd's store it tells sizes of its own."""

    def __init__(self, *, containerd: bool) -> None:
        self.exports = 0
        self.containerd = containerd
        size = 12_345 if containerd else sum(SIZES)
        attrs = {"Id": "sha256:1", "Size": size, "RootFS": {"Layers": DIFF_IDS}}
        told = [{"CreatedBy": "COPY b", "Size": 4096}, {"CreatedBy": "COPY a", "Size": 77_824}]
        if not containerd:
            for entry, bytes_ in zip(reversed(told), SIZES, strict=True):
                entry["Size"] = bytes_
        image = SimpleNamespace(id="sha256:1", attrs=attrs, history=lambda: told)
        self.images = SimpleNamespace(get=lambda _: image)

    def info(self) -> dict[str, Any]:
        kind = ["driver-type", "io.containerd.snapshotter.v1"]
        return {"DriverStatus": [kind if self.containerd else ["Backing Filesystem", "extfs"]]}

    @property
    def api(self) -> Any:
        self.exports += 1
        packed = [gzip.compress(each, mtime=0) for each in LAYERS]
        return Engine(oci([*packed, CONFIG]))


@pytest.mark.parametrize("containerd", [False, True])
def test_both_stores(containerd: bool) -> None:
    client: Any = Client(containerd=containerd)
    assert unpacked_size(client, "a:1") == sum(SIZES)
    found = from_engine(client, "a:1")
    assert found.size == sum(SIZES)
    assert [(each.digest, each.size) for each in found.layers] == list(
        zip(DIFF_IDS, SIZES, strict=True)
    )
    # Read once, and known without the engine from then on.
    assert unpacked_size(client, "a:1") == sum(SIZES)
    assert client.exports == int(containerd)
    assert known_size("sha256:1") == (sum(SIZES) if containerd else None)


def test_image_without_all_its_layers_has_no_size() -> None:
    """As containerd's store pulls one whose layers it has in other compression."""
    client = Client(containerd=True)
    attrs = client.images.get("").attrs
    attrs |= {"RootFS": {}, "Architecture": "", "RepoDigests": ["host/name@sha256:2"]}
    for ask in (unpacked_size, from_engine):
        with pytest.raises(EngineError, match="has not all layers of host/name@sha256:2"):
            ask(client, "name")  # type: ignore[arg-type]
    assert known_size("sha256:1") is None
    attrs["Architecture"] = "amd64"  # of nothing but a configuration
    assert from_engine(client, "name").layers == ()  # type: ignore[arg-type]
