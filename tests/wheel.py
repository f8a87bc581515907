"""The project's wheel, unpacked: what runs where nothing of this checkout is."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import ROOT

__all__ = ["run", "unpacked_wheel"]


def unpacked_wheel(folder: Path) -> Path:
    """Build the wheel into a folder; where its packages are."""
    # Not through pip, which would ask the package index for hatchling.
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run(
        [*command, "--directory", str(folder)], cwd=ROOT, check=True, capture_output=True
    )
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def run(
    unpacked: Path, folder: Path, *arguments: str, environment: Mapping[str, str] = {}
) -> subprocess.CompletedProcess[str]:
    """Run `dlc` as the unpacked wheel has it."""
    return subprocess.run(
        [sys.executable, "-m", "builder", *arguments],
        cwd=folder,
        env={**os.environ, **environment, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=False,
    )
