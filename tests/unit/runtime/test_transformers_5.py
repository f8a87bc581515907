"""The toolkit, mended for Transformers 5: what runtime/transformers_5.py does to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from builder.dockerfile.render import Renderer
from builder.matrix.target import Target
from tests.conftest import ROOT

PROGRAM = ROOT / "runtime" / "transformers_5.py"
FILE = "sagemaker_huggingface_inference_toolkit/transformers_utils.py"
# As toolkit 2.6.0 has it.
TOOLKIT = """\
from transformers.file_utils import is_tf_available, is_torch_available

FRAMEWORKS = is_tf_available(), is_torch_available()
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A toolkit, and of Transformers 5 what it asks."""
    for name, text in (
        (FILE, TOOLKIT),
        ("sagemaker_huggingface_inference_toolkit/__init__.py", ""),
        ("transformers/__init__.py", ""),
        ("transformers/file_utils.py", ""),
        ("transformers/utils/__init__.py", "def is_torch_available():\n    return True\n"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def mend(packages: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), str(packages)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def asked(packages: Path) -> subprocess.CompletedProcess[str]:
    program = (
        "from sagemaker_huggingface_inference_toolkit import transformers_utils as it; "
        "print(*it.FRAMEWORKS)"
    )
    return subprocess.run(
        [sys.executable, "-c", program], cwd=packages, capture_output=True, text=True, check=False
    )


@pytest.mark.integration
def test_it_imports_then(packages: Path) -> None:
    assert "cannot import name 'is_tf_available'" in asked(packages).stderr
    os.utime(packages / FILE, (1577836800, 1577836800))
    assert mend(packages).returncode == 0
    assert (packages / FILE).stat().st_mtime == 1577836800, "every build has the same bytecode"
    assert asked(packages).stdout == "False True\n"


@pytest.mark.integration
def test_it_is_compiled(packages: Path) -> None:
    assert mend(packages).returncode == 0
    assert len(list((packages / FILE).parent.glob("__pycache__/transformers_utils.*.pyc"))) == 1


@pytest.mark.integration
def test_another_toolkit_ends_the_build(packages: Path) -> None:
    assert mend(packages).returncode == 0
    again = mend(packages)
    assert again.returncode == 1
    assert again.stderr == (f"{packages / FILE}: not the code that transformers_5.py mends\n")


def test_only_where_it_is_needed(targets: tuple[Target, ...]) -> None:
    renderer = Renderer()
    found = {target.name for target in targets if PROGRAM.name in renderer.files(target)}
    assert found == {
        target.name
        for target in targets
        if target.mode == "inference" and target.transformers.startswith("5.")
    }
    assert len(found) >= 2
    for target in targets:
        dockerfile = renderer.files(target)["Dockerfile"].decode()
        assert (f"python /mnt/{PROGRAM.name}\n" in dockerfile) == (target.name in found)
