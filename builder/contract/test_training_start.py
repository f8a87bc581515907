"""How a training image starts a job, and what the job's script is given."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import docker
import pytest

from builder.contract.subject import Subject
from builder.contract.training_data import CANARY, HOSTILE, VALUES
from builder.contract.training_job import ML, Job, Train, program
from builder.serve.programs import run_files
from builder.serve.run import run

Record = Callable[[str, object], None]

pytestmark = pytest.mark.training

REPORT = {"train.py": program("training_report.py")}


def given(job: Job, train: Train) -> Any:
    """What the reporting script of a job was given."""
    return train(job).done().report()


def test_the_toolkit_is_there(
    client: docker.DockerClient, subject: Subject, record_property: Record
) -> None:
    """`train` on PATH, the framework's part of it named, and git-lfs for models on the Hub."""
    framework = subject.repository.framework
    names = ("sagemaker-training", f"sagemaker-{framework}-training")
    record_property("detail", ", ".join(f"{name} {subject.packages.get(name)}" for name in names))
    assert set(names) <= set(subject.packages)
    found = run_files(client, subject.image, [], "command -v train && git lfs version", 60)
    assert found.startswith("/opt/venv/bin/train\ngit-lfs/")
    config = client.images.get(subject.image).attrs["Config"]
    variables = dict(variable.split("=", 1) for variable in config["Env"])
    assert (
        variables["SAGEMAKER_TRAINING_MODULE"] == f"sagemaker_{framework}_container.training:main"
    )
    assert variables["DLC_CONTAINER_TYPE"] == "training"


def test_a_training_image_does_not_serve(client: docker.DockerClient, subject: Subject) -> None:
    """It says what it is, and at once."""
    with run(client, subject.image, environment={"HF_MODEL_ID": "unused"}) as server:
        code = server.container.wait(timeout=60)["StatusCode"]
        log = server.logs(20)
    assert code == 1
    assert "this is a training image" in log
    assert "serve the model with the inference image" in log


def test_hyperparameters(train: Train) -> None:
    """As arguments, each value as itself, and as variables; no shell looks into them."""
    values = VALUES
    hyperparameters = {name: value[0] for name, value in values.items()}
    run = train(Job(code=REPORT, hyperparameters=hyperparameters)).done()
    assert CANARY not in run.changed()
    report = run.report()
    arguments = report["arguments"]
    pairs = {n.lstrip("-"): v for n, v in zip(arguments[::2], arguments[1::2], strict=True)}
    assert pairs == {name: value[1] for name, value in values.items()}
    assert ("-s" in arguments) == ("s" in values)
    assert "--epochs" in arguments
    variables = {name: report["environment"][f"SM_HP_{name.upper()}"] for name in values}
    assert variables == {name: value[2] for name, value in values.items()}
    assert json.loads(report["environment"]["SM_HPS"]) == hyperparameters


def test_variables_and_channels(train: Train) -> None:
    """SM_*, as notebooks and the examples of Transformers read them."""
    channels = {"train": {"a.csv": b"x", "b.csv": b"y"}, "test": {"c.csv": b"z"}}
    report = given(Job(code=REPORT, channels=channels, hyperparameters={"epochs": 1}), train)
    wanted = {
        "SM_MODEL_DIR": f"{ML}/model",
        "SM_OUTPUT_DIR": f"{ML}/output",
        "SM_OUTPUT_DATA_DIR": f"{ML}/output/data",
        "SM_INPUT_DIR": f"{ML}/input",
        "SM_INPUT_CONFIG_DIR": f"{ML}/input/config",
        "SM_MODULE_DIR": f"{ML}/code",
        "SM_MODULE_NAME": "train",
        "SM_USER_ENTRY_POINT": "train.py",
        "SM_CHANNEL_TRAIN": f"{ML}/input/data/train",
        "SM_CHANNEL_TEST": f"{ML}/input/data/test",
        "SM_CURRENT_HOST": "algo-1",
        "SM_NETWORK_INTERFACE_NAME": "eth0",
        "SM_NUM_GPUS": "0",
        "SM_LOG_LEVEL": "20",
    }
    environment = report["environment"]
    assert {name: environment[name] for name in wanted} == wanted
    assert json.loads(environment["SM_HOSTS"]) == ["algo-1"]
    assert json.loads(environment["SM_CHANNELS"]) == ["test", "train"]
    assert json.loads(environment["SM_USER_ARGS"]) == ["--epochs", "1"]
    assert json.loads(environment["SM_TRAINING_ENV"])["model_dir"] == f"{ML}/model"
    assert json.loads(environment["SM_INPUT_DATA_CONFIG"])["train"]["TrainingInputMode"] == "File"
    assert int(environment["SM_NUM_CPUS"]) >= 1
    assert report["channels"] == {"train": ["a.csv", "b.csv"], "test": ["c.csv"]}
    assert report["folder"] == f"{ML}/code"


