"""What the examples of local mode share: a stand-in for S3, the session's settings, and an end.

Imported before the SageMaker SDK, version 2 or 3, it starts moto on this machine and leads the SDK
to it: no AWS account is needed, and nothing is sent to AWS.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from typing import Any

from moto.server import ThreadedMotoServer

s3 = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
s3.start()
os.environ.update(
    AWS_ENDPOINT_URL="http://{}:{}".format(*s3.get_host_and_port()),
    # The SDK looks for credentials as soon as it is imported.
    AWS_ACCESS_KEY_ID="none",
    AWS_SECRET_ACCESS_KEY="none",
    AWS_DEFAULT_REGION="eu-west-1",
)

NETWORK = "sagemaker-local"  # of all that use local mode on an engine
# On every container of this run: the others are somebody else's.
LABEL = f"local-mode-example={uuid.uuid4()}"
# The SDK's defaults, with which it reports nothing to AWS.
SILENT: dict[str, Any] = {
    "SchemaVersion": "1.0",
    "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
}


def local_config(folder: str, port: int, *, local_code: bool = False) -> dict[str, Any]:
    """Settings of a session that keeps its files in a folder and serves at a port."""
    return {
        "local": {
            "container_root": folder,
            "serving_port": port,
            "local_code": local_code,
            "container_config": {"labels": [LABEL]},  # goes into Compose's file
        }
    }


def networks() -> set[str]:
    """The ids of local mode's network: one, or none."""
    name = f"name=^{NETWORK}$"
    return set(docker("network", "ls", "--quiet", "--no-trunc", "--filter", name).split())


def clean_up(before: set[str]) -> dict[str, int]:
    """Remove what local mode leaves of this run; the exit codes of its containers.

    The network goes too, unless it was there before or somebody else has a container on it.
    """
    names = docker("ps", "-a", "--filter", f"label={LABEL}", "--format", "{{.Names}}").split()
    codes = {}
    if names:
        docker("stop", *names)  # one that never answered still runs
        codes = {name: int(docker("inspect", "-f", "{{.State.ExitCode}}", name)) for name in names}
        docker("rm", *names)
    for network in networks() - before:
        if not docker("ps", "-aq", "--filter", f"network={network}"):
            # Somebody may join it at this moment: then Docker says so, and it stays.
            docker("network", "rm", network, check=False)
    return codes


def docker(*arguments: str, check: bool = True) -> str:
    command = ["docker", *arguments]
    return subprocess.run(command, check=check, stdout=subprocess.PIPE, text=True).stdout
