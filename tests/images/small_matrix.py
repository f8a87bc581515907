"""A matrix whose packages the tests make, so that its images are built in seconds.

Every session makes other packages, so no lock, build key or layer is that of another session.
"""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from tests.package_index import IndexFile, PackageIndex, wheel

__all__ = ["FRAMEWORK", "LIBRARY", "SMALL_NAMES", "SmallMatrix", "files", "write_small_matrix"]

ROOT = Path(__file__).parents[2]
FRAMEWORK, LIBRARY = "tiny-framework", "tiny-library"
# Two releases on one framework, with a package in each layer that takes no time.
_MATRIX = """\
tools: {base: debian12, uv: UV, build: [setuptools, wheel]}
bases:
  debian12:
    image: IMAGE
    bootstrap: bookworm
    end_of_life: 2028-06-30
    jdk: openjdk-17-jdk-headless
    pythons: {3.11: [python3.11]}
frameworks:
  pytorch:
    9.9.9:
      locked: 2025-01-02
      python: 3.11
      base: debian12
      toolchain: none # or each image of a new framework waits for g++
      builds: {cpu: {requires: [tiny-framework]}}
libraries:
  small: {requires: ["tiny-library=={datasets}"]}
releases:
  - transformers: 5.0.0
    datasets: 24.1.0
    date: 2025-01-02
    training: {libraries: small, pytorch: [{version: 9.9.9, devices: [cpu], origin: own}]}
  - transformers: 5.1.0
    datasets: 24.2.0
    date: 2025-03-04
    training: {libraries: small, pytorch: [{version: 9.9.9, devices: [cpu], origin: own}]}
"""
SMALL_NAMES = [
    f"huggingface-pytorch-training:9.9.9-transformers{release}-cpu-py311-debian12"
    for release in ("5.0.0", "5.1.0")
]


def files() -> Iterator[IndexFile]:
    """What the index offers: the packages of the matrix, and the uv that is installed here."""
    of_this_session = uuid.uuid4().hex.encode()
    yield wheel(FRAMEWORK, "1.0", files={"tiny_framework.py": of_this_session})
    for release in ("24.1.0", "24.2.0"):
        yield wheel(LIBRARY, release, files={"tiny_library.py": of_this_session})
    for name in ("setuptools", "wheel"):
        yield wheel(name, "1.0")
    program = shutil.which("uv", path=_uv_folder())
    assert program
    name = f"uv-{version('uv')}.data/scripts/uv"
    yield wheel("uv", version("uv"), files={name: Path(program).read_bytes()})


def _uv_folder() -> str:
    import uv

    return str(Path(uv.find_uv_bin()).parent)


def write_small_matrix(folder: Path, index: str = "") -> Path:
    """Write the matrix, on the real matrix's Debian 12, and the mirrors that name its index."""
    lines = (ROOT / "matrix.yaml").read_text("utf-8").splitlines()
    [image] = [line.split("image: ")[1] for line in lines if "image: debian:bookworm@" in line]
    path = folder / "matrix.yaml"
    text = _MATRIX.replace("UV", version("uv")).replace("IMAGE", image)
    path.write_text(text, "utf-8")
    if index:
        (folder / "mirrors.yaml").write_text(f"index: {index}\n", "utf-8")
    return path


@dataclass(frozen=True, kw_only=True, slots=True)
class SmallMatrix:
    """The matrix in a folder, with the index of its packages."""

    folder: Path
    index: PackageIndex

    @property
    def path(self) -> Path:
        """The matrix itself."""
        return self.folder / "matrix.yaml"

    @property
    def targets(self) -> tuple[Target, ...]:
        """Its targets."""
        return load_targets(self.path)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command with it."""
        from tests.images.conftest import dlc

        return dlc(
            "--matrix", str(self.path), *arguments, **{**self.index.environment, **environment}
        )
