"""Tars unpacked with tarfile's filter for data, which Debian 12's own Python (3.11.2) lacks."""

from __future__ import annotations

import importlib
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

__all__ = ["unpack"]


def unpack(
    archive: IO[bytes], folder: Path, wanted: Callable[[tarfile.TarInfo], bool] | None = None
) -> None:
    """Unpack a tar of any compression, or the members of it that are wanted, below a folder.

    Nothing lands elsewhere, is owned by others or is a device: tarfile's errors if it should.
    """
    filtering: Any = tarfile
    if not hasattr(tarfile, "data_filter"):
        filtering = importlib.import_module("backports.tarfile")
    with filtering.open(fileobj=archive) as tar:
        members = None if wanted is None else filter(wanted, tar)
        tar.extractall(folder, members=members, filter="data")
