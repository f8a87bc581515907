"""The SageMaker SDK itself, in its local mode: docs/examples/local_mode.py, as it is documented."""

from __future__ import annotations

import json
import os
import tarfile
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker.errors
import pytest

from tests.images.conftest import Image
from tests.images.local_mode import EXAMPLES, NETWORK, LocalMode, networks, offline, refused

pytestmark = [pytest.mark.images, pytest.mark.slow]

# The input of the reference documentation's batch transform.
RECORDS = """\
{"inputs":"this movie is terrible"}
{"inputs":"this movie is amazing"}
{"inputs":"SageMaker is pretty cool"}
{"inputs":"SageMaker is pretty cool"}
{"inputs":"this movie is terrible"}
{"inputs":"this movie is amazing"}
"""


@pytest.fixture
def neighbours(local_mode: LocalMode, inference_image: Image) -> Iterator[Sequence[Any]]:
    """Somebody else's jobs in local mode, as Docker has them: one runs, and one has ended."""
    client = local_mode.client
    made = [] if local_mode.before else [client.networks.create(NETWORK)]
    containers: list[Any] = []
    try:
        for command in ("sleep 600", "true"):
            containers.append(
                client.containers.run(
                    inference_image.tag,
                    entrypoint=command.split(),
                    network=NETWORK,
                    init=True,
                    detach=True,
                )
            )
        containers[1].wait()
        yield containers
    finally:
        for container in containers:
            with suppress(docker.errors.NotFound):
                container.remove(force=True)
        for network in made:
            with suppress(docker.errors.APIError):  # gone, or another job has joined it
                network.remove()


def states(containers: Sequence[Any]) -> list[str]:
    """The state of each container; docker.errors.NotFound: it is gone."""
    for container in containers:
        container.reload()
    return [container.status for container in containers]


def run(local_mode: LocalMode, image: Image, model: Path, *options: str) -> dict[str, Any]:
    return local_mode.run("local_mode.py", image.tag, str(model), *options)


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


def test_endpoint_and_batch_of_single_records(
    local_mode: LocalMode, inference_image: Image, tiny_model: Path, tmp_path: Path
) -> None:
    said = run(
        local_mode,
        inference_image,
        write_archive(tmp_path, tiny_model),
        *("--records", write_records(tmp_path)),
    )
    [answer] = said["answer"]
    assert answer["label"] in {"NEGATIVE", "POSITIVE"}
    # The pipeline's own answer to each request: a list of one.
    answers = [json.loads(line) for line in said["batch"]]
    check_labels([label for [label] in answers])
    local_mode.check_clean(said, jobs=2)


def test_code_in_the_archive_answers_many_records_at_once(
    local_mode: LocalMode, inference_image: Image, tiny_model: Path, tmp_path: Path
) -> None:
    archive = write_archive(tmp_path, tiny_model, EXAMPLES / "json_lines")
    said = run(
        local_mode,
        inference_image,
        archive,
        *("--records", write_records(tmp_path), "--strategy", "MultiRecord"),
    )
    assert said["answer"]["label"] in {"NEGATIVE", "POSITIVE"}
    check_labels([json.loads(line) for line in said["batch"]])
    local_mode.check_clean(said, jobs=2)


def test_code_that_the_sdk_adds_to_a_model(
    local_mode: LocalMode,
    inference_image: Image,
    tiny_model: Path,
    tmp_path: Path,
    neighbours: Sequence[Any],
) -> None:
    """Others have the network at the same time: it stays, and so do their containers."""
    archive = write_archive(tmp_path, tiny_model)
    before = archive.read_bytes()
    said = run(local_mode, inference_image, archive, "--code", str(EXAMPLES / "json_lines"))
    assert states(neighbours) == ["running", "exited"]
    assert said["answer"]["label"] in {"NEGATIVE", "POSITIVE"}
    assert archive.read_bytes() == before
    local_mode.check_clean(said, jobs=1)


def test_who_joins_the_network_keeps_it(
    local_mode: LocalMode, neighbours: Sequence[Any], tmp_path: Path
) -> None:
    """It was not there before the run, which ends first; with the last container it may go."""
    script = tmp_path / "ends.py"
    script.write_text("from local_stand_ins import clean_up\nprint(clean_up(set()))\n")
    environment = {**local_mode.environment(), "PYTHONPATH": str(EXAMPLES)}
    [network] = networks(local_mode.client)

    result = offline(tmp_path, script, environment=environment)
    assert (result.returncode, result.stdout.splitlines()[-1:]) == (0, ["{}"]), result.stderr
    assert states(neighbours) == ["running", "exited"]
    assert network in networks(local_mode.client)

    for neighbour in neighbours:
        neighbour.remove(force=True)
    result = offline(tmp_path, script, environment=environment)
    assert (result.returncode, result.stdout.splitlines()[-1:]) == (0, ["{}"]), result.stderr
    assert local_mode.networks() == []


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
