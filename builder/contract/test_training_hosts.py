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


def reports(train: Train, hyperparameters: Mapping[str, object]) -> Sequence[Any]:
    """What every host says of a job that runs on all of them."""
    job = Job(
        code={"train.py": program("training_hosts.py")},
        hyperparameters=hyperparameters,
        hosts=HOSTS,
    )
    runs = [train(job, host) for host in HOSTS]
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
