"""The compiler that stays in an image: who has it, and how a matrix leaves it out."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.dockerfile.render import Renderer
from builder.errors import MatrixError
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from tests.conftest import ROOT
from tests.unit.corpus import SMALL

STEP = "apt-get install --yes --no-install-recommends \\\n        g++ \\\n"
REAL = load_targets(ROOT / "matrix.yaml", name="matrix.yaml")
# Of the small matrix: PyTorch 1.7.1 for inference, and for training on TensorFlow 2.4.1.
FRAMEWORK = ("    2.4.1:\n", "    2.4.1:\n      toolchain: {}\n")
ROW = (
    "tensorflow: [2.4.1]}\n    inference",
    "tensorflow: [{{version: 2.4.1, toolchain: {}}}]}}\n    inference",
)


def changed(folder: Path, change: tuple[str, str], value: str) -> tuple[Target, ...]:
    old, new = change
    assert SMALL.count(old) == 1, old
    path = folder / "matrix.yaml"
    path.write_text(SMALL.replace(old, new.format(value)), "utf-8")
    return load_targets(path, name="m")


@pytest.mark.parametrize("mode", ["training", "inference"])
def test_training_and_pytorch_2_have_it(mode: str) -> None:
    renderer, seen = Renderer(), set()
    for target in REAL:
        if target.mode != mode:
            continue
        compiles = target.framework == "pytorch" and int(target.framework_version[0]) >= 2
        compiles = compiles and target.variant != "slim"
        promised = mode == "training" or compiles
        seen.add(promised)
        text = renderer.files(target)["Dockerfile"].decode()
        final = text.rpartition("\nFROM ")[2]
        assert ("# The compiler stays: " in final) == promised, target.name
        assert STEP in final or not promised, target.name
        assert ('dlc.toolchain="g++"' in final) == promised, target.name
        assert ("torch.compile" in final) == compiles, target.name
        # With headers of the distribution's Python, and without where another one has its own.
        headers = f"        libpython{target.python}-dev \\\n"
        assert (headers in final) == (promised and not target.standalone_python), target.name
        # What compiles the libraries is what stays, or goes with that step.
        assert ("apt-get purge" in text) == bool(target.compilers), target.name
        assert not (promised and target.compilers), target.name
    assert seen == ({True} if mode == "training" else {True, False})


@pytest.mark.parametrize("change", [FRAMEWORK, ROW], ids=["framework version", "row"])
def test_a_matrix_leaves_it_out(change: tuple[str, str], tmp_path: Path) -> None:
    """Of that framework's training images, and of no others."""
    targets = [each for each in changed(tmp_path, change, "none") if each.mode == "training"]
    lean = [target for target in targets if not target.toolchain_packages]
    assert lean
    assert {target.framework_version for target in lean} == {"2.4.1"}
    assert len(lean) < len(targets)
    for target in lean:
        text = Renderer().files(target)["Dockerfile"].decode()
        assert STEP not in text
        assert "dlc.toolchain" not in text


def test_a_matrix_asks_for_it(tmp_path: Path) -> None:
    """For inference on a framework that compiles nothing by itself."""
    found = changed(tmp_path, FRAMEWORK, "g++")
    inference = [
        each for each in found if each.mode == "inference" and each.framework_version == "2.4.1"
    ]
    assert inference
    assert {target.toolchain_packages[0] for target in inference} == {"g++"}
    text = Renderer().files(inference[0])["Dockerfile"].decode()
    assert "# The compiler stays: it is for packages that are only there as source.\n" in text


def test_another_compiler_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MatrixError, match=r"m:\d+:\d+: 'clang' is not a toolchain.*g\+\+.*none"):
        changed(tmp_path, FRAMEWORK, "clang")
