"""The SageMaker SDK itself, in its local mode: docs/examples/local_mode.py, as it is documented."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker.errors
import pytest

from builder import engine as engines
from builder import packages
from builder.models import make_tiny_model
from tests.images.conftest import Image

pytestmark = pytest.mark.images

EXAMPLES = Path(__file__).parents[2] / "docs/examples"
OFFLINE = Path(__file__).with_name("sagemaker_offline.py")
NETWORK = "sagemaker-local"
SECONDS = 600

# The input of the reference documentation's batch transform.
RECORDS = """\
{"inputs":"this movie is terrible"}
{"inputs":"this movie is amazing"}
{"inputs":"SageMaker is pretty cool"}
{"inputs":"SageMaker is pretty cool"}
{"inputs":"this movie is terrible"}
{"inputs":"this movie is amazing"}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalMode:
    """What a run of the example needs: a folder for all its files, an engine, a Compose."""

    folder: Path
    engine: engines.Engine
    image: Image
    path: str

    def run(self, model: Path, *options: str) -> dict[str, Any]:
        """Run the example; what it printed last. Nothing may be left in its temporary folder."""
        result = offline(
            self.folder,
            EXAMPLES / "local_mode.py",
            *(self.image.tag, str(model), "--port", str(free_port()), *options),
            environment={**self.engine.environment(), "PATH": self.path},
        )
        assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
        assert refused(self.folder) == []
        assert list((self.folder / "tmp").iterdir()) == []
        said: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
        return said

    def containers(self) -> list[Any]:
        """Containers, stopped ones too, that have a part of the folder mounted."""
        return [
            container
            for container in self.image.client.containers.list(all=True, ignore_removed=True)
            if any(str(self.folder) in mount.get("Source", "") for mount in mounts(container))
        ]


def mounts(container: Any) -> Sequence[dict[str, Any]]:
    found: Sequence[dict[str, Any]] = container.attrs.get("Mounts", [])
    return found


