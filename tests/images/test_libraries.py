"""Where real images have the libraries that are wanted, and that the real loader agrees."""

from __future__ import annotations

import io
import json
import tarfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from builder.engine.namespace import local_name
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from builder.report.libraries import OPENED, Library, checks, compare, look
from tests.images.conftest import INFERENCE, TRAINING, Image, dlc
from tests.images.printed import printed
from tests.unit.report.test_libraries import shared_object

pytestmark = pytest.mark.images

TENSORFLOW = "huggingface-tensorflow-inference:2.4.1-transformers4.6.1-gpu-py37-cu110-ubuntu18.04"
CUDA = "usr/local/cuda-11.0/lib64"
CONFIGURED = {"etc/ld.so.conf.d/cuda.conf": f"/{CUDA}\n".encode()}
SONAMES = sorted(set(OPENED["2.4", "cu110"]) - {"libcuda.so.1"})
# What there is of TensorFlow where no more than its place is looked at.
PACKAGE = "opt/venv/lib/python3.11/site-packages/tensorflow"
FRAMEWORK = {
    f"{PACKAGE}/__init__.py": b"",
    f"{PACKAGE}/libtensorflow_framework.so.2": shared_object(
        "libtensorflow_framework.so.2", ["libc.so.6"]
    ),
}
# Which of the files given to it the dynamic loader has mapped after an import.
MAPPED = """
import json, os, sys, torch
with open("/proc/self/maps") as file:
    mapped = {line.split()[-1] for line in file}
print(json.dumps([path for path in sys.argv[1:] if os.path.realpath(path) in mapped]))
"""
# Which of the libraries given to it the dynamic loader opens by name.
OPENS = """
import ctypes, json, sys
found = []
for name in sys.argv[1:]:
    try:
        ctypes.CDLL(name)
    except OSError:
        continue
    found.append(name)
print(json.dumps(found))
"""

# Which file the dynamic loader takes for a name.
LOADED = """
import ctypes, json, sys
ctypes.CDLL(sys.argv[1])
with open("/proc/self/maps") as file:
    mapped = {line.split()[-1] for line in file}
print(json.dumps([path for path in mapped if path.endswith("/" + sys.argv[1])]))
"""


@pytest.fixture(scope="module")
def tensorflow(targets: tuple[Target, ...]) -> Target:
    return next(target for target in targets if target.name == TENSORFLOW)


def cuda(*without: str, folder: str = CUDA) -> dict[str, bytes]:
    """Empty libraries of the right names in CUDA's folder."""
    return {f"{folder}/{name}": shared_object(name) for name in SONAMES if name not in without}


