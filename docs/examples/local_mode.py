"""Serve an image with the local mode of the SageMaker SDK: an endpoint, then a batch transform.

    python local_mode.py IMAGE model.tar.gz --records input.jsonl

No AWS account is needed, and nothing is sent to AWS: moto stands in for S3, on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import uuid
from pathlib import Path
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

from sagemaker.huggingface import HuggingFaceModel  # noqa: E402
from sagemaker.local import LocalSession  # noqa: E402

NETWORK = "sagemaker-local"  # of all that use local mode on an engine
# On every container of this run: the others are somebody else's.
LABEL = f"local-mode-example={uuid.uuid4()}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("image", help="an inference image that the engine has")
    parser.add_argument("model", type=Path, help="model.tar.gz, in a folder of its own")
    parser.add_argument("--records", type=Path, help="a batch: one JSON request a line")
    parser.add_argument("--strategy", default="SingleRecord", help="or MultiRecord")
    parser.add_argument("--code", help="folder with an inference.py to add to the model")
    parser.add_argument("--port", type=int, default=8080, help="the endpoint's port")
    options = parser.parse_args()

    said = {}
    before = networks()
    try:
        with tempfile.TemporaryDirectory() as folder:
            session = local_session(folder, options.port)
            model = HuggingFaceModel(
                image_uri=options.image,
                model_data=f"file://{options.model.absolute()}",
                role="arn:aws:iam::123456789012:role/any",  # nobody asks for it in local mode
                env={"HF_TASK": "text-classification"},
                entry_point="inference.py" if options.code else None,
                source_dir=options.code,
                sagemaker_session=session,
            )
            said["answer"] = ask(model, {"inputs": "I like you."})
            if options.records:
                said["batch"] = transform(model, session, options.records, options.strategy)
    finally:
        said["exit_codes"] = clean_up(before)
        s3.stop()
    print(json.dumps(said))


def local_session(folder: str, port: int, *, local_code: bool = False) -> LocalSession:
    """A session that keeps its files in a folder and reports nothing to AWS.

    With local code a script's folder is mounted into the container, not sent through S3.
    """
    session = LocalSession(
        default_bucket="local",  # made at the first need, here in moto
        sagemaker_config={
            "SchemaVersion": "1.0",
            "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
        },
    )
    session.config = {
        "local": {
            "container_root": folder,
            "serving_port": port,
            "local_code": local_code,
            "container_config": {"labels": [LABEL]},  # goes into Compose's file
        }
    }
    return session


def ask(model: HuggingFaceModel, question: Any) -> Any:
    """Deploy a model, ask it once, and stop it."""
    predictor = model.deploy(initial_instance_count=1, instance_type="local")
    try:
        return predictor.predict(question)
    finally:
        predictor.delete_endpoint()


def transform(
    model: HuggingFaceModel, session: LocalSession, records: Path, strategy: str
) -> list[str]:
    """Run a model over the lines of a file in S3; the lines of its answer."""
    data = session.upload_data(str(records), key_prefix="input")
    job = model.transformer(
        instance_count=1, instance_type="local", strategy=strategy, assemble_with="Line"
    )
    # The logs would come from CloudWatch; local mode prints the container's own.
    job.transform(data, content_type="application/json", split_type="Line", logs=False)
    bucket, prefix = job.output_path.removeprefix("s3://").split("/", 1)
    [answer] = session.list_s3_files(bucket, prefix)
    text: str = session.read_s3_file(bucket, answer)
    return text.splitlines()


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


if __name__ == "__main__":
    main()
