"""What a framework wants: the program that looks, on files made for it, and the comparison."""

from __future__ import annotations

import json
import os
import random
import runpy
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import ContainerError
from builder.matrix.target import Target
from builder.report.libraries import OPENED, Library, checks, compare, opened
from builder.serve.programs import FILES
from tests.conftest import Dlc

CPU = "huggingface-pytorch-inference:1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04"
GPU = "huggingface-pytorch-training:1.9.1-transformers4.12.3-gpu-py38-cu111-ubuntu20.04"
TENSORFLOW = "huggingface-tensorflow-inference:2.4.1-transformers4.6.1-gpu-py37-cu110-ubuntu18.04"

PROGRAM = FILES / "library_report.py"
# Files for another machine than this interpreter's are not libraries to the program.
(MACHINE,) = struct.unpack("<H", Path(sys.executable).read_bytes()[18:20])
RPATH, RUNPATH = 15, 29
# Not on everybody's PATH.
LDCONFIG = shutil.which("ldconfig", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin")


def shared_object(
    soname: str,
    needed: Iterable[str] = (),
    path: str = "",
    *,
    kind: int = RUNPATH,
    machine: int = MACHINE,
) -> bytes:
    """A shared object without code, which glibc loads; `path` is its RUNPATH or RPATH."""
    strings, entries = b"\0", []

    def add(tag: int, text: str) -> None:
        nonlocal strings
        entries.append((tag, len(strings)))
        strings += text.encode() + b"\0"

    add(14, soname)
    for name in needed:
        add(1, name)
    if path:
        add(kind, path)
    start = 64 + 2 * 56
    symbols = start + 16 * (len(entries) + 6)
    table = symbols + 24
    texts = table + 16
    entries += [(4, table), (5, texts), (6, symbols), (10, len(strings)), (11, 24), (0, 0)]
    size = texts + len(strings)
    return b"".join(
        (
            b"\x7fELF\x02\x01\x01".ljust(16, b"\0"),
            struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 2, 64, 0, 0),
            struct.pack("<IIQQQQQQ", 1, 6, 0, 0, 0, size, size, 4096),
            struct.pack("<IIQQQQQQ", 2, 6, *[start] * 3, *[symbols - start] * 2, 8),
            *(struct.pack("<QQ", *entry) for entry in entries),
            bytes(24),
            struct.pack("<IIII", 1, 1, 0, 0),
            strings,
        )
    )


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def told(folder: Path, *sonames: str, **environment: str) -> dict[str, Any]:
    """What the program tells with a folder for site-packages."""
    run = subprocess.run(
        [sys.executable, PROGRAM, "--root", folder, *sonames],
        env={**os.environ, "PYTHONPATH": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def places(report: Mapping[str, Any], folder: Path) -> dict[str, list[str]]:
    """Where each library is, below a folder."""
    return {
        row["soname"]: [os.path.relpath(path, folder.resolve()) for path in row["found"]]
        for row in report["libraries"]
    }


TORCH = {"torch/__init__.py": b""}


# The program


@pytest.mark.integration
def test_a_made_library_is_one_to_the_real_loader(tmp_path: Path) -> None:
    """So what follows is of files as they are."""
    write(
        tmp_path,
        {
            "libone.so.1": shared_object("libone.so.1", ["libtwo.so.2"], "$ORIGIN/more"),
            "more/libtwo.so.2": shared_object("libtwo.so.2"),
        },
    )
    load = [sys.executable, "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])"]
    path = tmp_path / "libone.so.1"
    assert subprocess.run([*load, path], capture_output=True, check=False).returncode == 0
    (tmp_path / "more/libtwo.so.2").unlink()
    said = subprocess.run([*load, path], capture_output=True, text=True, check=False).stderr
    assert "libtwo.so.2: cannot open shared object file" in said


@pytest.mark.integration
@pytest.mark.parametrize(
    ("path", "kind", "there", "found"),
    [
        ("$ORIGIN/../../more", RUNPATH, "more", True),
        ("/nowhere:${ORIGIN}/../../more", RUNPATH, "more", True),
        ("$ORIGIN/../../more", RPATH, "more", True),
        ("", RUNPATH, "more", False),
        ("$ORIGIN/../../other", RUNPATH, "more", False),
        ("", RUNPATH, "torch/lib", True),
        ("", RUNPATH, "nvidia/some/lib", True),
        ("", RUNPATH, "nvidia/lib", False),
    ],
)
def test_where_a_library_is_looked_for(
    path: str, kind: int, there: str, found: bool, tmp_path: Path
) -> None:
    files = {
        **TORCH,
        "torch/lib/libtorch.so": shared_object("libtorch.so", ["libmore.so.3"], path, kind=kind),
        f"{there}/libmore.so.3": shared_object("libmore.so.3"),
    }
    write(tmp_path, files)
    report = told(tmp_path)
    assert places(report, tmp_path)["libmore.so.3"] == [f"{there}/libmore.so.3"] * found
    [row] = [row for row in report["libraries"] if row["soname"] == "libmore.so.3"]
    assert row["wanted_by"] == [str(tmp_path / "torch/lib/libtorch.so")]


@pytest.mark.integration
def test_the_environment_goes_before_runpath_and_after_rpath(tmp_path: Path) -> None:
    more = shared_object("libmore.so.3")
    for kind, first in ((RUNPATH, "given"), (RPATH, "own")):
        own = shared_object("libtorch.so", ["libmore.so.3"], "$ORIGIN/../../own", kind=kind)
        files = {"own/libmore.so.3": more, "given/libmore.so.3": more}
        write(tmp_path, {**TORCH, "torch/lib/libtorch.so": own, **files})
        report = told(tmp_path, LD_LIBRARY_PATH=f"/nowhere:{tmp_path}/given")
        found = places(report, tmp_path)["libmore.so.3"]
        assert (found[0], sorted(found)) == (f"{first}/libmore.so.3", sorted(files))


@pytest.mark.integration
def test_a_link_is_not_a_second_file(tmp_path: Path) -> None:
    own = shared_object("libtorch.so", ["libmore.so.3"], "$ORIGIN:$ORIGIN/../../more")
    write(tmp_path, {**TORCH, "torch/lib/libtorch.so": own})
    write(tmp_path, {"more/libmore.so.3.1": shared_object("libmore.so.3")})
    (tmp_path / "more/libmore.so.3").symlink_to("libmore.so.3.1")
    (tmp_path / "torch/lib/libmore.so.3").symlink_to("../../more/libmore.so.3")
    assert places(told(tmp_path), tmp_path)["libmore.so.3"] == ["torch/lib/libmore.so.3"]
    # Nor if another library finds it by another way.
    write(tmp_path, {"torch/_C.so": shared_object("", ["libmore.so.3"], "$ORIGIN/../more")})
    assert len(places(told(tmp_path), tmp_path)["libmore.so.3"]) == 1


@pytest.mark.integration
def test_two_files_for_two_that_want_one(tmp_path: Path) -> None:
    files = {
        "torch/_C.so": shared_object("", ["libmore.so.3"], "$ORIGIN/../a"),
        "torch/lib/libtorch.so": shared_object("libtorch.so", ["libmore.so.3"], "$ORIGIN/../../b"),
        "a/libmore.so.3": shared_object("libmore.so.3"),
        "b/libmore.so.3": shared_object("libmore.so.3"),
    }
    write(tmp_path, {**TORCH, **files})
    found = places(told(tmp_path), tmp_path)["libmore.so.3"]
    assert sorted(found) == ["a/libmore.so.3", "b/libmore.so.3"]


@pytest.mark.integration
@pytest.mark.skipif(LDCONFIG is None, reason="no ldconfig here to make a cache with")
@pytest.mark.parametrize("layout", ["new", "compat"])
def test_the_linkers_cache(layout: str, tmp_path: Path) -> None:
    assert LDCONFIG is not None
    for folder in ("one", "two"):
        write(tmp_path, {f"{folder}/libmore.so.3": shared_object("libmore.so.3")})
    conf, cache = tmp_path / "ld.so.conf", tmp_path / "cache"
    conf.write_text(f"{tmp_path}/one\n{tmp_path}/two\n")
    subprocess.run([LDCONFIG, "-X", "-c", layout, "-f", conf, "-C", cache], check=True)
    found = runpy.run_path(str(PROGRAM))["cached"](cache)
    assert sorted(found["libmore.so.3"]) == [f"{tmp_path}/{x}/libmore.so.3" for x in ("one", "two")]
    said = subprocess.run([LDCONFIG, "-p", "-C", cache], capture_output=True, text=True, check=True)
    listed = {line.split()[0] for line in said.stdout.splitlines() if "=>" in line}
    assert found.keys() <= listed
    assert {"libc.so.6", "libmore.so.3"} <= found.keys()


def test_without_a_cache(tmp_path: Path) -> None:
    cached = runpy.run_path(str(PROGRAM))["cached"]
    assert cached(tmp_path / "none") == {}
    (tmp_path / "cache").write_bytes(b"something else")
    assert cached(tmp_path / "cache") == {}


@pytest.mark.integration
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"INPUT(libmore.so.3.1)",
        shared_object("libmore.so.3", machine=MACHINE + 1),
        shared_object("libmore.so.3")[:100],
    ],
)
def test_what_the_loader_cannot_load_is_not_found(content: bytes, tmp_path: Path) -> None:
    own = shared_object("libtorch.so", ["libmore.so.3"])
    write(tmp_path, {**TORCH, "torch/lib/libtorch.so": own, "torch/lib/libmore.so.3": content})
    assert places(told(tmp_path), tmp_path)["libmore.so.3"] == []


