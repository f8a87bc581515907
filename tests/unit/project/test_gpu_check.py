"""tools/gpu_check without a GPU and a model server: what it packs, starts and concludes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from builder.errors import ArgumentError
from builder.matrix.select import select_one
from builder.matrix.targets import load_targets
from builder.util.check import Check
from tests.conftest import ROOT
from tools.gpu_check import checks, compiler, prepare, server
from tools.gpu_check.__main__ import TARGET
from tools.gpu_check.archive import (
    Manifest,
    digest,
    pack,
    read_manifest,
    unpack,
    write_manifest,
)
from tools.gpu_check.debian import parse_depends
from tools.gpu_check.report import Report, as_json, as_text, passed
from tools.gpu_check.room import Room, environment, make_python
from tools.gpu_check.server import Answer

SCORE = [{"label": "LABEL_1", "score": 0.5}]


def report(*results: bool) -> Report:
    made = tuple(Check(name=f"c{i}", passed=each, detail="d") for i, each in enumerate(results))
    return Report(device="cpu", machine={"GPU": "none"}, checks=made, seconds=1.5)


@pytest.mark.parametrize(
    ("results", "holds"), [((True, True), True), ((True, False), False), ((), False)]
)
def test_a_report_passes_if_all_of_something_does(results: tuple[bool, ...], holds: bool) -> None:
    made = report(*results)
    assert passed(made) is holds
    assert json.loads(as_json(made))["passed"] is holds
    assert ("passed: " in as_text(made)) is holds
    assert ("FAIL c1: d" in as_text(made)) is (False in results)


# The prepared folder


def manifest_of(folder: Path) -> Manifest:
    tree = folder / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin" / "run").write_text("#!/bin/sh\n", "utf-8")
    (tree / "bin" / "run").chmod(0o755)
    (tree / "link").symlink_to("bin/run")
    pack(tree, folder / "part.tar.xz")
    archives = {"part.tar.xz": digest(folder / "part.tar.xz")}
    made = Manifest(python="3.12", target="t", packages={"six": "1"}, archives=archives)
    write_manifest(folder, made)
    return made


def test_a_prepared_folder_is_read_as_it_was_packed(tmp_path: Path) -> None:
    made = manifest_of(tmp_path)
    assert read_manifest(tmp_path) == made
    unpack(tmp_path, made, tmp_path / "out")
    assert os.access(tmp_path / "out" / "part" / "link", os.X_OK)
    os.utime(tmp_path / "tree" / "bin" / "run", (1, 1))
    pack(tmp_path / "tree", tmp_path / "again.tar.xz")
    assert digest(tmp_path / "again.tar.xz") == made.archives["part.tar.xz"]


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    made = manifest_of(tmp_path)
    (tmp_path / "part.tar.xz").write_bytes(b"other")
    with pytest.raises(ArgumentError, match=r"part\.tar\.xz is missing or damaged"):
        unpack(tmp_path, made, tmp_path / "out")
    (tmp_path / "manifest.json").write_text('{"python": "3.12"}', "utf-8")
    with pytest.raises(ArgumentError, match="no valid"):
        read_manifest(tmp_path)


def test_the_default_target_has_what_is_packed() -> None:
    target = select_one(load_targets(ROOT / "matrix.yaml"), (TARGET,))
    folder = ROOT / "images" / target.folder
    lock = prepare.entries((folder / "libraries.lock").read_text("utf-8"), prepare.SERVING)
    assert lock.count("==") == len(prepare.SERVING)
    assert lock.count("--hash=sha256:") >= len(prepare.SERVING)
    assert prepare.entries((folder / "build.lock").read_text("utf-8"), prepare.BUILD)
    package, modules = prepare.java_of((folder / "Dockerfile").read_text("utf-8"))
    assert package.startswith("openjdk-")
    assert {"java.base", "java.management", "jdk.unsupported"} <= set(modules)


def test_what_a_target_lacks_is_named() -> None:
    lock = "six==1.0 \\\n    --hash=sha256:a \\\n    --hash=sha256:b\n"
    lock += "future==2 \\\n    --hash=sha256:c\n"
    assert prepare.entries(lock, ["six"]) == lock.partition("future")[0]
    with pytest.raises(ArgumentError, match="lack retrying"):
        prepare.entries(lock, ["six", "retrying"])
    with pytest.raises(ArgumentError, match="no Java runtime"):
        prepare.java_of("FROM debian\n")


def test_only_known_imports_are_left_out(tmp_path: Path) -> None:
    for name, line in prepare.LEFT_OUT.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"import os\n{line}x = 1\n", "utf-8")
    prepare.leave_out(tmp_path)
    for name in prepare.LEFT_OUT:
        assert (tmp_path / name).read_text("utf-8") == "import os\nx = 1\n"
    with pytest.raises(ArgumentError, match="has no line"):
        prepare.leave_out(tmp_path)


def test_a_filled_folder_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(ArgumentError, match="is not empty"):
        prepare.prepare(tmp_path, TARGET, sys.executable)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_dependencies_are_packages_of_this_architecture() -> None:
    output = "gcc\n  Depends: cpp\n |Depends: <c>\n<c>\n  x\ncpp\nlibc6:i386\n"
    assert parse_depends(output) == ["cpp", "gcc"]


@pytest.mark.integration
def test_the_carried_compiler_is_called_with_its_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpacked(_: object, root: Path) -> None:
        private, machine = "usr/lib/gcc/x86_64-linux-gnu/12", "usr/lib/x86_64-linux-gnu"
        files = ["as", "ld.bfd", "gcc-12", "gcc-ar-12"]
        names = [f"usr/bin/x86_64-linux-gnu-{name}" for name in files]
        names += [f"{private}/{name}" for name in ("cc1", "collect2", "libgcc.a", "lto1")]
        names += [f"{private}/include/stddef.h", "usr/include/stdio.h", f"{machine}/libgmp.so.10"]
        names += [f"{machine}/libgmp.so.10.4.1", f"{machine}/libgomp.so.1"]
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text('#!/bin/sh\necho "$LD_LIBRARY_PATH" "$@"\n', "utf-8")
            (root / name).chmod(0o755)
        (root / "usr/bin/gcc-12").symlink_to("x86_64-linux-gnu-gcc-12")

    monkeypatch.setattr(compiler, "dependencies", lambda *names: list(names))
    monkeypatch.setattr(compiler, "unpack_packages", unpacked)
    made = tmp_path / "compiler"
    compiler.make_compiler(tmp_path, made)
    assert not list(made.rglob("lto1"))
    assert [path.name for path in (made / "libraries").iterdir()] == ["libgmp.so.10"]
    command = [str(made / "cc"), "a b.c", "-o", "x.so"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert said[0] == str(made / "libraries")
    assert f"--sysroot={made}" in said
    assert f"-B{made}/usr/bin/x86_64-linux-gnu-" in said
    assert (made / "usr/bin/x86_64-linux-gnu-ld").is_file()
    assert said[-5:] == ["a", "b.c", "-o", "x.so", "-lgcc"]


def test_another_layout_of_packages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="matches 0 files"):
        compiler.kept(tmp_path)


# The machine


def test_the_stack_gets_nothing_of_the_callers_own(tmp_path: Path) -> None:
    outer = {"PATH": "/usr/bin", "MMS_MODEL_STORE": "x", "HF_TOKEN": "x", "LANG": "C"}
    values = environment(outer, tmp_path, compiler=tmp_path / "cc", include=None)
    assert values["LANG"] == "C"
    assert not {"MMS_MODEL_STORE", "HF_TOKEN", "CPATH"} & set(values)
    assert values["CC"] == str(tmp_path / "cc")
    path = values["PATH"].split(os.pathsep)
    assert path[0] == str(tmp_path / "serving" / "bin")
    assert path[-1] == "/usr/bin"


@pytest.mark.integration
def test_a_worker_finds_what_is_packed_and_what_the_machine_has(tmp_path: Path) -> None:
    """Without PYTHONPATH, which the model server keeps from its workers."""
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving/mms.py").touch()
    ask = "import mms, jinja2, sys; print(mms.__file__, sys.prefix)"
    done = subprocess.run(
        [make_python(tmp_path), "-c", ask],
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{tmp_path}/serving/mms.py {tmp_path}/python\n"


def tell_gpus(folder: Path, script: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    program.chmod(0o755)


@pytest.mark.integration
def test_gpus_are_those_that_nvidia_smi_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert checks.gpus() == []
    tell_gpus(tmp_path, "echo A GPU; echo B GPU")
    assert checks.gpus() == ["A GPU", "B GPU"]
    tell_gpus(tmp_path, "echo NVIDIA-SMI has failed; exit 9")
    assert checks.gpus() == []


@pytest.mark.integration
@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_the_wrong_device_is_an_error_without_any_package(device: str, tmp_path: Path) -> None:
    """-S: the GPU's machine has none of the packages that the rest of this repository needs."""
    if device == "cpu":
        tell_gpus(tmp_path, "echo A GPU")
    done = subprocess.run(
        [sys.executable, "-S", "-m", "tools.gpu_check", "run", "x", "--device", device],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    wrong = {"cuda": "no NVIDIA GPU", "cpu": "this machine has a GPU"}
    assert done.stderr.startswith(f"gpu_check: {wrong[device]}")
    assert done.stdout == ""


# What is concluded


def worker(status: str = "READY", *, gpu: bool = True) -> dict[str, Any]:
    return {"status": status, "gpu": gpu}


@pytest.mark.parametrize(
    ("device", "workers", "expected", "holds"),
    [
        ("cuda", [worker(), worker()], 2, True),
        ("cuda", [worker()], 2, False),
        ("cuda", [worker(), worker(), worker()], 2, False),
        ("cuda", [worker(), worker(gpu=False)], 2, False),
        ("cuda", [worker(), worker("UNLOADED")], 2, False),
        ("cpu", [worker(gpu=False)], 1, True),
        ("cpu", [worker()], 1, False),
    ],
)
def test_one_worker_is_expected_on_each_gpu(
    device: str, workers: list[dict[str, Any]], expected: int, holds: bool
) -> None:
    assert checks.worker_check(workers, device, expected).passed is holds


NO_MEMORY = {"message": "OutOfMemoryError: CUDA out of memory. Tried to allocate 500.00 GiB."}


@pytest.mark.parametrize(
    ("full", "after", "workers", "expected"),
    [
        (Answer(status=500, body=NO_MEMORY), SCORE, {1, 2}, (True, True, True)),
        (Answer(status=500, body={"message": "Worker died."}), SCORE, {1, 3}, (False, False, True)),
        (Answer(status=400, body=NO_MEMORY), SCORE, {1, 2}, (False, True, True)),
        (Answer(status=200, body=SCORE), [{"label": "LABEL_0"}], {1, 2}, (False, True, False)),
    ],
)
def test_no_memory_is_an_error_and_ends_no_worker(
    full: Answer, after: object, workers: set[int], expected: tuple[bool, ...]
) -> None:
    before = Answer(status=200, body=SCORE)
    found = checks.memory_checks(
        "cuda", full, before, Answer(status=200, body=after), {1, 2}, workers
    )
    assert tuple(check.passed for check in found) == expected


def test_without_a_worker_none_was_kept() -> None:
    answer = Answer(status=200, body=SCORE)
    _, kept, _ = checks.memory_checks("cuda", answer, answer, answer, set(), set())
    assert not kept.passed


ON_GPU = {"device": "cuda:0", "bytes": 5, "text": [{"generated_text": "x"}]}


@pytest.mark.parametrize(
    ("change", "holds"),
    [({}, True), ({"device": "cpu"}, False), ({"bytes": 0}, False), ({"text": []}, False)],
)
def test_the_model_has_to_be_on_the_gpu(change: dict[str, Any], holds: bool) -> None:
    assert checks.device_check("cuda", Answer(status=200, body=ON_GPU | change)).passed is holds


COMPILED = {"difference": 1e-5, "finite": True, "made_by": "Triton"}


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"difference": 0.1}, False),
        ({"difference": float("nan")}, False),
        ({"finite": False}, False),
        ({"made_by": "C++"}, False),
        ({"made_by": "nothing"}, False),
    ],
)
def test_compiled_numbers_have_to_be_right_and_of_triton(
    change: dict[str, Any], holds: bool
) -> None:
    assert checks.compile_check("cuda", Answer(status=200, body=COMPILED | change)).passed is holds


