"""Train with the local mode of the SageMaker SDK, and ask the model before and after.

    python train_local_mode.py TRAINING_IMAGE INFERENCE_IMAGE --model FOLDER --train FOLDER \
        --ask "it is a great movie"

The session is that of local_mode.py, beside this file, and S3 is on this machine as there.
"""

from __future__ import annotations

import argparse
import json
import os
import tarfile
import tempfile
from pathlib import Path
from typing import Any

# First of all: it sets what the SDK reads when it is imported.
from local_mode import ask, local_session
from local_stand_ins import clean_up, docker, networks, s3
from sagemaker.huggingface import HuggingFace, HuggingFaceModel
from sagemaker.local import LocalSession

CODE = Path(__file__).with_name("tiny_finetuning")
ROLE = "arn:aws:iam::123456789012:role/any"  # nobody asks for it in local mode


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("training", help="a training image that the engine has")
    parser.add_argument("inference", help="the inference image of the same release")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model to tune")
    parser.add_argument("--train", type=Path, required=True, help="folder of CSV files")
    parser.add_argument("--ask", nargs="+", required=True, metavar="TEXT", help="what to ask it")
    parser.add_argument("--code", type=Path, default=CODE, help="folder with another train.py")
    parser.add_argument("--port", type=int, default=8080, help="the endpoint's port")
    options = parser.parse_args()

    said: dict[str, Any] = {}
    question = {"inputs": options.ask}
    before = networks()
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            # The container cannot reach this machine's moto: it gets the code as a folder.
            session = local_session(name, options.port, local_code=True)
            try:
                trained = train(options, session, folder)
                given = f"file://{pack(options.model, folder / 'given')}"
                said["before"] = ask(endpoint(options.inference, given, session), question)
                said["after"] = ask(endpoint(options.inference, trained, session), question)
            finally:
                take_over(folder, options.training)
    finally:
        said["exit_codes"] = clean_up(before)
        s3.stop()
    print(json.dumps(said))


def train(options: argparse.Namespace, session: LocalSession, folder: Path) -> str:
    """Run the job; the address of its model.tar.gz. SystemExit: it failed, and why."""
    estimator = HuggingFace(
        image_uri=options.training,
        entry_point="train.py",
        source_dir=str(options.code.absolute()),
        hyperparameters={"epochs": 20, "learning_rate": 0.005, "batch_size": 8},
        instance_type="local",
        instance_count=1,
        role=ROLE,
        py_version="py311",  # asked for, and not used: the image is given
        sagemaker_session=session,
    )
    try:
        estimator.fit(
            {
                "model": f"file://{options.model.absolute()}",
                "train": f"file://{options.train.absolute()}",
            }
        )
    except RuntimeError as error:
        raise SystemExit(f"{error}\n{reason(folder)}") from error
    address: str = estimator.model_data
    return address


def endpoint(image: str, model: str, session: LocalSession) -> HuggingFaceModel:
    return HuggingFaceModel(
        image_uri=image,
        model_data=model,
        role=ROLE,
        env={"HF_TASK": "text-classification"},
        sagemaker_session=session,
    )


def pack(model: Path, folder: Path) -> Path:
    """Write a model.tar.gz, the model's files at its root, into a new folder."""
    folder.mkdir()
    path = folder / "model.tar.gz"
    with tarfile.open(path, "w:gz", dereference=True) as tar:
        for file in sorted(model.iterdir()):
            tar.add(file, file.name)
    return path


def reason(folder: Path) -> str:
    """Why the job failed. SageMaker says it in `fit`'s error; local mode leaves it in a file."""
    for path in folder.glob("*/compressed_artifacts/output.tar.gz"):
        with tarfile.open(path) as tar:
            if "failure" in tar.getnames() and (file := tar.extractfile("failure")):
                return file.read().decode()
    return "the training job failed without a reason: see its log above"


def take_over(folder: Path, image: str) -> None:
    """Own what the containers wrote as root, so that anybody can remove it."""
    owner = f"{os.getuid()}:{os.getgid()}"
    mount = ("-v", f"{folder}:/folder")
    docker("run", "--rm", *mount, "--entrypoint", "chown", image, "-R", owner, "/folder")


if __name__ == "__main__":
    main()