@pytest.mark.integration
def test_what_a_found_library_wants_is_wanted(tmp_path: Path) -> None:
    files = {
        "torch/_C.cpython-38-x86_64-linux-gnu.so": shared_object("", ["liba.so"], "$ORIGIN/lib"),
        "torch/other/libz.so": shared_object("", ["libunseen.so"]),
        # In a circle, as PyTorch's own have been.
        "torch/lib/liba.so": shared_object("liba.so", ["libb.so"], "$ORIGIN"),
        "torch/lib/libb.so": shared_object("libb.so", ["liba.so", "libgone.so"], "$ORIGIN"),
    }
    write(tmp_path, {**TORCH, **files})
    found = places(told(tmp_path), tmp_path)
    assert found == {"liba.so": ["torch/lib/liba.so"], "libb.so": ["torch/lib/libb.so"]} | {
        "libgone.so": []
    }


@pytest.mark.integration
def test_what_is_opened_is_looked_for_from_the_library_that_opens(tmp_path: Path) -> None:
    opener = shared_object("libtensorflow_framework.so.2", (), "$ORIGIN/../cuda")
    files = {
        "tensorflow/__init__.py": b"",
        "tensorflow/libtensorflow_framework.so.2": opener,
        "tensorflow/python/_pywrap_tensorflow_internal.so": shared_object(""),
        "cuda/libcudart.so.11.0": shared_object("libcudart.so.11.0"),
    }
    write(tmp_path, files)
    report = told(tmp_path, "libcudart.so.11.0", "libcudnn.so.8")
    assert report["objects"]["torch"] == []
    assert report["objects"]["tensorflow"] == [
        str(tmp_path / name)
        for name in sorted(files)
        if name.startswith("tensorflow/") and ".so" in name
    ]
    assert places(report, tmp_path) == {
        "libcudart.so.11.0": ["cuda/libcudart.so.11.0"],
        "libcudnn.so.8": [],
    }
    assert {by for row in report["libraries"] for by in row["wanted_by"]} == {"dlopen"}


