"""A wheel of the project: it carries templates and matrix, and works from any folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.wheel import run, unpacked_wheel

INFERENCE = "huggingface-pytorch-inference:2.13.0-transformers5.23.0-cpu-py311-debian12"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.mark.integration
def test_wheel_is_what_runs(unpacked: Path, tmp_path: Path) -> None:
    where = subprocess.run(
        [sys.executable, "-c", "import builder; print(builder.__file__)"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(unpacked))


@pytest.mark.integration
def test_wheel_lists_and_renders_anywhere(unpacked: Path, tmp_path: Path) -> None:
    listed = run(unpacked, tmp_path, "list", "--format", "json")
    assert listed.returncode == 0, listed.stderr
    assert len(json.loads(listed.stdout)) >= 47
    rendered = run(unpacked, tmp_path, "render", INFERENCE)
    assert rendered.returncode == 0, rendered.stderr
    folder = INFERENCE.replace(":", "/")
    for name in ("Dockerfile", "install.sh", "dockerd-entrypoint.py"):
        ours = (tmp_path / "images" / folder / name).read_bytes()
        assert ours == (ROOT / "images" / folder / name).read_bytes()


@pytest.mark.slow
def test_team_keeps_its_own_matrix(unpacked: Path, tmp_path: Path) -> None:
    text = (ROOT / "tests/golden/matrix.yaml").read_text("utf-8")
    (tmp_path / "our.yaml").write_text(text, "utf-8")
    rendered = run(unpacked, tmp_path, "--matrix", "our.yaml", "--images", "out", "render")
    assert rendered.returncode == 0, rendered.stderr
    assert list((tmp_path / "out").glob("*/*/Dockerfile"))


@pytest.mark.integration
def test_a_team_starts_with_our_locks(unpacked: Path, tmp_path: Path) -> None:
    """To the byte: whoever has built our image has all layers of the team's."""
    for arguments in (["init"], ["render"], ["lock", "--check"]):
        ran = run(unpacked, tmp_path, *arguments)
        assert ran.returncode == 0, ran.stderr
    folder = Path("images", *INFERENCE.split(":"))
    ours = {path.name: path.read_bytes() for path in (ROOT / folder).iterdir() if path.is_file()}
    assert {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()} == ours
