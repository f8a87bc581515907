"""What the components promise that an image's label names, and whether it is there."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from builder.contract.subject import Subject
from builder.report.libraries import DRIVER
from builder.serve.programs import run_files
from builder.util.check import Check

if TYPE_CHECKING:
    import docker

__all__ = ["IMPORTS", "checks", "efa", "open_mpi", "package"]

COMPONENT_SECONDS = 300
IMPORTED = "imported"

# What is imported of a component of Python packages; `module` is the framework's.
IMPORTS: Mapping[str, str] = {
    "mpi4py": "import mpi4py; mpi4py.rc.initialize = False; import mpi4py.MPI",
    "horovod": "import horovod.{module}",
    "smdistributed-dataparallel": "import smdistributed.dataparallel.{module}",
    "smdistributed-modelparallel": "import smdistributed.modelparallel.{module}",
    "training-compiler": "import torch, torch_xla",
}
# The compiler is a build of PyTorch, and has its version.
DISTRIBUTIONS = {"training-compiler": "torch"}

OPEN_MPI = (
    "command -v mpirun && command -v sshd && mpirun --version | head -n 1"
    " && mpirun -np 2 --oversubscribe sh -c 'echo rank $OMPI_COMM_WORLD_RANK of 2' | sort"
)
EFA = "head -n 1 /opt/amazon/efa_installed_packages && /opt/amazon/efa/bin/fi_info --version"


def checks(client: docker.DockerClient, subject: Subject) -> list[Check]:
    """One for each component that the image's label names."""
    return [_check(client, subject, *each) for each in subject.components.items()]


def _check(client: docker.DockerClient, subject: Subject, kind: str, version: str) -> Check:
    def output(command: str) -> str:
        # A command that fails has said why, which is judged here.
        command = f"{{ {command}; }} 2>&1 || true"
        return run_files(client, subject.image, [], command, COMPONENT_SECONDS)

    if kind == "openmpi":
        entrypoint = client.images.get(subject.image).attrs["Config"]["Entrypoint"] or []
        return open_mpi(version, entrypoint, output(OPEN_MPI))
    if kind == "efa":
        return efa(version, output(EFA))
    if kind not in IMPORTS:
        return Check(name=kind, passed=False, detail="no checks are defined for this component")
    module = {"pytorch": "torch"}.get(subject.repository.framework, subject.repository.framework)
    code = f"{IMPORTS[kind].format(module=module)}; print({IMPORTED!r})"
    return package(kind, version, subject, output(f"python -c {shlex.quote(code)}"))


def open_mpi(version: str, entrypoint: list[str], output: str) -> Check:
    """Open MPI of this version, first on PATH; sshd; two processes; the entrypoint for its keys."""
    wanted = ["/opt/amazon/openmpi/bin/mpirun", "/usr/sbin/sshd", f"mpirun (Open MPI) {version}"]
    wanted += ["rank 0 of 2", "rank 1 of 2"]
    found = output.splitlines()
    wrong = [f"no {line}" for line in wanted if line not in found]
    if not entrypoint or not entrypoint[-1].endswith("/dlc_mpi.py"):
        wrong.append("dlc_mpi.py is not the entrypoint")
    detail = f"{version}, two processes" if not wrong else f"{'; '.join(wrong)} in {found}"
    return Check(name="openmpi", passed=not wrong, detail=detail)


def efa(version: str, output: str) -> Check:
    """EFA of this version of its installer, and libfabric's program."""
    first, _, then = output.partition("\n")
    passed = first.rpartition(":")[2].strip() == version and then.startswith("fi_info:")
    detail = f"{version}, {then.splitlines()[0]}" if passed else f"{version} is not in {output!r}"
    return Check(name="efa", passed=passed, detail=detail)


def package(kind: str, version: str, subject: Subject, output: str) -> Check:
    """A package of this version, which is imported as far as a machine without a GPU can.

    What asks for the driver's libraries is there; so is smdistributed, which asks for GPUs and for
    SageMaker's hosts, as soon as it is found.
    """
    name = DISTRIBUTIONS.get(kind, kind)
    installed = subject.packages.get(name, "missing")
    last = output.rpartition("\n")[2]
    found = last == IMPORTED or any(library in last for library in DRIVER)
    if kind.startswith("smdistributed"):
        found = found or "No module named 'smdistributed" not in last
    right = installed.partition("+")[0] == version
    detail = version if right else f"{name} is {installed}, and the label says {version}"
    ending = "" if last == IMPORTED else f"; {last}"
    return Check(name=kind, passed=found and right, detail=f"{detail}{ending}")