@pytest.mark.parametrize("check", [checks.device_check, checks.compile_check])
def test_an_error_shows_nothing(check: Any) -> None:
    assert not check("cuda", Answer(status=500, body={"message": "x", **ON_GPU, **COMPILED})).passed
    assert not check("cuda", Answer(status=200, body="no JSON")).passed


# A whole run, with a program in the stack's place

FAKE = Path(__file__).with_name("fake_stack.py")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A machine with one GPU whose stack is a fake; its environment, to be changed."""
    program = tmp_path / "dockerd-entrypoint.py"
    shutil.copy(FAKE, program)
    (tmp_path / "tmp").mkdir()
    values = {"PATH": os.environ["PATH"], "TEMP": str(tmp_path / "tmp")}

    @contextmanager
    def made(_: Path) -> Iterator[Room]:
        yield Room(
            folder=tmp_path,
            python=Path(sys.executable),
            target="t",
            compiler="c",
            environment=values,
        )

    monkeypatch.setattr(checks, "room", made)
    monkeypatch.setattr(checks, "gpus", lambda: ["A GPU"])
    monkeypatch.setattr(server, "RUNTIME", tmp_path)
    return values


@pytest.mark.integration
@pytest.mark.usefixtures("fake")
def test_a_whole_run_asks_both_models_and_leaves_nothing() -> None:
    made = checks.run(Path("prepared"), "cuda")
    assert passed(made), as_text(made)
    assert [check.name for check in made.checks] == [
        "start",
        "one worker per GPU",
        "answer",
        "out of memory is an error",
        "no worker ended",
        "the next answer is the same",
        "the model is on cuda",
        "torch.compile with Triton",
    ]
    assert made.machine["GPU"] == "A GPU"


@pytest.mark.integration
def test_a_server_that_does_not_start_is_reported_with_its_log(
    fake: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    fake["FAKE_FAILS"] = "1"
    made = checks.run(Path("prepared"), "cuda")
    assert not passed(made)
    assert [check.name for check in made.checks] == ["run", "run"]
    assert capsys.readouterr().err.count("what went wrong") == 2
