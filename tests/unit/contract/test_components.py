"""The contract of components: what their labels promise, and what is made of what an image says."""

from __future__ import annotations

import pytest

from builder.contract.components import IMPORTS, efa, open_mpi, package
from builder.contract.subject import Subject, components, parse
from builder.matrix.components import KINDS
from builder.matrix.target import Target

NAME = "huggingface-pytorch-training:1.9.1-transformers4.12.3-gpu-py38-cu111-ubuntu20.04"
ENTRYPOINT = ["python", "/usr/local/bin/dlc_mpi.py"]
OPEN_MPI = """\
/opt/amazon/openmpi/bin/mpirun
/usr/sbin/sshd
mpirun (Open MPI) 4.1.1
rank 0 of 2
rank 1 of 2"""
EFA = "# EFA installer version: 1.12.1\nfi_info: 1.12.1amzn1.0\nlibfabric: 1.12.1amzn1.0"


def subject(**packages: str) -> Subject:
    """A training image with packages."""
    repository, tag = parse(NAME)
    named = {name.replace("_", "-"): version for name, version in packages.items()}
    return Subject(image=NAME, repository=repository, tag=tag, packages=named)


def test_a_rows_label_is_read_back(small: dict[str, Target]) -> None:
    target = small[NAME]
    assert components(target.labels().get("dlc.components", "")) == {}
    label = {"efa": "1.12.1", "openmpi": "4.1.1", "mpi4py": "3.0.3"}
    assert components(" ".join(f"{kind}={version}" for kind, version in label.items())) == label


def test_every_kind_has_its_promise() -> None:
    assert {*IMPORTS, "openmpi", "efa"} == set(KINDS)


def test_open_mpi() -> None:
    found = open_mpi("4.1.1", ENTRYPOINT, OPEN_MPI)
    assert (found.passed, found.detail) == (True, "4.1.1, two processes")


@pytest.mark.parametrize(
    ("version", "entrypoint", "said", "wrong"),
    [
        ("4.1.4", ENTRYPOINT, OPEN_MPI, "no mpirun (Open MPI) 4.1.4 in"),
        ("4.1.1", ENTRYPOINT, OPEN_MPI.replace("/opt/amazon/openmpi", "/usr"), "no /opt/amazon"),
        ("4.1.1", ENTRYPOINT, OPEN_MPI.replace("/usr/sbin/sshd\n", ""), "no /usr/sbin/sshd"),
        ("4.1.1", ENTRYPOINT, OPEN_MPI.replace("rank 1", "rank 0"), "no rank 1 of 2"),
        ("4.1.1", ["python", "/usr/local/bin/dockerd-entrypoint.py"], OPEN_MPI, "dlc_mpi.py is"),
        ("4.1.1", [], OPEN_MPI, "dlc_mpi.py is not the entrypoint"),
    ],
)
def test_another_open_mpi(version: str, entrypoint: list[str], said: str, wrong: str) -> None:
    found = open_mpi(version, entrypoint, said)
    assert not found.passed
    assert found.detail.startswith(wrong)


@pytest.mark.parametrize(
    ("version", "said", "passed"),
    [
        ("1.12.1", EFA, True),
        ("1.12.2", EFA, False),
        ("2.1", EFA.replace("1.12.1", "1.12.1.2.1"), False),
        ("1.12.1", EFA.partition("\n")[0], False),
        ("1.12.1", "", False),
    ],
)
def test_efa(version: str, said: str, passed: bool) -> None:
    assert efa(version, said).passed == passed


DRIVERLESS = "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory"
GONE = "ModuleNotFoundError: No module named '{}'"


@pytest.mark.parametrize(
    ("kind", "version", "installed", "said", "passed"),
    [
        ("mpi4py", "3.0.3", "3.0.3", "imported", True),
        ("mpi4py", "3.0.3", "3.1.4", "imported", False),
        ("mpi4py", "3.0.3", "3.0.3", "Traceback\nImportError: libmpi.so.40: cannot open", False),
        ("horovod", "0.21.3", "0.21.3", "a warning\nimported", True),
        ("horovod", "0.21.3", "0.21.3", f"Traceback\n{DRIVERLESS}", True),
        ("horovod", "0.21.3", "0.21.3", GONE.format("horovod.torch"), False),
        ("smdistributed-dataparallel", "1.2.0", "1.2.0", "RuntimeError: no GPU is visible", True),
        (
            *("smdistributed-dataparallel", "1.2.0", "1.2.0"),
            *(GONE.format("smdistributed.dataparallel"), False),
        ),
        ("smdistributed-modelparallel", "1.4.0", "1.3.1", "RuntimeError: no GPU", False),
        ("training-compiler", "1.9.1", "1.9.1+cu111", "imported", True),
        ("training-compiler", "1.9.1", "1.9.1", GONE.format("torch_xla"), False),
    ],
)
def test_packages(kind: str, version: str, installed: str, said: str, passed: bool) -> None:
    name = "torch" if kind == "training-compiler" else kind
    found = package(kind, version, subject(**{name: installed}), said)
    assert found.passed == passed, found.detail
    assert found.detail.partition(";")[0] in {
        version,
        f"{name} is {installed}, and the label says {version}",
    }


def test_a_package_that_is_not_installed() -> None:
    found = package("mpi4py", "3.0.3", subject(), GONE.format("mpi4py"))
    assert not found.passed
    assert found.detail.startswith(
        "mpi4py is missing, and the label says 3.0.3; ModuleNotFoundError"
    )
