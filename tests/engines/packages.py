"""Engines as packages of Debian releases, unpacked into folders."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from builder.engine import apt

__all__ = ["RELEASES", "buildx_of", "runc_of", "unpacked"]

# Debian 12 has the command line in docker.io, and no buildx.
RELEASES = {
    "bookworm": ("docker.io", "containerd", "runc"),
    "trixie": ("docker.io", "docker-cli", "docker-buildx", "containerd", "runc"),
    "sid": ("docker.io", "docker-cli", "docker-buildx", "containerd", "runc"),
}
_BUILDX = "usr/libexec/docker/cli-plugins/docker-buildx"
_RUNC = "usr/sbin/runc"


def unpacked(release: str, folder: Path) -> Path:
    """The packages of a release, below a folder where each is unpacked once."""
    root = folder / release
    if not root.is_dir():
        root.mkdir()
        try:
            apt.unpack(*RELEASES[release], release=release, into=root)
        except apt.InstallError as error:
            root.rmdir()
            pytest.skip(f"no engine of Debian {release} can be had: {error}")
    return root


def buildx_of(release: str, folder: Path) -> Path:
    """The buildx of a release, or of the next one if it has none."""
    own = unpacked(release, folder) / _BUILDX
    return own if own.exists() else unpacked("trixie", folder) / _BUILDX


def runc_of(release: str, folder: Path) -> Path:
    """The runc of a release, or Debian 12's if this machine's C library is too old for it.

    It is the one program of an engine that is sensitive to that.
    """
    own = unpacked(release, folder) / _RUNC
    works = subprocess.run([str(own), "--version"], capture_output=True, check=False)
    return own if works.returncode == 0 else unpacked("bookworm", folder) / _RUNC
