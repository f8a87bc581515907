"""The training contract's pure parts: how a job is laid out, and what its scripts tell."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import docker
import pytest

from builder.contract.subject import Subject, parse
from builder.contract.training_data import (
    ANY_NUMBER,
    QUESTIONS,
    last,
    metrics,
    serving_image,
    table,
)
from builder.contract.training_job import ML, Job, layout, program
from builder.serve.programs import FILES

NAME = "huggingface-pytorch-training:1.7.1-transformers4.6.1-gpu-py36-cu110-ubuntu18.04"


def subject(**packages: str) -> Subject:
    """A training image of a release, with packages."""
    repository, tag = parse(NAME)
    versions = {name.replace("_", "-"): version for name, version in packages.items()}
    return Subject(image=NAME, repository=repository, tag=tag, packages=versions)


def test_a_job_of_two_hosts() -> None:
    job = Job(
        code={"train.py": b"1"},
        hyperparameters={"epochs": 3, "flag": True, "name": "it's", "none": None},
        channels={"train": {"a/b.csv": b"x"}},
        files={"/srv/other": b"y"},
        hosts=("algo-1", "algo-2"),
    )
    files = layout(job, "algo-2")
    config = {
        name: json.loads(files.pop(f"{ML}/input/config/{name}.json"))
        for name in ("hyperparameters", "resourceconfig", "inputdataconfig")
    }
    assert files == {
        f"{ML}/code/train.py": b"1",
        f"{ML}/input/data/train/a/b.csv": b"x",
        "/srv/other": b"y",
    }
    assert config["hyperparameters"] == {
        "sagemaker_program": '"train.py"',
        "sagemaker_submit_directory": '"/opt/ml/code"',
        "epochs": "3",
        "flag": "true",
        "name": '"it\'s"',
        "none": "null",
    }
    assert config["resourceconfig"]["current_host"] == "algo-2"
    assert config["resourceconfig"]["hosts"] == ["algo-1", "algo-2"]
    assert config["resourceconfig"]["instance_groups"][0]["hosts"] == ["algo-1", "algo-2"]
    assert config["inputdataconfig"]["train"]["TrainingInputMode"] == "File"


def test_hyperparameters_name_another_source_directory() -> None:
    job = Job(hyperparameters={"sagemaker_submit_directory": "s3://bucket/key"}, program="run.sh")
    found = json.loads(layout(job, "algo-1")[f"{ML}/input/config/hyperparameters.json"])
    assert found == {
        "sagemaker_program": '"run.sh"',
        "sagemaker_submit_directory": '"s3://bucket/key"',
    }


def test_the_inference_image_of_the_same_release() -> None:
    of_release = "transformers4.6.1"
    tags = [
        "another:latest",
        NAME,
        f"huggingface-pytorch-inference:1.7.1-{of_release}-gpu-py36-cu110-ubuntu18.04",
        f"stand-in/huggingface-pytorch-inference:1.7.1-{of_release}-cpu-py36-ubuntu18.04",
        f"huggingface-pytorch-inference:1.10.0-{of_release}-gpu-py38-cu111-ubuntu20.04",
        f"huggingface-pytorch-inference:1.8.1-{of_release}-cpu-py36-ubuntu18.04",
        "huggingface-pytorch-inference:1.7.1-transformers4.10.2-cpu-py36-ubuntu18.04",
        f"huggingface-tensorflow-inference:1.7.1-{of_release}-cpu-py37-ubuntu18.04",
        f"huggingface-pytorch-inference-neuron:1.7.1-{of_release}-neuron-py37-sdk1.17.1-ubuntu18.04",
    ]

    def found(of: list[str]) -> str:
        images = [{"RepoTags": [tag], "Labels": None} for tag in of]
        api = SimpleNamespace(images=lambda: images)
        client = cast("docker.DockerClient", SimpleNamespace(api=api))
        return serving_image(client, subject())

    assert found(tags) == tags[3]
    assert found(tags[:3] + tags[4:]) == tags[2], "of the same framework's version"
    assert found(tags[4:]) == tags[5], "for the CPU"
    assert found(tags[:2] + tags[4:5]) == tags[4]
    assert found(tags[:2] + tags[6:]) == ""


TRAINER = (
    "{'loss': 0.914, 'learning_rate': 4.58e-05, 'epoch': 0.17}\n"
    "{'eval_loss': 0.63, 'eval_accuracy': 0.66, 'eval_f1': 0.5, 'eval_precision': 1.0, "
    "'eval_recall': 0.33, 'eval_runtime': 0.2088, 'eval_samples_per_second': 57.4, 'epoch': 2.0}\n"
)
# As Transformers 5.3.0 prints the same.
QUOTED = re.sub(r": ([0-9.e-]+)", lambda found: f": '{float(found[1]):.4g}'", TRAINER)
KERAS = "6/6 - 3s - loss: 0.6931 - accuracy: 0.5000 - val_loss: 0.6900 - val_accuracy: 0.7500\n"
TRAINING = "huggingface-{}-training:2.9.0-transformers5.3.0-gpu-py312-cu130-ubuntu22.04"


def of_release(framework: str, transformers: str) -> Subject:
    """A training image of a framework, with a release of Transformers."""
    name = TRAINING.format(framework)
    repository, tag = parse(name)
    packages = {"transformers": transformers}
    return Subject(image=name, repository=repository, tag=tag, packages=packages)


@pytest.mark.parametrize(
    ("framework", "transformers", "log", "sets"),
    [
        ("pytorch", "4.57.1", TRAINER, 2),
        ("pytorch", "5.3.0", QUOTED, 1),
        ("tensorflow", "4.26.0", KERAS, 1),
    ],
)
def test_metrics_are_found_in_the_frameworks_lines_alone(
    framework: str, transformers: str, log: str, sets: int
) -> None:
    found = metrics(of_release(framework, transformers))
    assert len(found) == sets
    for name, pattern in (item for expressions in found for item in expressions.items()):
        assert last(pattern, log) is not None, name
        assert last(pattern, "INFO epoch 1, loss=0.5, accuracy=0.75") is None, name


def test_metrics_of_every_release_are_whole() -> None:
    expressions = metrics(of_release("pytorch", "5.3.0"))[0]
    assert "'eval_precision': '1'" in QUOTED
    for log in (TRAINER, QUOTED):
        found = {name: last(pattern, log) for name, pattern in expressions.items()}
        assert tuple(found.items()) == (
            *(("loss", 0.914), ("learning_rate", 4.58e-05), ("epoch", 2.0)),
            *(("eval_loss", 0.63), ("eval_accuracy", 0.66), ("eval_f1", 0.5)),
            *(("eval_precision", 1.0), ("eval_recall", 0.33)),
            *(("eval_runtime", 0.2088), ("eval_samples_per_second", 57.4)),
        )
    assert last(f"'x': {ANY_NUMBER}", "{'x': '1.234e+04'}") == 12340
    assert last(f"'x': {ANY_NUMBER}", "{'x': -2}") == -2


def test_the_page_has_the_expression_of_every_release(root: Path) -> None:
    assert ANY_NUMBER in (root / "docs/training.md").read_text("utf-8")


def test_the_data_of_the_fine_tuning() -> None:
    lines = table(2).decode().splitlines()
    assert lines[0] == "text,label"
    assert len(lines) == 1 + 2 * 12
    assert all(re.fullmatch(r"[a-z ]+,[01]", line) for line in lines[1:])
    assert not {question for question in QUESTIONS if any(question in line for line in lines)}


def report(folder: Path, *arguments: str, **variables: str) -> Any:
    """What training_report.py writes down."""
    (folder / "out").mkdir()
    environment = {**os.environ, "SM_OUTPUT_DATA_DIR": str(folder / "out"), **variables}
    subprocess.run(
        [sys.executable, str(FILES / "training_report.py"), *arguments],
        env=environment,
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return json.loads((folder / "out/report.json").read_text("utf-8"))


@pytest.mark.integration
def test_the_reporting_script(tmp_path: Path) -> None:
    channel = tmp_path / "data"
    channel.mkdir()
    (channel / "a.csv").touch()
    variables = {"SM_CHANNELS": '["train"]', "SM_CHANNEL_TRAIN": str(channel)}
    found = report(tmp_path, "--import", "json", "--text", "two words", **variables)
    assert found["arguments"] == ["--import", "json", "--text", "two words"]
    assert found["channels"] == {"train": ["a.csv"]}
    assert found["folder"] == str(tmp_path)
    assert found["imported"] == {"json": str(Path(json.__file__))}
    assert found["environment"]["SM_CHANNELS"] == '["train"]'
    assert program("training_report.py").startswith(b'"""')
