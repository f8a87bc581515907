"""Variables, folders, limits and networks as people's other tools set them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import docker
import pytest

from builder.contract.conftest import Serve
from builder.contract.protocol import post, processes
from builder.contract.subject import Subject
from builder.engine.containers import text
from builder.serve.model_archive import tiny_files
from builder.serve.server import Server

pytestmark = pytest.mark.inference

# As Terraform, CDK and compose set a default that is nothing.
NOTHING = (
    "DLC_INPUT_URLS",
    "DLC_LOG_LEVEL",
    "DLC_MAX_PIXELS",
    "DLC_PING",
    "DLC_STOP_SECONDS",
    "DLC_USER",
    "HF_MODEL_ID",
    "HF_MODEL_REVISION",
    "HF_TASK",
    "HF_TOKEN",
    "HF_TRUST_REMOTE_CODE",
    "MMS_JOB_QUEUE_SIZE",
    "MMS_MAX_REQUEST_SIZE",
    "MMS_MAX_RESPONSE_SIZE",
    "SAGEMAKER_BIND_TO_PORT",
    "SAGEMAKER_MAX_PAYLOAD_IN_MB",
    "SAGEMAKER_MODEL_SERVER_TIMEOUT",
    "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS",
    "SAGEMAKER_MODEL_SERVER_WORKERS",
    "SAGEMAKER_MULTI_MODEL",
    "SAGEMAKER_PROGRAM",
    "SAGEMAKER_STARTUP_TIMEOUT",
)
GOOD = {"inputs": "I love this movie."}
LATER_SECONDS = 10
"""After the first worker is ready another one would have begun, if there were to be any."""

# Asks the server by IPv6, and says why that cannot be where the kernel has none.
IPV6 = """
import os, socket, sys
if not os.path.exists("/proc/net/if_inet6") or not open("/proc/net/if_inet6").read():
    sys.exit("no IPv6 here")
peer = socket.create_connection(("::1", 8080), 60)
peer.sendall(b"GET /ping HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
print(peer.recv(100).decode("ascii"))
"""


@pytest.fixture(scope="module")
def model(
    client: docker.DockerClient, subject: Subject, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with the tiny model."""
    folder = tmp_path_factory.mktemp("model")
    for name, content in tiny_files(client, subject.image).items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def plain(client: docker.DockerClient, subject: Subject, model: Path) -> Iterator[Server]:
    """A server with one processor's time, where every variable is set to nothing."""
    options = {
        "nano_cpus": 10**9,
        "sysctls": {"net.ipv6.conf.all.disable_ipv6": "0"},
    }
    with ExitStack() as stack:
        start = Serve(client, subject.image, stack)
        yield start(model=model, environment=dict.fromkeys(NOTHING, ""), options=options)


def test_variables_set_to_nothing(plain: Server) -> None:
    """Count as not set: the model loads, and its task is told by its config.json."""
    answer = post(plain, GOOD)
    assert answer.status == 200, answer
    assert json.loads(answer.body)[0].keys() == {"label", "score"}


def test_one_processor(plain: Server) -> None:
    """One processor's time is one worker, however many processors there are."""
    time.sleep(LATER_SECONDS)
    _, workers = processes(plain.container)
    assert len(workers["model"]) == 1


def test_ipv6(plain: Server) -> None:
    """The port is open on IPv6 as it is on IPv4."""
    asked = plain.container.exec_run(["python", "-c", IPV6])
    if "no IPv6 here" in text(asked.output):
        pytest.skip("the engine's kernel has no IPv6")
    assert text(asked.output).startswith("HTTP/1.1 200"), asked


def test_folder_as_model_id(serve: Serve, model: Path) -> None:
    """HF_MODEL_ID=/opt/ml/model serves the model that is there, as in text-generation images."""
    server = serve(model=model, environment={"HF_MODEL_ID": "/opt/ml/model"})
    assert post(server, GOOD).status == 200
