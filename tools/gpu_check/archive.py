"""The prepared folder: an archive for each part, and a manifest with their digests."""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path

from builder.errors import ArgumentError
from builder.util import tar

__all__ = ["Manifest", "digest", "pack", "read_manifest", "unpack", "write_manifest"]

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What is in a prepared folder. `archives` has the SHA-256 of each file."""

    python: str
    target: str
    packages: dict[str, str]
    archives: dict[str, str]


def pack(tree: Path, archive: Path) -> None:
    """Pack a tree into a .tar.xz without times and owners: the same tree makes the same bytes."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime = member.uid = member.gid = 0
        member.uname = member.gname = "root"
        return member

    with tarfile.open(archive, "w:xz") as packed:
        for path in sorted(tree.iterdir()):
            packed.add(path, arcname=path.name, filter=plain)


def unpack(folder: Path, manifest: Manifest, into: Path) -> None:
    """Unpack every archive into a folder of its own name; ArgumentError if one is damaged."""
    for name, expected in manifest.archives.items():
        path = folder / name
        if not path.is_file() or digest(path) != expected:
            raise ArgumentError(
                f"{path} is missing or damaged", remedy="copy the folder again, or prepare it again"
            )
        with path.open("rb") as file:
            tar.unpack(file, into / name.partition(".")[0])


def digest(path: Path) -> str:
    with path.open("rb") as file:
        result = hashlib.sha256()
        while block := file.read(1 << 20):
            result.update(block)
    return result.hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    text = json.dumps(asdict(manifest), indent=2) + "\n"
    (folder / MANIFEST).write_text(text, "utf-8")


def read_manifest(folder: Path) -> Manifest:
    """ArgumentError if the folder was not made by `prepare`."""
    path = folder / MANIFEST
    try:
        return Manifest(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ArgumentError(
            f"{folder} has no valid {MANIFEST}: {error}",
            remedy="make it with `python -m tools.gpu_check prepare`",
        ) from None
