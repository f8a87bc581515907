"""Debian packages, unpacked without being installed: with apt's own configuration."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from builder.engine import apt
from builder.errors import ArgumentError

__all__ = ["command", "dependencies", "parse_depends", "unpack_packages"]

_ONLY_DEPENDS = [
    f"--no-{kind}"
    for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
]


def command(*words: str | Path, folder: Path | None = None) -> str:
    """What a command prints; ArgumentError, with its last lines, if it fails."""
    try:
        done = subprocess.run(
            [str(word) for word in words], cwd=folder, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise ArgumentError(f"{words[0]} not found", remedy="prepare on Debian or Ubuntu") from None
    if done.returncode != 0:
        last = "\n".join((done.stderr or done.stdout).splitlines()[-10:])
        raise ArgumentError(
            f"{words[0]} ended with {done.returncode}: {last}", remedy="see its output"
        )
    return done.stdout


def dependencies(*packages: str) -> list[str]:
    """The packages and everything that they depend on."""
    return parse_depends(command("apt-cache", "depends", "--recurse", *_ONLY_DEPENDS, *packages))


def parse_depends(output: str) -> list[str]:
    """Names of packages of this architecture in what `apt-cache depends --recurse` prints.

    They start a line; virtual ones are in angle brackets, foreign ones have a colon.
    """
    lines = (line for line in output.splitlines() if line and not line.startswith((" ", "<")))
    return sorted({line for line in lines if ":" not in line})


def unpack_packages(packages: Iterable[str], into: Path) -> None:
    """Download packages and unpack them into a folder, as in a root directory; or ArgumentError."""
    try:
        apt.unpack(*packages, into=into)
    except apt.InstallError as error:
        raise ArgumentError(str(error), remedy="prepare on Debian or Ubuntu") from None
