"""One job on two hosts: containers on a network of their own, as resourceconfig.json names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from builder.contract.subject import Subject
from builder.contract.training_job import Job, Train, program

Record = Callable[[str, object], None]

pytestmark = pytest.mark.training

HOSTS = ("algo-1", "algo-2")
# The toolkit's first release that starts torchrun itself.
TORCHRUN = (2, 7)


def reports(
    train: Train,
    hyperparameters: Mapping[str, object],
    script: str = "training_hosts.py",
    prefix: str = "",
) -> Sequence[Any]:
    """What every host says of a job that runs on all of them.

    `prefix` is what their hostnames begin with, before the names that the job has for them.
    """
    job = Job(code={"train.py": program(script)}, hyperparameters=hyperparameters, hosts=HOSTS)
    runs = [train(job, host, hostname=f"{prefix}{host}") for host in HOSTS]
    return [run.done().report() for run in runs]


def check(found: Sequence[Any]) -> str:
    """That the hosts worked as one; what they came to."""
    assert [report["rank"] for report in found] == [0, 1]
    assert {report["size"] for report in found} == {2}
    assert {report["sum"] for report in found} == {3.0}
    assert {report["address"] for report in found} == {"algo-1"}
    assert found[0]["weights"] == pytest.approx(found[1]["weights"], abs=1e-6)
    return f"weights {', '.join(f'{value:.4f}' for value in found[0]['weights'])} on both"


def test_two_hosts(train: Train, record_property: Record) -> None:
    """torch.distributed over gloo, or TensorFlow's MultiWorkerMirroredStrategy with TF_CONFIG."""
    record_property("detail", check(reports(train, {})))


def test_two_hosts_by_torchrun(train: Train, subject: Subject, record_property: Record) -> None:
    """The SDK's distribution={"torch_distributed": {"enabled": True}}."""
    if subject.repository.framework != "pytorch":
        pytest.skip("torchrun is PyTorch's")
    if subject.version("sagemaker-pytorch-training") < TORCHRUN:
        pytest.skip("this release of the training toolkit does not start torchrun")
    found = reports(train, {"sagemaker_torch_distributed_enabled": True})
    record_property("detail", check(found))


def test_two_hosts_by_mpi(train: Train, subject: Subject, record_property: Record) -> None:
    """The SDK's distribution={"mpi": {"enabled": True}}, on hosts that are not called algo-1."""
    if "mpi4py" not in subject.components:
        pytest.skip("the image's label names no mpi4py, with which the toolkit starts its script")
    hyperparameters = {
        "sagemaker_mpi_enabled": True,
        "sagemaker_mpi_num_of_processes_per_host": 1,
        "sagemaker_mpi_custom_mpi_options": "",
    }
    found = reports(train, hyperparameters, "training_mpi.py", "ip-10-0-0-")
    assert [report["rank"] for report in found] == [0, 1]
    assert {report["size"] for report in found} == {2}
    assert {report["sum"] for report in found} == {3}
    assert [report["hosts"] for report in found] == [list(HOSTS)] * 2
    having = "horovod" in subject.components
    assert {report["horovod"] for report in found} == ({3.0} if having else {None})
    record_property("detail", f"{found[0]['library']}, ranks of {' and '.join(found[0]['hosts'])}")
