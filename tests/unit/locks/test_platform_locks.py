"""Locks for arm64: the wheels for it, and an error where only the default platform has some."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from builder.matrix.targets import load_targets
from tests.conftest import Dlc
from tests.package_index import IndexFile, PackageIndex, sdist, wheel
from tests.unit.locks.test_resolve import only

pytestmark = pytest.mark.integration

MATRIX = """\
tools: {base: debian12, uv: 0.13.8, build: [setuptools]}
bases:
  debian12:
    image: debian:bookworm@sha256:88a7d30d49e1d13f0aac17b0e5fb9e291717e3a7c4a512fe56636db576383b8a
    end_of_life: 2028-06-30
    jdk: openjdk-17-jdk-headless
    pythons: {3.11: [python3.11]}
frameworks:
  tensorflow:
    2.21.0:
      locked: 2025-06-01
      python: 3.11
      base: debian12
      builds: {cpu: {requires: [tensorflow==2.21.0]}}
libraries: {serving: {requires: ["transformers=={transformers}"]}}
releases:
  - transformers: 4.57.1
    datasets: 4.3.0
    date: 2025-06-01
    inference:
      libraries: serving
      tensorflow:
        - version: 2.21.0
          devices: [cpu]
          origin: own
          platforms: [linux/amd64, linux/arm64]
"""
X86, ARM = "cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux_2_28_aarch64"
COMMON = (wheel("setuptools", "80.0"), wheel("uv", "0.13.8"))
FRAMEWORK = (wheel("tensorflow", "2.21.0", tag=X86), wheel("tensorflow", "2.21.0", tag=ARM))
SOURCE = sdist(
    "probe",
    "1.0",
    files={
        "setup.py": b"from setuptools import setup\nsetup(name='probe', version='1.0')\n",
        "probe.egg-info/PKG-INFO": b"Metadata-Version: 1.0\nName: probe\nVersion: 1.0\n",
        "probe.egg-info/SOURCES.txt": b"setup.py\n",
    },
)


def libraries(*requires: str) -> IndexFile:
    return wheel("transformers", "4.57.1", requires=requires)


def lock(
    folder: Path, dlc: Dlc, monkeypatch: pytest.MonkeyPatch, files: Sequence[IndexFile]
) -> tuple[str, str, Path]:
    """What `dlc lock` of the arm64 target prints, its errors, and the target's folder."""
    path = folder / "matrix.yaml"
    path.write_text(MATRIX, "utf-8")
    _, arm64 = load_targets(path)
    with PackageIndex(*COMMON, *files) as index:
        only(monkeypatch, UV_CACHE_DIR=folder / "cache", **index.environment)
        run = dlc("--matrix", path, "lock", arm64.name)
    return run.out, run.err, folder / "images" / arm64.folder


def test_a_lock_has_the_wheels_of_its_platform(
    tmp_path: Path, dlc: Dlc, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = wheel("probe", "2.0", tag=X86)  # without one for arm64, the one before it will do
    probes = (newer, wheel("probe", "1.0", tag=ARM), wheel("probe", "1.0", tag=X86))
    needs = ("probe", 'only-here; platform_machine == "aarch64"')
    files = (*FRAMEWORK, *probes, libraries(*needs), wheel("only-here", "1.0"))
    _, error, folder = lock(tmp_path, dlc, monkeypatch, files)
    assert "requirements locked" in error
    locked = (folder / "libraries.lock").read_text("utf-8")
    assert "probe==1.0 " in locked
    assert "only-here==1.0 " in locked


def test_a_framework_without_a_wheel(
    tmp_path: Path, dlc: Dlc, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, error, folder = lock(tmp_path, dlc, monkeypatch, (FRAMEWORK[0], libraries()))
    assert "-arm64 cannot be locked" in error
    assert "tensorflow==2.21.0 has no wheels with a matching platform tag" in " ".join(
        error.split()
    )
    assert not folder.exists()


def test_what_would_be_compiled_for_this_platform_alone(
    tmp_path: Path, dlc: Dlc, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = (*FRAMEWORK, libraries("probe"), SOURCE, wheel("probe", "1.0", tag=X86))
    _, error, folder = lock(tmp_path, dlc, monkeypatch, files)
    assert "there is no wheel of probe==1.0 for linux/arm64 (aarch64-manylinux_2_28)" in error
    assert "leave linux/arm64 out of the row" in error
    assert not folder.exists()


def test_what_is_only_there_as_source(
    tmp_path: Path, dlc: Dlc, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, error, folder = lock(tmp_path, dlc, monkeypatch, (*FRAMEWORK, libraries("probe"), SOURCE))
    assert "requirements locked" in error
    assert "probe==1.0 " in (folder / "libraries.lock").read_text("utf-8")