def offline(
    folder: Path, script: Path, *arguments: str, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a script that can reach this machine only, and knows no account of the user's."""
    for name in ("home", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    # Through a proxy on loopback a request would get away unseen.
    ours = {
        name: value
        for name, value in environment.items()
        if not name.upper().startswith(("AWS_", "SAGEMAKER_")) and "PROXY" not in name.upper()
    }
    return subprocess.run(
        [sys.executable, str(OFFLINE), str(folder / "refused"), str(script), *arguments],
        cwd=folder,
        env={**ours, "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


def refused(folder: Path) -> list[str]:
    """The hosts beyond this machine that the script wanted to reach."""
    return (folder / "refused").read_text("utf-8").splitlines()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def compose(engine: engines.Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH on which the SDK finds Compose, and pgrep, by which it stops what it started."""
    wanted: tuple[str, ...] = () if shutil.which("pgrep") else ("procps",)
    if not (shutil.which("docker-compose") or compose_plugin(engine)):
        names = ("docker-compose-v2", "docker-compose")
        wanted += (next((name for name in names if packages.offered(name)), names[-1]),)
    try:
        if wanted:
            packages.install(*wanted, say=print)
    except packages.InstallError as error:
        pytest.skip(f"local mode needs Docker Compose: {error}")
    path = os.environ["PATH"]
    if shutil.which("docker-compose") is None:
        # Many builds of the plugin do not call themselves v2, which the SDK looks for; as a
        # program of that name it takes any.
        folder = tmp_path_factory.mktemp("compose")
        (folder / "docker-compose").symlink_to(compose_plugin(engine))
        path = f"{folder}{os.pathsep}{path}"
    return path


def compose_plugin(engine: engines.Engine) -> str:
    """The file of the Docker command line's plugin; nothing where there is none."""
    plugins = '{{range .ClientInfo.Plugins}}{{if eq .Name "compose"}}{{.Path}}{{end}}{{end}}'
    return subprocess.run(
        ["docker", "info", "--format", plugins],
        env=engine.environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.fixture
def local_mode(
    tmp_path: Path, engine: engines.Engine, inference_image: Image, compose: str
) -> Iterator[LocalMode]:
    mode = LocalMode(folder=tmp_path, engine=engine, image=inference_image, path=compose)
    client = inference_image.client
    before = {network.id for network in client.networks.list(names=[NETWORK])}
    yield mode
    # Nothing to do but after a failure: the example removes what it made.
    for container in mode.containers():
        container.remove(force=True)
    for network in client.networks.list(names=[NETWORK]):
        if network.id not in before:
            with suppress(docker.errors.APIError):  # another job may have joined it
                network.remove()


@pytest.fixture(scope="session")
def model(inference_image: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model, the image's own work."""
    folder = tmp_path_factory.mktemp("tiny")
    content = make_tiny_model(inference_image.client, inference_image.tag)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        tar.extractall(folder, filter="data")
    return folder / "model"


def write_archive(folder: Path, model: Path, code: Path | None = None) -> Path:
    """Write a model.tar.gz, its files at the root, into a folder of its own."""
    path = folder / "archive" / "model.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        for file in sorted(model.iterdir()):
            tar.add(file, file.name)
        if code:
            tar.add(code, "code")
    return path


def write_records(folder: Path) -> str:
    path = folder / "input.jsonl"
    path.write_text(RECORDS, "utf-8")
    return str(path)


def check_labels(answers: Sequence[Any]) -> None:
    """One label for each record, the same for the same words and not the same for all."""
    texts = [json.loads(line)["inputs"] for line in RECORDS.splitlines()]
    assert len(answers) == len(texts)
    for answer in answers:
        assert answer["label"] in {"NEGATIVE", "POSITIVE"}
        assert 0 <= answer["score"] <= 1
    scores = {(text, answer["score"]) for text, answer in zip(texts, answers, strict=True)}
    assert len(scores) == len(set(texts))


def check_clean(local_mode: LocalMode, said: dict[str, Any], jobs: int) -> None:
    """Every container ended by itself when it was asked to, and none is left."""
    assert list(said["exit_codes"].values()) == [0] * jobs
    assert local_mode.containers() == []
    names = {network.name for network in local_mode.image.client.networks.list(names=[NETWORK])}
    assert NETWORK not in names


def test_endpoint_and_batch_of_single_records(
    local_mode: LocalMode, model: Path, tmp_path: Path
) -> None:
    said = local_mode.run(write_archive(tmp_path, model), "--records", write_records(tmp_path))
    [answer] = said["answer"]
    assert answer["label"] in {"NEGATIVE", "POSITIVE"}
    # The pipeline's own answer to each request: a list of one.
    answers = [json.loads(line) for line in said["batch"]]
    check_labels([label for [label] in answers])
    check_clean(local_mode, said, jobs=2)


def test_code_in_the_archive_answers_many_records_at_once(
    local_mode: LocalMode, model: Path, tmp_path: Path
) -> None:
    archive = write_archive(tmp_path, model, EXAMPLES / "json_lines")
    said = local_mode.run(
        archive, "--records", write_records(tmp_path), "--strategy", "MultiRecord"
    )
    assert said["answer"]["label"] in {"NEGATIVE", "POSITIVE"}
    check_labels([json.loads(line) for line in said["batch"]])
    check_clean(local_mode, said, jobs=2)


def test_code_that_the_sdk_adds_to_a_model(
    local_mode: LocalMode, model: Path, tmp_path: Path
) -> None:
    archive = write_archive(tmp_path, model)
    before = archive.read_bytes()
    said = local_mode.run(archive, "--code", str(EXAMPLES / "json_lines"))
    assert said["answer"]["label"] in {"NEGATIVE", "POSITIVE"}
    assert archive.read_bytes() == before
    check_clean(local_mode, said, jobs=1)


def test_requests_to_aws_are_seen_and_refused(tmp_path: Path) -> None:
    """What the runs above rest on: the SDK's report of a call, which they turn off."""
    script = tmp_path / "reports.py"
    script.write_text(
        textwrap.dedent(
            """
            import boto3
            from sagemaker.local import LocalSession

            session = LocalSession(boto3.Session("none", "none", region_name="eu-west-1"))
            session.sagemaker_client.create_model("model", {})
            """
        )
    )
    environment = {**os.environ, "DOCKER_HOST": "unix:///nowhere"}
    result = offline(tmp_path, script, environment=environment)
    assert result.returncode == 0, result.stderr
    assert "sm-pysdk-t-eu-west-1.s3.eu-west-1.amazonaws.com" in refused(tmp_path)
