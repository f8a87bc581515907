"""Serve an image with the local mode of version 3 of the SageMaker SDK, and ask it once.

    python local_mode_sdk3.py IMAGE model.tar.gz

Its ModelBuilder starts no container of an image that is named alone; the session beneath it does,
with the calls of boto3's clients. No AWS account is needed, and nothing is sent to AWS.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import uuid
from pathlib import Path
from typing import Any

# First of all: it sets what the SDK reads when it is imported.
from local_stand_ins import SILENT, clean_up, local_config, networks, s3
from sagemaker.core.local.local_session import LocalSession


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("image", help="an inference image that the engine has")
    parser.add_argument("model", type=Path, help="model.tar.gz, in a folder of its own")
    parser.add_argument("--port", type=int, default=8080, help="the endpoint's port")
    options = parser.parse_args()

    said: dict[str, Any] = {}
    before = networks()
    try:
        with tempfile.TemporaryDirectory() as folder:
            session = LocalSession(default_bucket="local", sagemaker_config=SILENT)
            session.config = local_config(folder, options.port)
            said["answer"] = ask(session, options.image, options.model, {"inputs": "I like you."})
    finally:
        said["exit_codes"] = clean_up(before)
        s3.stop()
    print(json.dumps(said))


def ask(session: LocalSession, image: str, model: Path, question: Any) -> Any:
    """Deploy a model, ask it once, and stop it."""
    name = f"example-{uuid.uuid4()}"
    client = session.sagemaker_client
    client.create_model(
        ModelName=name,
        PrimaryContainer={
            "Image": image,
            "ModelDataUrl": f"file://{model.absolute()}",
            "Environment": {"HF_TASK": "text-classification"},
        },
    )
    variant = {"VariantName": "all", "ModelName": name, "InitialInstanceCount": 1}
    client.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[{**variant, "InstanceType": "local"}]
    )
    client.create_endpoint(EndpointName=name, EndpointConfigName=name)
    try:
        answer = session.sagemaker_runtime_client.invoke_endpoint(
            EndpointName=name, Body=json.dumps(question), ContentType="application/json"
        )
        return json.loads(answer["Body"].read())
    finally:
        client.delete_endpoint(EndpointName=name)


if __name__ == "__main__":
    main()