def archive(files: Mapping[str, bytes]) -> bytes:
    """A source directory as the SDK packs it: sourcedir.tar.gz."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            tar.addfile(member(name, len(content)), io.BytesIO(content))
    return buffer.getvalue()


SOURCE = {**REPORT, "beside.py": b"VALUE = 1\n", "conf/settings.json": b"{}"}
BUCKET = "bucket.internal"


@pytest.mark.parametrize("where", ["folder", "archive", "bucket"])
def test_source_directory(where: str, train: Train) -> None:
    """With modules and folders beside the entry point, from where the SDK or a user puts it."""
    packed = archive(SOURCE)
    places: Mapping[str, tuple[str, Mapping[str, bytes]]] = {
        "folder": ("/srv/source", {f"/srv/source/{name}": data for name, data in SOURCE.items()}),
        "archive": ("/srv/sourcedir.tar.gz", {"/srv/sourcedir.tar.gz": packed}),
        "bucket": ("s3://a-bucket/a-job/source/sourcedir.tar.gz", {}),
    }
    place, files = places[where]
    environment = {}
    if where == "bucket":
        train.neighbour(
            BUCKET,
            program("training_bucket.py"),
            {"/srv/bucket/a-bucket/a-job/source/sourcedir.tar.gz": packed},
        )
        environment = {
            "S3_ENDPOINT_URL": f"http://{BUCKET}",
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
        }
    job = Job(
        hyperparameters={"sagemaker_submit_directory": place, "import": "beside"},
        files=files,
        environment=environment,
    )
    report = given(job, train)
    assert report["beside"] == ["beside.py", "conf", "train.py"]
    assert report["imported"] == {"beside": f"{ML}/code/beside.py"}
    assert report["environment"]["SM_MODULE_DIR"] == place


OUT = "/tmp/outside"  # noqa: S108 - a path of the container
MEMBERS: Mapping[str, Sequence[tuple[str, bytes, str]]] = {
    "absolute": [(OUT, tarfile.REGTYPE, "")],
    "parent": [(f"../../..{OUT}", tarfile.REGTYPE, "")],
    "symlink": [("link", tarfile.SYMTYPE, "/tmp"), ("link/outside", tarfile.REGTYPE, "")],  # noqa: S108
    "chain": [
        ("here", tarfile.SYMTYPE, "."),
        ("up", tarfile.SYMTYPE, "here/../../../../tmp"),
        ("up/outside", tarfile.REGTYPE, ""),
    ],
    "hard link": [("link", tarfile.LNKTYPE, "/etc/passwd")],
    "device": [("null", tarfile.CHRTYPE, "")],
    "pipe": [("pipe", tarfile.FIFOTYPE, "")],
}


@pytest.mark.parametrize("kind", MEMBERS)
def test_hostile_archives(kind: str, train: Train) -> None:
    """What would be outside of the code's folder, or is no file, fails the job, which names it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.addfile(member("train.py", len(REPORT["train.py"])), io.BytesIO(REPORT["train.py"]))
        for name, what, link in MEMBERS[kind]:
            found = member(name, len(b"outside") if what == tarfile.REGTYPE else 0)
            found.type, found.linkname = what, link
            tar.addfile(found, io.BytesIO(b"outside") if found.size else None)
    place = "/srv/sourcedir.tar.gz"
    job = Job(
        hyperparameters={"sagemaker_submit_directory": place}, files={place: buffer.getvalue()}
    )
    run = train(job)
    assert run.wait() != 0
    assert OUT not in run.changed()
    failure = run.files(f"{ML}/output")["failure"].decode()
    assert any(f"{place} is not unpacked: {name} " in failure for name, _, _ in MEMBERS[kind])


def member(name: str, size: int) -> tarfile.TarInfo:
    """A file of an archive."""
    found = tarfile.TarInfo(name)
    found.size = size
    return found


def test_links_in_an_archive(train: Train) -> None:
    """Those that stay inside of the code's folder are kept."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.addfile(member("real.py", len(REPORT["train.py"])), io.BytesIO(REPORT["train.py"]))
        link = member("train.py", 0)
        link.type, link.linkname = tarfile.SYMTYPE, "real.py"
        tar.addfile(link)
    place = "/srv/sourcedir.tar.gz"
    hyperparameters = {"sagemaker_submit_directory": place}
    job = Job(hyperparameters=hyperparameters, files={place: buffer.getvalue()})
    assert given(job, train)["beside"] == ["real.py", "train.py"]


def test_a_shell_script_is_an_entry_point(train: Train) -> None:
    """Arguments arrive whole there too."""
    script = b'#!/bin/sh\nexec python report.py "$@"\n'
    code = {"run.sh": script, "report.py": REPORT["train.py"]}
    job = Job(code=code, program="run.sh", hyperparameters={"title": "two words", **HOSTILE})
    run = train(job).done()
    assert CANARY not in run.changed()
    arguments = run.report()["arguments"]
    pairs = {n.lstrip("-"): v for n, v in zip(arguments[::2], arguments[1::2], strict=True)}
    assert pairs == {"title": "two words", **HOSTILE}


def test_entry_point_by_variables(train: Train) -> None:
    """As of the variables, which are an image's own way to name its script."""
    job = Job(
        code={"other.py": REPORT["train.py"]},
        environment={"SAGEMAKER_PROGRAM": "other.py", "SAGEMAKER_SUBMIT_DIRECTORY": f"{ML}/code"},
    )
    assert given(job, train)["script"] == "other.py"


def test_what_sample_scripts_import(train: Train, subject: Subject) -> None:
    """The modules of the sample notebooks' scripts, images' among them, in one process."""
    modules = ["PIL.Image", "datasets", "numpy", "sklearn.metrics", "tqdm", "transformers"]
    modules.append({"pytorch": "torch", "tensorflow": "tensorflow"}[subject.repository.framework])
    code = "".join(f"import {module}\n" for module in modules) + "print('all imported')\n"
    assert "all imported" in train(Job(code={"train.py": code.encode()})).done().log()
