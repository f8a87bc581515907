"""A row on stand-ins, from its committed locks to its answer, and that it goes no further."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.images.conftest import ROOT, dlc
from tools.prove.bases import default_interpreters, interpreters

pytestmark = [pytest.mark.images, pytest.mark.slow]

ROW = "huggingface-tensorflow-inference:2.4.1-transformers4.6.1-cpu-py37-ubuntu18.04"


def prove(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the prover as `make prove` does."""
    return subprocess.run(
        [sys.executable, "-m", "tools.prove", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the result of proving one row."""
    folder = default_interpreters()
    if folder is None or "3.7" not in interpreters(folder):
        pytest.skip("no CPython 3.7 for a stand-in base: DLC_INTERPRETERS names no folder with one")
    docs = tmp_path_factory.mktemp("docs")
    result = prove(ROW, "--docs", str(docs))
    assert result.returncode == 0, result.stderr
    [row] = json.loads((docs / "proof.json").read_text("utf-8"))["rows"]
    if not row["stand_in"]:
        pytest.skip("the real base can be had here, so nothing stands in for it")
    return docs


def test_the_row_is_proven(proof: Path) -> None:
    [row] = json.loads((proof / "proof.json").read_text("utf-8"))["rows"]
    assert row["image"] == ROW
    assert row["base"] == "debian12 for ubuntu18.04"
    assert row["stand_in"] == "ubuntu18.04"
    assert [check["name"] for check in row["checks"]] == [
        *("python", "versions", "locked packages", "pip check", "labels", "answer")
    ]
    assert all(check["passed"] for check in row["checks"])
    assert row["size"] == sum(layer["size"] for layer in row["layers"])
    assert " targets are proven" in (proof / "proof.md").read_text("utf-8")


def test_what_is_proven_is_not_proven_again(proof: Path) -> None:
    before = (proof / "proof.json").read_bytes()
    result = prove(ROW, "--docs", str(proof), "--resume")
    assert result.returncode == 0, result.stderr
    assert f"{ROW}: proven on " in result.stderr
    assert "building" not in result.stderr
    assert (proof / "proof.json").read_bytes() == before


def test_recorded_layers_can_be_shown(proof: Path) -> None:
    result = dlc("layers", ROW, "--recorded", str(proof / "proof.json"), "--format", "json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["total"] > 10**9
