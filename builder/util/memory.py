"""Files in memory, for programs that take a secret by a file's name: they end with this process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["MemoryFiles", "memory_files"]

_MEMORY = "/dev/shm"  # noqa: S108 - the file has no name there


class MemoryFiles:
    """Their names are right here, and in a program that is started with `pass_fds=descriptors`."""

    def __init__(self) -> None:
        self.descriptors: list[int] = []

    def add(self, name: str, text: str) -> Path:
        """A file with a text; `name` is what the kernel shows."""
        descriptor = _anonymous(name)
        self.descriptors.append(descriptor)
        with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
            file.write(text)
        return Path(f"/proc/self/fd/{descriptor}")


def _anonymous(name: str) -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    # A Python built for an old C library: a file without a name, in memory where that can be had.
    with tempfile.TemporaryFile(dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None) as file:
        return os.dup(file.fileno())


@contextmanager
def memory_files() -> Iterator[MemoryFiles]:
    """An empty set of them, gone at the end."""
    files = MemoryFiles()
    try:
        yield files
    finally:
        for descriptor in files.descriptors:
            os.close(descriptor)
