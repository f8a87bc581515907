"""Files in memory, for programs that take a secret by a file's name: they end with this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["MemoryFiles", "memory_files"]


class MemoryFiles:
    """Their names are right here, and in a program that is started with `pass_fds=descriptors`."""

    def __init__(self) -> None:
        self.descriptors: list[int] = []

    def add(self, name: str, text: str) -> Path:
        """A file with a text; `name` is what the kernel shows."""
        descriptor = os.memfd_create(name)
        self.descriptors.append(descriptor)
        with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
            file.write(text)
        return Path(f"/proc/self/fd/{descriptor}")


@contextmanager
def memory_files() -> Iterator[MemoryFiles]:
    """An empty set of them, gone at the end."""
    files = MemoryFiles()
    try:
        yield files
    finally:
        for descriptor in files.descriptors:
            os.close(descriptor)
