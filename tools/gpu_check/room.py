"""A room for one run: the prepared folder unpacked, the models, the environment of the stack."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.errors import ArgumentError, DlcError
from tools.gpu_check.archive import read_manifest, unpack

__all__ = ["ROOT", "Room", "environment", "make_python", "room"]

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "runtime"

_MODEL_SECONDS = 180
# What the caller's shell may have of these would be read by the stack.
_OF_THE_STACK = ("DLC_", "HF_", "MMS_", "PYTHONPATH", "SAGEMAKER_", "TRANSFORMERS_")


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """The folder of a run, with the serving stack in it."""

    folder: Path
    python: Path
    target: str
    compiler: str
    environment: Mapping[str, str]


@contextmanager
def room(prepared: Path) -> Iterator[Room]:
    """Unpack a prepared folder for as long as this lasts."""
    manifest = read_manifest(prepared)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if manifest.python != version:
        raise ArgumentError(
            f"{prepared} is for Python {manifest.python}, and this is {version}",
            remedy=f"prepare it with --python {version}",
        )
    # A short path: that of a Unix socket is at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as name:
        folder = Path(name)
        unpack(prepared, manifest, folder)
        for each in ("tmp", "home"):
            (folder / each).mkdir()
        python = make_python(folder)
        compiler, include = _compiler(folder)
        values = environment(os.environ, folder, compiler=compiler, include=include)
        _adapt(python, folder, values)
        yield Room(
            folder=folder,
            python=python,
            target=manifest.target,
            compiler=str(compiler) if compiler else "the machine's",
            environment=values,
        )


def make_python(folder: Path) -> Path:
    """A Python that has the serving packages before the machine's own, as that of an image has.

    Not by PYTHONPATH: the model server keeps that from its workers.
    """
    venv.EnvBuilder(symlinks=True).create(folder / "python")
    [packages] = (folder / "python").glob("lib/python*/site-packages")
    paths = [str(folder / "serving"), *sys.path[1:]]  # the first is where this program is
    (packages / "stack.pth").write_text("\n".join([*paths, ""]), "utf-8")
    return folder / "python" / "bin" / "python"


def _compiler(folder: Path) -> tuple[Path | None, Path | None]:
    """The carried compiler and Python headers, each only where the machine has none."""
    own = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    headers = Path(sysconfig.get_paths()["include"], "Python.h").is_file()
    return (
        None if own else folder / "compiler" / "cc",
        None if headers else folder / "headers",
    )


def environment(
    outer: Mapping[str, str], folder: Path, *, compiler: Path | None, include: Path | None
) -> dict[str, str]:
    """The environment of the stack: that of an image, below the run's folder."""
    values = {name: value for name, value in outer.items() if not name.startswith(_OF_THE_STACK)}
    java = folder / "java" / "runtime"
    programs = (folder / "serving" / "bin", java / "bin", folder / "python" / "bin")
    values |= {
        "DLC_USER": "root",  # the run's folder is its owner's alone
        "HF_HUB_OFFLINE": "1",
        "HOME": str(folder / "home"),
        "JAVA_HOME": str(java),
        "PATH": os.pathsep.join([*map(str, programs), outer.get("PATH", os.defpath)]),
        "TEMP": str(folder / "tmp"),
        "TMPDIR": str(folder / "tmp"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "home" / "inductor"),
        "TRITON_CACHE_DIR": str(folder / "home" / "triton"),
    }
    if compiler:
        values["CC"] = str(compiler)
    if include:
        values["CPATH"] = str(include)
    return values


def _adapt(python: Path, folder: Path, values: Mapping[str, str]) -> None:
    """Adapt the packages to this machine's Python and Transformers, and make the models."""
    for script in (folder / "serving" / "bin").iterdir():
        _, _, code = script.read_text("utf-8").partition("\n")
        script.write_text(f"#!{python}\n{code}", "utf-8")
    ask = "import transformers; print(transformers.__version__)"
    if int(_run(python, values, "-c", ask).partition(".")[0]) >= 5:
        _run(python, values, RUNTIME / "transformers_5.py", folder / "serving")
    _run(python, values, Path(__file__).with_name("models.py"), folder)


def _run(python: Path, values: Mapping[str, str], *words: str | Path) -> str:
    """What a program prints last; DlcError, with its last lines, if it fails."""
    command = [str(python), *map(str, words)]
    try:
        done = subprocess.run(
            command, env=values, capture_output=True, text=True, timeout=_MODEL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise DlcError(
            f"{words[0]} did not end in {_MODEL_SECONDS} s", remedy="see what keeps it"
        ) from None
    if done.returncode != 0:
        last = "\n".join(done.stderr.splitlines()[-5:])
        raise DlcError(f"{words[0]} failed: {last}", remedy="see what this Python has installed")
    return (done.stdout.splitlines() or [""])[-1]
