"""Writes a file whole or not at all: the one way in which files that others read are replaced."""

from __future__ import annotations

import secrets
from pathlib import Path

__all__ = ["write"]


def write(path: Path, content: bytes | str, *, mode: int | None = None) -> None:
    """Replace a file's content, or make the file; OSError, and the old one stays, if that fails.

    A link stays one: what it leads to is replaced. `mode` is the file's mode in the end; without
    it a file keeps its own, and a new one gets the usual.
    """
    path = path.resolve()
    # A name of its own, since others may write the same file at the same time.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        with temporary.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        if mode is None and path.exists():
            mode = path.stat().st_mode & 0o7777
        if mode is not None:
            temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