@contextmanager
def with_files(
    image: Image, files: Mapping[str, bytes], *, command: str = "ldconfig", name: str = ""
) -> Iterator[str]:
    """The image with files more, after a command; it is removed again."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    repository, _, tag = (name or f"library-test:{uuid.uuid4().hex}").partition(":")
    container = image.client.containers.create(image.tag, ["-c", command], entrypoint=["sh"])
    try:
        container.put_archive("/", tar.getvalue())
        container.start()
        assert container.wait(timeout=60)["StatusCode"] == 0
        made = container.commit(repository, tag)
    finally:
        container.remove(force=True)
    try:
        yield f"{repository}:{tag}"
    finally:
        image.client.images.remove(str(made.id), force=True)


def python(image: Image, tag: str, program: str, *arguments: str) -> Any:
    """What a program prints as JSON in a container."""
    said = printed(
        image.client, tag, ["-c", program, *arguments], entrypoint=["python"], network_mode="none"
    )
    return json.loads(said)


def by_name(found: list[Library]) -> dict[str, Library]:
    return {library.soname: library for library in found}


@pytest.mark.parametrize("name", [INFERENCE, TRAINING])
def test_images_have_all_that_pytorch_wants(
    name: str, images: dict[str, Image], targets: tuple[Target, ...]
) -> None:
    image, [target] = images[name], [target for target in targets if target.name == name]
    report = look(image.client, image.tag, target)
    assert report["accelerator"] == []
    found = compare(report, target)
    # The compiler brings OpenMP, too.
    states = {library.soname: library.state for library in found if library.state != "found"}
    assert states == {"libgomp.so.1": "twice"}
    assert {"libc10.so", "libtorch_cpu.so", "libgomp.so.1", "libc.so.6"} <= by_name(found).keys()
    assert all(check.passed for check in checks(report, target))
    # The loader took the very same files.
    paths = [library.found[0] for library in found]
    assert python(image, image.tag, MAPPED, *paths) == paths


@pytest.mark.usefixtures("inference_image")
def test_the_command() -> None:
    result = dlc("libraries", INFERENCE)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0].split() == ["library", "state", "wanted", "by", "found"]
    result = dlc("libraries", INFERENCE, "--format", "json")
    document = json.loads(result.stdout)
    assert {check["name"]: check["passed"] for check in document["checks"]} == {
        "libraries": True,
        "no accelerator": True,
    }
    assert "libtorch.so" in {library["soname"] for library in document["libraries"]}


def test_without_cuda_all_of_it_is_missing(inference_image: Image, tensorflow: Target) -> None:
    report = look(inference_image.client, inference_image.tag, tensorflow)
    found = by_name(compare(report, tensorflow))
    assert {found[name].state for name in SONAMES} == {"missing"}
    assert found["libcuda.so.1"].state == "driver"


@pytest.mark.parametrize("command", ["ldconfig", "true"])
def test_cuda_is_found_once_the_cache_has_it(
    command: str, inference_image: Image, tensorflow: Target
) -> None:
    files = {**FRAMEWORK, **CONFIGURED, **cuda()}
    with with_files(inference_image, files, command=command) as tag:
        report = look(inference_image.client, tag, tensorflow)
        opens = python(inference_image, tag, OPENS, *SONAMES)
    found = by_name(compare(report, tensorflow))
    there = command == "ldconfig"
    assert {name: found[name].found for name in SONAMES} == {
        name: (f"/{CUDA}/{name}",) if there else () for name in SONAMES
    }
    assert opens == SONAMES * there
    assert [check.passed for check in checks(report, tensorflow)] == [there]
    assert report["accelerator"] == sorted(f"/{CUDA}/{name}" for name in SONAMES)


def test_one_that_is_missing_fails_the_command(
    inference_image: Image, tmp_path: Path, root: Path
) -> None:
    # A release that never was, so that no image of it can be in anybody's engine.
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text((root / "matrix.yaml").read_text("utf-8").replace("2.4.1", "2.4.99"), "utf-8")
    name = TENSORFLOW.replace("2.4.1", "2.4.99")
    assert name in {target.name for target in load_targets(matrix)}
    files = {**FRAMEWORK, **CONFIGURED, **cuda("libcudnn.so.8")}
    with with_files(inference_image, files, name=local_name(name)):
        result = dlc("--matrix", str(matrix), "libraries", name)
    assert result.returncode == 13
    assert "libcudnn.so.8 is missing, for dlopen" in result.stderr
    assert result.stderr.count(" is missing") == 1
    assert f"libcufft.so.10        found    1          /{CUDA}/libcufft.so.10" in result.stdout
    assert dlc("--matrix", str(matrix), "libraries", name).returncode == 13, "without the image"


def test_one_that_is_there_twice_is_told(inference_image: Image, tensorflow: Target) -> None:
    other = "opt/other/lib"
    files = {
        **FRAMEWORK,
        **cuda(),
        "etc/ld.so.conf.d/cuda.conf": f"/{CUDA}\n/{other}\n".encode(),
        f"{other}/libcudnn.so.8": shared_object("libcudnn.so.8", ["libc.so.6"]),
    }
    with with_files(inference_image, files) as tag:
        report = look(inference_image.client, tag, tensorflow)
        loaded = python(inference_image, tag, LOADED, "libcudnn.so.8")
    library = by_name(compare(report, tensorflow))["libcudnn.so.8"]
    assert library.state == "twice"
    assert sorted(library.found) == [f"/{other}/libcudnn.so.8", f"/{CUDA}/libcudnn.so.8"]
    assert loaded == [library.found[0]]
    [check] = checks(report, tensorflow)
    assert check.passed
    assert f"libcudnn.so.8 is twice: {', '.join(library.found)}" in check.detail


def test_an_accelerators_library_in_a_cpu_image_is_found(
    inference_image: Image, targets: tuple[Target, ...]
) -> None:
    [target] = [target for target in targets if target.name == INFERENCE]
    strays = ["opt/libnccl.so.2", "usr/lib/x86_64-linux-gnu/libcublasLt.so.11"]
    files = dict.fromkeys([*strays, "opt/libnothing.so"], b"")
    with with_files(inference_image, files, command="true") as tag:
        report = look(inference_image.client, tag, target)
    failed = [check for check in checks(report, target) if not check.passed]
    assert [check.name for check in failed] == ["no accelerator"]
    assert failed[0].detail == ", ".join(f"/{path}" for path in strays)
