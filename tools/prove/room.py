"""Room on the disk of an engine of our own; another's cache is not ours to empty."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from builder.engine.connection import Engine

__all__ = ["Room"]

# When the engine's data are larger, layers are dropped from the build cache, or packages too: no
# row takes more than the rest up to 60 GB.
LAYERS_BYTES = 35 * 10**9
PACKAGES_BYTES = 45 * 10**9


class Room:
    """What the data of an engine take, and how they come to take less."""

    def __init__(self, engine: Engine, say: Callable[[str], None]) -> None:
        self._engine, self._say = engine, say
        self._full: int | None = None

    def make(self) -> None:
        """Drop what is needed least, if the engine's data are large."""
        if not self._engine.private:
            return
        used = self._used()
        self._say(f"the engine's data take {used / 1e9:.0f} GB")
        if used > LAYERS_BYTES:
            self.drop(layers_only=True)
        if self._used() > PACKAGES_BYTES:
            self.drop(layers_only=False)

    def drop(self, *, layers_only: bool) -> None:
        """Empty the build cache; with `layers_only` it keeps packages that were downloaded."""
        if self._engine.private:
            with closing(self._engine.client(timeout=600)) as client:
                # The SDK's types know but two of the filters.
                filters: Any = {"type": "regular"} if layers_only else {}
                client.api.prune_builds(all=True, filters=filters)

    def _used(self) -> int:
        """Bytes of the engine's data: measured once, then by what the disk has lost since."""
        with closing(self._engine.client()) as client:
            root = Path(client.info()["DockerRootDir"])
        free = shutil.disk_usage(root).free
        if self._full is None:
            command = ["du", "--summarize", "--one-file-system", "--bytes", str(root)]
            # What vanishes meanwhile makes du fail; its sum is good all the same.
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            self._full = int(result.stdout.split()[0]) + free
        return self._full - free
