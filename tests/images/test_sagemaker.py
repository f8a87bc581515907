"""The SageMaker SDK itself, in its local mode: docs/examples/local_mode.py, as it is documented."""

from __future__ import annotations

import json
import os
import tarfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.images.conftest import Image
from tests.images.local_mode import EXAMPLES, LocalMode, offline, refused

pytestmark = pytest.mark.images

# The input of the reference documentation's batch transform.
RECORDS = """\
{"inputs":"this movie is terrible"}
{"inputs":"this movie is amazing"}
{"inputs":"SageMaker is pretty cool"}
{"inputs":"SageMaker is pretty cool"}
{"inputs":"this movie is terrible"}
{"inputs":"this movie is amazing"}
"""


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
    local_mode: LocalMode, inference_image: Image, tiny_model: Path, tmp_path: Path
) -> None:
    archive = write_archive(tmp_path, tiny_model)
    before = archive.read_bytes()
    said = run(local_mode, inference_image, archive, "--code", str(EXAMPLES / "json_lines"))
    assert said["answer"]["label"] in {"NEGATIVE", "POSITIVE"}
    assert archive.read_bytes() == before
    local_mode.check_clean(said, jobs=1)


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
