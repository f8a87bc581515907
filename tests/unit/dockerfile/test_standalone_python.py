"""A Python that no base has: a standalone build, which uv puts in and knows the hash of."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
import uv

from builder.dockerfile.render import Renderer
from builder.errors import MatrixError
from builder.matrix.mirrors import PACKAGE_SOURCES, read, script
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from tests.unit.corpus import SMALL

TOOLS = (
    "  build: [setuptools, wheel]\n",
    "  build: [setuptools, wheel]\n  pythons: {3.10: 3.10.22}\n",
)
PYTHON = (
    "tensorflow: [2.4.1]}\n    inference",
    "tensorflow: [{version: 2.4.1, python: 3.10}]}\n    inference",
)
LEAN = "3.10, toolchain: none}"
COMPILERS = ("    system: [git, git-lfs]\n", '    compilers: [gcc, "python{python}-dev"]\n')


def targets(tmp_path: Path, *changes: tuple[str, str]) -> dict[str, Target]:
    text = SMALL
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = tmp_path / "matrix.yaml"
    path.write_text(text, "utf-8")
    return {target.name: target for target in load_targets(path, name="m")}


@pytest.fixture
def standalone(tmp_path: Path) -> Target:
    found = targets(tmp_path, TOOLS, PYTHON, COMPILERS)
    return found[
        "huggingface-tensorflow-training:2.4.1-transformers4.6.1-gpu-py310-cu110-ubuntu18.04"
    ]


def test_where_the_base_has_none(standalone: Target) -> None:
    assert standalone.standalone_python == "3.10.22"
    # It brings its headers itself.
    assert standalone.toolchain_packages == ("g++",)
    assert standalone.compilers == ()


def test_where_the_base_has_none_and_no_compiler_stays(tmp_path: Path) -> None:
    found = targets(tmp_path, TOOLS, (PYTHON[0], PYTHON[1].replace("3.10}", LEAN)), COMPILERS)
    [target] = [each for each in found.values() if each.standalone_python]
    assert target.toolchain_packages == ()
    assert target.compilers == ("gcc",)


def test_where_the_base_has_it(tmp_path: Path) -> None:
    found = targets(tmp_path, TOOLS, COMPILERS).values()
    assert {target.standalone_python for target in found} == {""}
    training = [target for target in found if target.mode == "training"]
    assert {target.compilers for target in training} == {()}
    assert {target.toolchain_packages for target in training} == {
        ("g++", "libpython3.6-dev"),
        ("g++", "libpython3.7-dev"),
        ("g++", "libpython3.8-dev"),
    }


def test_where_neither_has_it(tmp_path: Path) -> None:
    with pytest.raises(MatrixError) as caught:
        targets(tmp_path, TOOLS, (PYTHON[0], PYTHON[1].replace("3.10", "3.12")))
    assert str(caught.value).endswith(
        "ubuntu18.04 has no Python 3.12; it has 3.6, 3.7, and `tools` has 3.10"
    )


def test_dockerfile(standalone: Target) -> None:
    dockerfile = Renderer().files(standalone)["Dockerfile"].decode()
    [step] = [each for each in dockerfile.split("\nRUN ") if "python install" in each]
    assert (
        step.partition("use_site")[0]
        .split("; \\\n    ")[-1]
        .startswith(
            "UV_SYSTEM_CERTS=1 /mnt/bin/uv python install --no-bin --no-cache --no-progress \\\n"
            '        --install-dir /opt/python ${PYTHON_BUILDS:+--mirror "$PYTHON_BUILDS"} \\\n'
            "        3.10.22 \\\n"
            " && /mnt/bin/uv venv --no-cache \\\n"
            "        --python /opt/python/cpython-3.10.22-linux-x86_64-gnu/bin/python3.10 \\\n"
            "        /opt/venv\n"
        )
    )
    assert "python3.10-" not in dockerfile.replace("bin/python3.10", "")


def test_a_mirror_of_the_builds(tmp_path: Path) -> None:
    path = tmp_path / "mirrors.yaml"
    path.write_text("sources:\n  PYTHON_BUILDS: https://mirror.example/python\n", "utf-8")
    said = script(read(path, bases=[], sources=PACKAGE_SOURCES))
    assert "export PYTHON_BUILDS=https://mirror.example/python\n" in said


@pytest.mark.integration
def test_uv_checks_what_it_gets(tmp_path: Path, targets_of_the_matrix: set[str]) -> None:
    """Of every build that the matrix names uv has the hash, and takes no other file."""
    assert targets_of_the_matrix
    for version in sorted(targets_of_the_matrix):
        run = subprocess.run(
            [
                *(uv.find_uv_bin(), "python", "list", "--all-versions", "--only-downloads"),
                *("--no-config", "--show-urls", version),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        words = (line.split() for line in run.stdout.splitlines() if "freethreaded" not in line)
        [url] = [each[-1] for each in words if "x86_64-unknown-linux-gnu" in each[-1]]
        release, name = url.rsplit("/", 2)[1:]
        mirror = tmp_path / "mirror"
        archive = mirror / release / name.replace("%2B", "+")
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive, "w:gz") as tar:
            information = tarfile.TarInfo(f"python/bin/python{version.rpartition('.')[0]}")
            information.mode = 0o755
            tar.addfile(information, io.BytesIO())
        run = subprocess.run(
            [
                *(uv.find_uv_bin(), "python", "install", "--no-bin", "--no-cache", "--no-config"),
                *("--install-dir", str(tmp_path / "python"), "--mirror", mirror.as_uri(), version),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 1
        assert "Hash mismatch" in run.stderr, run.stderr


@pytest.fixture
def targets_of_the_matrix(root: Path) -> set[str]:
    """The standalone builds that targets of the real matrix use."""
    found = {target.standalone_python for target in load_targets(root / "matrix.yaml")}
    return found - {""}
