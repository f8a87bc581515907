"""Makes the folder for the GPU's machine: from the locks, the package index and Debian packages."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uv

from builder.errors import ArgumentError
from builder.matrix.select import select_one
from builder.matrix.targets import load_targets
from tools.gpu_check.archive import Manifest, digest, pack, write_manifest
from tools.gpu_check.compiler import make_compiler
from tools.gpu_check.debian import command, unpack_packages

__all__ = ["LEFT_OUT", "SERVING", "entries", "java_of", "leave_out", "prepare"]

ROOT = Path(__file__).parents[2]

# Only the server's own packages: they are pure Python. All else comes with PyTorch or Transformers.
SERVING = (
    *("enum-compat", "future", "model-archiver", "multi-model-server", "retrying"),
    *("sagemaker-huggingface-inference-toolkit", "sagemaker-inference", "six"),
)
BUILD = ("setuptools",)  # sagemaker-inference imports its pkg_resources

# Imports of large packages for what no check uses: sparse matrices, and private package indexes.
LEFT_OUT = {
    "sagemaker_inference/decoder.py": "import scipy.sparse\n",
    "sagemaker_inference/model_server.py": "import boto3\n",
}


def prepare(folder: Path, selector: str, python: str) -> None:
    """Fill a folder; ArgumentError if there is something in it, and then nothing is changed."""
    if folder.exists() and any(folder.iterdir()):
        raise ArgumentError(f"{folder} is not empty", remedy="give a folder that does not exist")
    target = select_one(load_targets(ROOT / "matrix.yaml"), (selector,))
    source = ROOT / "images" / target.folder
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        parts = scratch / "parts"
        for part in ("serving", "java", "compiler", "headers"):
            (parts / part).mkdir(parents=True)
        packages = _serving(source, python, scratch, parts / "serving")
        _java(source, scratch, parts / "java")
        make_compiler(scratch, parts / "compiler")
        version = _headers(python, parts / "headers")
        folder.mkdir(parents=True, exist_ok=True)
        archives = {part: folder / f"{part.name}.tar.xz" for part in sorted(parts.iterdir())}
        with ThreadPoolExecutor() as pool:
            list(pool.map(pack, archives.keys(), archives.values()))
    manifest = Manifest(
        python=version,
        target=target.name,
        packages=packages,
        archives={path.name: digest(path) for path in archives.values()},
    )
    write_manifest(folder, manifest)
    total = sum(path.stat().st_size for path in archives.values())
    print(f"{folder}: {total / 1e6:.1f} MB", file=sys.stderr)  # noqa: T201


def _serving(source: Path, python: str, scratch: Path, into: Path) -> dict[str, str]:
    """Install the server's packages into a folder, by hash; their versions."""
    build = source / "build.lock"
    lock = entries((source / "libraries.lock").read_text("utf-8"), SERVING)
    lock += entries(build.read_text("utf-8"), BUILD)
    (scratch / "serving.lock").write_text(lock, "utf-8")
    command(
        *(uv.find_uv_bin(), "pip", "install", "--quiet", "--python", python, "--target", into),
        *("--no-deps", "--require-hashes", "--requirement", scratch / "serving.lock"),
        *("--build-constraints", build, "--link-mode", "copy"),
    )
    leave_out(into)
    for cache in list(into.glob("**/__pycache__")):
        shutil.rmtree(cache)
    return dict(re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE))


def entries(lock: str, names: Iterable[str]) -> str:
    """The entries of some packages in a lock; ArgumentError if it lacks one."""
    each = re.finditer(r"^([\w.-]+)==(?:.*\\\n)*.*\n", lock, re.MULTILINE)
    found = {entry[1]: entry[0] for entry in each}
    missing = [name for name in names if name not in found]
    if missing:
        raise ArgumentError(
            f"the target's locks lack {', '.join(missing)}", remedy="give an inference target"
        )
    return "".join(found[name] for name in names)


def leave_out(tree: Path) -> None:
    """Remove imports of packages that are left out; ArgumentError if they are not there."""
    for name, line in LEFT_OUT.items():
        path = tree / name
        code = path.read_text("utf-8")
        if code.count(line) != 1:
            raise ArgumentError(
                f"{name} has no line {line.strip()!r}", remedy="adapt LEFT_OUT in tools/gpu_check"
            )
        path.write_text(code.replace(line, ""), "utf-8")


def _java(source: Path, scratch: Path, into: Path) -> None:
    """Link a Java runtime with the modules that the target's image has."""
    package, modules = java_of((source / "Dockerfile").read_text("utf-8"))
    unpack_packages([package, package.replace("-jdk-", "-jre-")], scratch / "jdk")
    found = (scratch / "jdk/usr/lib/jvm").glob("java-*/bin/jlink")
    [jlink] = {path.resolve() for path in found}  # one folder, and a link to it
    command(
        *(jlink, "--strip-debug", "--no-header-files", "--no-man-pages"),
        *("--output", scratch / "runtime", "--add-modules", ",".join(modules)),
    )
    (scratch / "runtime").rename(into / "runtime")


def java_of(dockerfile: str) -> tuple[str, list[str]]:
    """The JDK's package and the modules of the runtime that a Dockerfile makes of it."""
    package = re.search(r"openjdk-\d+-jdk-headless", dockerfile)
    modules = re.findall(r"--add-modules (\S+)", dockerfile)
    if package is None or not modules:
        raise ArgumentError(
            "the target's Dockerfile makes no Java runtime", remedy="give a target on Debian"
        )
    return package[0], [module for names in modules for module in names.split(",")]


def _headers(python: str, into: Path) -> str:
    """Copy the headers of a Python; its version, as in 3.12."""
    ask = "import sys, sysconfig; print(*sys.version_info[:2], sysconfig.get_paths()['include'])"
    major, minor, include = command(python, "-c", ask).strip().split(" ", 2)
    if not Path(include, "Python.h").is_file():
        raise ArgumentError(f"{python} has no headers", remedy="give another --python")
    shutil.copytree(include, into, dirs_exist_ok=True)
    return f"{major}.{minor}"
