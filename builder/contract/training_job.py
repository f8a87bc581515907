"""A training job the way SageMaker starts it: /opt/ml laid out, `train` run, and what is left.

The layout is of
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from builder.contract.network import neighbour, network
from builder.contract.subject import Subject
from builder.engine.containers import created, put, refused, start, text
from builder.errors import ContainerError
from builder.serve.model_archive import pack, tar_header, tiny_files
from builder.serve.programs import FILES

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

__all__ = ["ML", "Job", "Run", "Train", "layout", "program", "tiny", "train", "unpack"]

ML = "/opt/ml"
PROGRAM = "train.py"
OFFLINE = {"HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "AWS_REGION": "eu-west-1"}

# Old images on a machine that does other work besides take their time to import.
JOB_SECONDS = 600
STOP_SECONDS = 30
POLL_SECONDS = 0.2
LOG_LINES = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What a training job is made of, in the words of CreateTrainingJob and of SageMaker's SDK.

    `code` are the files of /opt/ml/code, `channels` those of each channel, `files` any others by
    their paths. Hyperparameters are values of JSON; `program` is the entry point.
    """

    code: Mapping[str, bytes] = field(default_factory=dict)
    hyperparameters: Mapping[str, object] = field(default_factory=dict)
    channels: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    hosts: Sequence[str] = ("algo-1",)
    program: str = PROGRAM


def program(name: str) -> bytes:
    """One of the programs of builder/files, to be a job's script."""
    return (FILES / name).read_bytes()


def layout(job: Job, host: str) -> dict[str, bytes]:
    """The files of a job on one of its hosts, by their paths.

    >>> files = layout(Job(hyperparameters={"epochs": 3}), "algo-1")
    >>> json.loads(files["/opt/ml/input/config/hyperparameters.json"])["epochs"]
    '3'
    """
    instance = {"instance_group_name": "homogeneousCluster", "instance_type": "ml.m5.xlarge"}
    entry = {"sagemaker_program": job.program, "sagemaker_submit_directory": f"{ML}/code"}
    configuration = {
        # The SDK sends every value as JSON inside of a text.
        "hyperparameters": {k: json.dumps(v) for k, v in {**entry, **job.hyperparameters}.items()},
        "resourceconfig": {
            "current_host": host,
            "current_instance_type": instance["instance_type"],
            "current_group_name": instance["instance_group_name"],
            "hosts": list(job.hosts),
            "instance_groups": [{**instance, "hosts": list(job.hosts)}],
            "network_interface_name": "eth0",
        },
        "inputdataconfig": {
            channel: {
                "TrainingInputMode": "File",
                "S3DistributionType": "FullyReplicated",
                "RecordWrapperType": "None",
            }
            for channel in job.channels
        },
    }
    files = {
        f"{ML}/input/config/{name}.json": json.dumps(content).encode()
        for name, content in configuration.items()
    }
    for channel, content in job.channels.items():
        files |= {f"{ML}/input/data/{channel}/{name}": data for name, data in content.items()}
    files |= {f"{ML}/code/{name}": data for name, data in job.code.items()}
    return {**files, **job.files}


def unpack(tar: bytes) -> dict[str, bytes]:
    """The files of a tar of one folder, by their paths below it.

    >>> unpack(pack({"model/config.json": b"{}"}))
    {'config.json': b'{}'}
    """
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        members = [(member.name.partition("/")[2], opened.extractfile(member)) for member in opened]
        return {name: file.read() for name, file in members if file}


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A job on one host: a container that runs, or has ended."""

    container: Container

    def wait(self, timeout: float = JOB_SECONDS) -> int:
        """Wait until the job has ended; its exit code. ContainerError after timeout seconds."""
        message = f"the job did not end in {timeout:.0f} s; its log ends\n{self.log()}"
        with refused(message, "see what keeps it"):
            return int(self.container.wait(timeout=timeout)["StatusCode"])

    def done(self) -> Run:
        """The same, once it has ended with exit code 0; AssertionError with its log otherwise."""
        code = self.wait()
        assert code == 0, f"exit code {code}:\n{self.log()}"
        return self

    def wait_for(self, pattern: str, timeout: float = JOB_SECONDS) -> re.Match[str]:
        """Wait until the log has a pattern; ContainerError if the job ends without, or in time."""
        deadline = time.monotonic() + timeout
        while True:
            self.container.reload()  # before the log is read, which then is whole if it has ended
            log = self.log()
            if found := re.search(pattern, log):
                return found
            ended = self.container.status not in {"created", "running"}
            if ended or time.monotonic() > deadline:
                how = "ended" if ended else f"ran for {timeout:.0f} s"
                raise ContainerError(f"the job {how} without {pattern!r} in its log:\n{log}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> int:
        """Ask the job to stop, as SageMaker does with SIGTERM; its exit code, 137 if it did not."""
        self.container.stop(timeout=STOP_SECONDS)
        return self.wait()

    def log(self) -> str:
        """What the job wrote, both streams."""
        return text(self.container.logs(tail=LOG_LINES))

    def changed(self) -> set[str]:
        """The paths that the job added or changed."""
        return {str(each["Path"]) for each in self.container.diff() or []}

    def files(self, path: str) -> dict[str, bytes]:
        """The files below a folder of the container, by their paths in it."""
        with refused(f"the job left no {path}; its log ends\n{self.log()}", "see what it says"):
            return unpack(b"".join(self.container.get_archive(path)[0]))

    def report(self) -> Any:
        """What the script wrote into report.json of the output data."""
        return json.loads(self.files(f"{ML}/output/data")["report.json"])


class Train:
    """Starts jobs in containers of the image; all of them end with the test."""

    def __init__(
        self, client: docker.DockerClient, image: str, network: str, stack: ExitStack
    ) -> None:
        self.client, self.image, self.network = client, image, network
        self._stack = stack

    def __call__(
        self, job: Job, host: str = "", command: Sequence[str] = ("train",), hostname: str = ""
    ) -> Run:
        """Start a job on one of its hosts, by default the first.

        `hostname` is what the container believes it is called, as on SageMaker, where the job's
        names lead to the hosts without being theirs.
        """
        host = host or job.hosts[0]
        folders = [f"opt/ml/{name}" for name in ("", "code", "model", "output", "output/data")]
        container = self._stack.enter_context(
            created(
                self.client,
                self.image,
                command=list(command),
                hostname=hostname or host,
                environment={**OFFLINE, "TRAINING_JOB_NAME": "a-job", **job.environment},
                network=self.network,
                networking_config={
                    self.network: self.client.api.create_endpoint_config(aliases=[host])
                },
            )
        )
        put(container, "/", b"".join(map(tar_header, folders)) + pack(layout(job, host)))
        start(container, self.image)
        return Run(container=container)

    def neighbour(self, name: str, script: bytes, files: Mapping[str, bytes]) -> None:
        """Start a script of ours under a name on the network."""
        self._stack.enter_context(
            neighbour(
                self.client,
                self.image,
                self.network,
                names=[name],
                command=["python", "/srv/script.py"],
                files={"/srv/script.py": script, **files},
            )
        )


@pytest.fixture
def train(client: docker.DockerClient, subject: Subject) -> Iterator[Train]:
    """Starts jobs that end with the test, on a network of its own without a way out."""
    with network(client) as name, ExitStack() as stack:
        yield Train(client, subject.image, name, stack)


@pytest.fixture(scope="session")
def tiny(client: docker.DockerClient, subject: Subject) -> Mapping[str, bytes]:
    """The files of a tiny text-classification model, with random weights, of the image's making."""
    return tiny_files(client, subject.image)