ACCELERATORS = (
    *("libcudart.so.11.0", "libcudart-80664282.so.10.2", "libcuda.so.1", "libcudnn.so.8"),
    *("libcublasLt.so.11", "libcufft.so.10", "libcurand.so.10", "libcusolver.so.10"),
    *("libcusparse.so.11", "libnvrtc.so.11.1", "libnvToolsExt-3965bdd0.so.1", "libnccl.so.2"),
    *("libnccl_static.a", "libtorch_cuda.so", "libtorch_cuda_cpp.so", "libc10_cuda.so"),
    *("libnrt.so.1", "libneuron_op.so"),
)
OTHERS = ("libc10.so", "libtorch_cpu.so", "libcurl.so.4", "libncursesw.so.6", "libcudnn.md")


@pytest.mark.integration
def test_files_named_like_an_accelerators_library(tmp_path: Path) -> None:
    write(tmp_path, {f"a/b/{name}": b"" for name in (*ACCELERATORS, *OTHERS)})
    (tmp_path / "libcublas.so").symlink_to("/nowhere/libcublas.so.11")
    found = told(tmp_path)["accelerator"]
    wanted = [tmp_path / "libcublas.so", *(tmp_path / "a/b" / name for name in ACCELERATORS)]
    assert found == sorted(map(str, wanted))


@given(st.data())
def test_a_broken_file_breaks_nothing(data: st.DataObject) -> None:
    read = runpy.run_path(str(PROGRAM))["read"]
    content = bytearray(shared_object("liba.so", ["libb.so", "libc.so"], "$ORIGIN:/x"))
    whole = bytes(content)
    places = data.draw(st.lists(st.integers(6, len(content) - 1), max_size=4))
    for place in places:
        content[place] = data.draw(st.integers(0, 255))
    changed = content[: data.draw(st.integers(0, len(content)))]
    with tempfile.NamedTemporaryFile() as file:
        file.write(changed)
        file.flush()
        found = read(Path(file.name))
    if changed == whole:
        assert found == (MACHINE, ("libb.so", "libc.so"), (), ("$ORIGIN", "/x"))
    assert found is None or all(isinstance(text, str) for text in found.needed)


# The comparison


def report(
    libraries: Mapping[str, list[str]], module: str = "torch", strays: Iterable[str] = ()
) -> dict[str, Any]:
    """A report of libraries and their places, each wanted by one file."""
    rows = [{"soname": s, "wanted_by": ["/t/liba.so"], "found": f} for s, f in libraries.items()]
    random.shuffle(rows)
    objects = {"torch": [], "tensorflow": [], module: ["/t/liba.so"]}
    return {"objects": objects, "libraries": rows, "accelerator": list(strays)}


