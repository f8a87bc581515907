"""What a build is determined by: its context, its bases and the key made of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder import locks, wheelhouse
from builder.errors import LockError
from builder.render import LOCK_NAMES, Renderer
from builder.target import Target

__all__ = ["Context", "build_key", "prepare"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """A folder that `docker build` can be pointed at, and the digests of its files."""

    target: Target
    folder: Path
    files: Mapping[str, str]


def prepare(target: Target, images: Path, renderer: Renderer, contexts: Path) -> Context:
    """Lay out a target's build context below `contexts`: rendered files, locks and wheelhouse.

    The folder is kept between builds, so that BuildKit sends only what changed, and named by what
    is in it, so that no two builds write into one. LockError if a lock is missing or was resolved
    from something else than the matrix says now.
    """
    committed = images / target.folder
    found = locks.state(committed, target)
    if found.stale:
        raise LockError(
            f"the locks of {target.name} are not fresh: {found.text}",
            remedy=f"run `dlc lock {target.name}`",
        )
    if found.unhashed:
        named = "; ".join(f"{name} ({why})" for name, why in found.unhashed.items())
        raise LockError(
            f"{target.name} cannot be built from hashes alone: {named}",
            remedy=f"run `dlc lock {target.name}` where that source can be reached",
        )
    files = renderer.files(target)
    files |= {name: (committed / name).read_bytes() for name in LOCK_NAMES}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    folder = contexts / target.folder / _digest(digests)[:16]
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
        path.chmod(0o755 if path.suffix == ".sh" else 0o644)
    wheelhouse.stage(target.build.wheels, wheelhouse.directories(), folder)
    return Context(target=target, folder=folder, files=digests)


def build_key(context: Context, bases: Mapping[str, str]) -> str:
    """The SHA-256 of everything that determines an image: its files and its bases' ids.

    A wheelhouse is no part of it: the locks name its wheels by hash.
    """
    return _digest({**context.files, **bases})


def _digest(parts: Mapping[str, str]) -> str:
    lines = [f"{name} {digest}" for name, digest in sorted(parts.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
