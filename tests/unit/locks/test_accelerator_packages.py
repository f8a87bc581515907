"""CPU images get no accelerator's package: every committed lock of a CPU target."""

from __future__ import annotations

import fnmatch
from pathlib import Path

import pytest

from builder.locks.accelerator_packages import accelerator_packages
from builder.locks.lockfile import parse, pinned
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from tests.conftest import ROOT

CPU = [target for target in load_targets(ROOT / "matrix.yaml") if target.device == "cpu"]
PACKAGES = (
    *("nvidia-*", "*-cu11", "*-cu12", "triton", "tensorflow", "tensorflow-gpu", "cupy*"),
    *("pycuda", "tensorrt*", "torch-neuron", "torch-neuronx", "neuron-*", "neuronx-*", "habana*"),
)
# Of these the package index has builds for CUDA; PyTorch's own for CPUs are direct wheels.
TORCH = {"torch", "torchaudio", "torchvision"}


def offenders(lock: str) -> list[str]:
    """The requirements of a lock that bring an accelerator's libraries."""
    entries = parse(lock)
    # tf-keras asks for `tensorflow` by this name, which has kernels for GPUs, but no CUDA.
    allowed = {"tensorflow"} if "tf-keras" in entries else set()
    return [entry for name, entry in entries.items() if name not in allowed and _offends(entry)]


def _offends(entry: str) -> bool:
    name, _ = pinned(entry)
    if name in TORCH:
        [line] = [line for line in entry.splitlines() if line.startswith(name)]
        return not ("/cpu/" in line and "%2Bcpu-" in line)
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in PACKAGES)


@pytest.mark.parametrize("target", CPU, ids=lambda target: target.name)
def test_dlc_lock_refuses_none_of_them(target: Target) -> None:
    assert accelerator_packages(held(target)) == []


def test_dlc_lock_would_refuse_those_for_accelerators(targets: tuple[Target, ...]) -> None:
    """From CUDA 11.7 on it is in packages of its own; Neuron's always were."""
    apart = [target for target in targets if accelerator_packages(held(target))]
    assert len(apart) > 20
    assert all(target.device != "cpu" for target in apart)


def held(target: Target) -> set[str]:
    return {name for path in locks(target) for name in parse(path.read_text("utf-8"))}


def locks(target: Target) -> list[Path]:
    folder = ROOT / "images" / target.folder
    return [folder / "framework.lock", folder / "libraries.lock"]


@pytest.mark.parametrize("target", CPU, ids=lambda target: target.name)
def test_no_accelerator_package(target: Target) -> None:
    found = {path.name: offenders(path.read_text("utf-8")) for path in locks(target)}
    assert found == {"framework.lock": [], "libraries.lock": []}


def test_that_every_cpu_folder_is_one_of_these() -> None:
    folders = {path.parent for path in (ROOT / "images").glob("*/*-cpu-*/*.lock")}
    assert folders == {ROOT / "images" / target.folder for target in CPU}
    assert folders


def test_the_locks_have_a_framework_to_judge() -> None:
    for target in CPU:
        names = {pinned(entry)[0] for entry in parse(locks(target)[0].read_text("utf-8")).values()}
        assert names & {"torch", "tensorflow-cpu", "tf-keras"}, target.name


def test_gpu_locks_would_be_found(targets: tuple[Target, ...]) -> None:
    for target in targets:
        if target.device != "cpu":
            texts = [path.read_text("utf-8") for path in locks(target)]
            assert any(map(offenders, texts)), target.name


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        ("nvidia-cublas-cu12==12.1.3.1", True),
        ("nvidia_cudnn==8.0", True),
        ("something-cu11==1.0", True),
        ("triton==2.1.0", True),
        ("tensorflow==2.4.1", True),
        ("tensorflow-cpu==2.4.1", False),
        ("tensorflow-estimator==2.4.0", False),
        ("cupy-cuda110==9.0", True),
        ("pycuda==2021.1", True),
        ("tensorrt-bindings==8.6", True),
        ("torch-neuron==1.9.1.2.1.7.0", True),
        ("neuron-cc==1.9", True),
        ("habana-torch-plugin==1.0", True),
        ("torch==1.9.1", True),
        ("torch==1.9.1+cpu", True),
        ("torchvision==0.14.1", True),
        ("torch @ ${PYTORCH_WHEELS}/cpu/torch-1.9.1%2Bcpu-cp38-cp38-linux_x86_64.whl", False),
        ("torch @ ${PYTORCH_WHEELS}/cpu/torch-1.9.1-cp38-cp38-linux_x86_64.whl", True),
        ("torch @ ${PYTORCH_WHEELS}/cu111/torch-1.9.1%2Bcu111-cp38-cp38-linux_x86_64.whl", True),
        ("torchserve==0.5.0", False),
        ("numpy==1.19.5", False),
    ],
)
def test_what_is_an_accelerator_package(line: str, bad: bool) -> None:
    entry = f"{line} \\\n    --hash=sha256:{'0' * 64}\n"
    assert offenders(f"# A comment\n{entry}") == [entry] * bad