def test_states_in_the_order_of_names(small: dict[str, Target]) -> None:
    found = {
        "libz.so": ["/a/libz.so", "/b/libz.so"],
        "libcuda.so.1": [],
        "libb.so": [],
        "libc.so.6": ["/lib/libc.so.6"],
    }
    states = [(each.soname, each.state) for each in compare(report(found), small[GPU])]
    assert states == [
        ("libb.so", "missing"),
        ("libc.so.6", "found"),
        ("libcuda.so.1", "driver"),
        ("libz.so", "twice"),
    ]
    # No driver comes to a CPU image.
    states = [(each.soname, each.state) for each in compare(report(found), small[CPU])]
    assert states[2] == ("libcuda.so.1", "missing")


def test_what_nobody_looked_for_is_missing(small: dict[str, Target]) -> None:
    found = {"libcudnn.so.8": ["/c/libcudnn.so.8"]}
    libraries = {each.soname: each for each in compare(report(found), small[TENSORFLOW])}
    assert libraries.keys() == set(OPENED["2.4", "cu110"])
    assert libraries.pop("libcudnn.so.8").state == "found"
    assert libraries.pop("libcuda.so.1").state == "driver"
    assert libraries["libcusolver.so.10"] == Library(
        soname="libcusolver.so.10", wanted_by=("dlopen",), found=(), state="missing"
    )
    assert {each.state for each in libraries.values()} == {"missing"}


def test_only_what_is_missing_fails(small: dict[str, Target]) -> None:
    found = {"libc.so.6": ["/lib/libc.so.6"], "libz.so": ["/a/libz.so", "/b/libz.so"]}
    [check] = checks(report(found), small[GPU])
    assert check.passed
    assert check.detail == "1 found, 1 twice; libz.so is twice: /a/libz.so, /b/libz.so"
    [check] = checks(report({**found, "libb.so": []}), small[GPU])
    assert not check.passed
    assert "; libb.so is missing, for liba.so; " in check.detail


def test_an_image_without_the_framework_fails(small: dict[str, Target]) -> None:
    found = {"libc.so.6": ["/lib/libc.so.6"]}
    [check] = checks(report(found, "tensorflow"), small[GPU])
    assert (check.passed, check.detail) == (False, "torch has no shared object; 1 found")


def test_accelerator_libraries_in_a_cpu_image_fail(small: dict[str, Target]) -> None:
    found = {"libc.so.6": ["/lib/libc.so.6"]}
    assert [check.passed for check in checks(report(found), small[CPU])] == [True, True]
    strays = ["/opt/libcublas.so.11", "/opt/libnccl.so.2"]
    libraries, none = checks(report(found, strays=strays), small[CPU])
    assert libraries.passed
    assert (none.passed, none.detail) == (False, "/opt/libcublas.so.11, /opt/libnccl.so.2")
    # That is what they are for.
    assert all(check.passed for check in checks(report(found, strays=strays), small[GPU]))


# What TensorFlow opens


def test_every_tensorflow_of_the_matrix_is_known(targets: tuple[Target, ...]) -> None:
    known = {t.name: opened(t) for t in targets if t.framework == "tensorflow"}
    assert {name for name, wanted in known.items() if wanted} == {
        name for name in known if "-gpu-" in name
    }
    assert {t.name for t in targets if t.framework == "pytorch" and opened(t)} == set()


def test_the_matrix_installs_what_tensorflow_opens(targets: tuple[Target, ...]) -> None:
    """The package of each library by name, and of the version that the SONAME is of."""
    chosen = [t for t in targets if t.framework == "tensorflow" and t.device == "gpu"]
    assert chosen
    for target in chosen:
        packages = dict(package.split("=") for package in target.accelerator_packages)
        versions = {name.rstrip("-0123456789"): version for name, version in packages.items()}
        for soname in set(opened(target)) - {"libcuda.so.1"}:
            stem, _, number = soname.partition(".so.")
            name = {"libcudart": "cuda-cudart", "libcublasLt": "libcublas"}.get(stem, stem)
            assert versions[name].split(".")[0] == number.split(".")[0], (target.name, soname)


def test_an_unknown_tensorflow(small: dict[str, Target]) -> None:
    newer = replace(small[TENSORFLOW], framework_version="2.7.0")
    with pytest.raises(ContainerError, match=r"TensorFlow 2\.7 opens with cu110; add them"):
        opened(newer)


def test_the_command_without_such_a_target(dlc: Dlc) -> None:
    assert dlc("libraries", "no-such-image").code == 4
