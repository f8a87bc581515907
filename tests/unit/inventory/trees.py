"""Root file systems as tars, as an engine exports them."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from collections.abc import Iterable, Mapping

from builder.inventory.filesystem import Contents, scan
from builder.inventory.model import Config, Inventory, Package

SITE = "opt/venv/lib/python3.11/site-packages"


def contents(
    files: Mapping[str, bytes | str], links: Iterable[tuple[str, str, bytes]] = ()
) -> Contents:
    """What a scan finds; links are path, target and type."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for path, target, kind in links:
            member = tarfile.TarInfo(path)
            member.type, member.linkname = kind, target
            tar.addfile(member)
    stream.seek(0)
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        return scan(tar)


def metadata(name: str, version: str, *more: str) -> str:
    return "\n".join(("Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *more, ""))


def jar(files: Mapping[str, bytes | str]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for path, content in files.items():
            file.writestr(path, content)
    return stream.getvalue()


def module_class(module: str, version: str) -> bytes:
    """A `module-info.class` with nothing but a name and a version, and a constant of two slots."""

    def text(value: str) -> bytes:
        return struct.pack(">BH", 1, len(value.encode())) + value.encode()

    pool = [
        text("Module"),  # 1
        text(module),  # 2
        struct.pack(">BH", 19, 2),  # 3
        text(version),  # 4
        struct.pack(">Bq", 5, 7),  # 5 and 6: a long
        text("module-info"),  # 7
        struct.pack(">BH", 7, 7),  # 8
    ]
    body = struct.pack(">3H5H", 3, 0, 4, 0, 0, 0, 0, 0)
    return (
        b"\xca\xfe\xba\xbe"
        + struct.pack(">3H", 0, 53, len(pool) + 2)
        + b"".join(pool)
        + struct.pack(">3H4H", 0x8000, 8, 0, 0, 0, 0, 1)
        + struct.pack(">HI", 1, len(body))
        + body
    )


def inventory(*packages: Package, **changes: object) -> Inventory:
    """An inventory of some packages."""
    values: dict[str, object] = {
        "image": "team/a:1",
        "id": "sha256:" + "1" * 64,
        "key": "2" * 64,
        "created": "2026-11-21T06:05:49.123Z",
        "distribution": "debian",
        "release": "12",
        "packages": tuple(sorted(packages)),
        "config": Config(env={"LANG": "C.UTF-8"}, labels={"a": "b"}, entrypoint=("python",)),
        "layers": (),
        "size": 10,
    }
    return Inventory(**{**values, **changes})  # type: ignore[arg-type]
