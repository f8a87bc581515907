"""Runs uv in an environment of its own, with a folder for what only this run needs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.locks.uv.environment import INDEXES, uv_environment
from builder.matrix.mirrors import Mirrors
from builder.util.memory import MemoryFiles, memory_files
from builder.util.scratch import scratch

__all__ = ["Uv", "uv_process"]


class Uv:
    """uv, reading no configuration but its own folder's, and running no code of packages."""

    def __init__(self, mirrors: Mirrors, folder: Path, files: MemoryFiles) -> None:
        self.mirrors, self.folder, self._files = mirrors, folder, files
        self.environment = uv_environment(mirrors, folder, files)

    @property
    def indexes(self) -> tuple[str, ...]:
        """Where it looks for packages."""
        return tuple(self.environment.get(name, "") for name in INDEXES)

    def file(self, name: str, lines: Iterable[str]) -> str:
        """Write lines into a file of the folder; its path."""
        path = self.folder / name
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return str(path)

    def run(
        self, command: str, *options: str, configuration: Iterable[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run `uv pip COMMAND`, whatever it returns; `configuration` is TOML as of uv.toml."""
        import uv  # finds uv's binary, which only locking needs

        return subprocess.run(
            [
                uv.find_uv_bin(),
                *("pip", command, "--no-progress", "--color", "never", "--no-config"),
                *("--config-file", self.file("uv.toml", configuration)),
                # Else uv looks for the target's own Python, and downloads it. Its environment is
                # what builds run in, so that nothing is installed for builds that never run.
                *("--python", sys.executable, "--no-build-isolation"),
                *options,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=self.environment,
            pass_fds=self._files.descriptors,
        )


@contextmanager
def uv_process(mirrors: Mirrors) -> Iterator[Uv]:
    """uv with a folder that is removed in the end."""
    with memory_files() as files, scratch("lock") as folder:
        yield Uv(mirrors, folder, files)
