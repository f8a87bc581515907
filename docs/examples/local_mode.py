"""Serve an image with the local mode of the SageMaker SDK: an endpoint, then a batch transform.

    python local_mode.py IMAGE model.tar.gz --records input.jsonl

No AWS account is needed, and nothing is sent to AWS: moto stands in for S3, on this machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

# First of all: it sets what the SDK reads when it is imported.
from local_stand_ins import SILENT, clean_up, local_config, networks, s3
from sagemaker.huggingface import HuggingFaceModel
from sagemaker.local import LocalSession


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
        sagemaker_config=SILENT,
    )
    session.config = local_config(folder, port, local_code=local_code)
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


if __name__ == "__main__":
    main()
