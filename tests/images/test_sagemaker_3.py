"""Version 3 of the SageMaker SDK, in an environment of its own; README's example with both."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import uv

from tests.images.conftest import INFERENCE, ROOT, Image
from tests.images.local_mode import EXAMPLES, LocalMode, offline
from tests.images.test_sagemaker import write_archive

pytestmark = [pytest.mark.images, pytest.mark.slow]

LOCK = ROOT / "requirements" / "sagemaker3.txt"
URI = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/{INFERENCE}"
MODEL = "s3://bucket/model.tar.gz"
# Before and after a block of README: moto for SageMaker, and what it was asked for.
BEFORE = """
    import json, os
    from local_stand_ins import SILENT, s3
    session = {"Session": {"DefaultS3Bucket": "bucket"}}  # else its name is asked of AWS
    SILENT["SageMaker"]["PythonSDK"]["Modules"].update(session)
    with open("defaults.yaml", "w") as file:
        json.dump(SILENT, file)
    os.environ["SAGEMAKER_USER_CONFIG_OVERRIDE"] = os.path.abspath("defaults.yaml")
    os.environ["SAGEMAKER_VALIDATE_ROLE"] = "false"  # moto cannot simulate policies
    import boto3
    from moto.sagemaker import models

    def without(kind, name):
        # AWS leaves out what was not given, where moto has an empty object.
        make = kind.__init__
        def made(self, *arguments, **named):
            make(self, *arguments, **named)
            setattr(self, name, getattr(self, name) or None)
        kind.__init__ = made

    without(models.Model, "vpc_config")
    without(models.FakeEndpoint, "data_capture_config")
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"},
        "Action": "sts:AssumeRole"}
    role = boto3.client("iam").create_role(RoleName="any", AssumeRolePolicyDocument=json.dumps(
        {"Version": "2012-10-17", "Statement": [trust]}))["Role"]["Arn"]
"""
AFTER = """
    client = boto3.client("sagemaker")
    [endpoint] = client.list_endpoints()["Endpoints"]
    config = client.describe_endpoint(EndpointName=endpoint["EndpointName"])["EndpointConfigName"]
    [variant] = client.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
    model = client.describe_model(ModelName=variant["ModelName"])
    s3.stop()
    print()  # ends a line of version 3
    print(json.dumps({"instance": variant["InstanceType"], "role": model["ExecutionRoleArn"],
        **model["PrimaryContainer"]}))
"""


@pytest.fixture(scope="session")
def sdk3(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment that has version 3, as locked."""
    folder = tmp_path_factory.mktemp("sdk3")
    python = folder / "bin" / "python"
    options = ["--quiet", "--require-hashes", "--no-build", "--requirement", str(LOCK)]
    for command in (
        [sys.executable, "-m", "venv", "--without-pip", str(folder)],
        [uv.find_uv_bin(), "pip", "install", "--python", str(python), *options],
    ):
        subprocess.run(command, check=True, timeout=600)
    return str(python)


def readme(version: int) -> str:
    """The block of README for a version of the SDK, with an address for each that it leaves out."""
    text = (ROOT / "README.md").read_text("utf-8").partition("**Deploy**")[2]
    pattern = rf"```python\n(from sagemaker[^\n]*# version {version}\n.*?)```"
    [block] = re.findall(pattern, text, re.DOTALL)
    filled: str = block.replace('uri = "..."', "").replace("s3://...", MODEL)
    return f"uri = {URI!r}\n{filled}"


@pytest.mark.parametrize("version", [2, 3])
def test_readme_deploys(version: int, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """SageMaker is asked for an endpoint of the image, with the model."""
    python = request.getfixturevalue("sdk3") if version == 3 else sys.executable
    script = tmp_path / "deploys.py"
    parts = (textwrap.dedent(BEFORE), readme(version), textwrap.dedent(AFTER))
    script.write_text("\n".join(parts), "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES)}
    result = offline(tmp_path, script, environment=environment, python=python)
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout.splitlines()[-1])
    assert (said["Image"], said["ModelDataUrl"]) == (URI, MODEL)
    assert (said["instance"], said["role"].rpartition("/")[2]) == ("ml.m5.xlarge", "any")


def test_local_mode(
    sdk3: str, local_mode: LocalMode, inference_image: Image, tiny_model: Path, tmp_path: Path
) -> None:
    archive = write_archive(tmp_path, tiny_model)
    own = dataclasses.replace(local_mode, python=sdk3)
    said = own.run("local_mode_sdk3.py", inference_image.tag, str(archive))
    [answer] = said["answer"]
    assert answer["label"] in {"NEGATIVE", "POSITIVE"}
    own.check_clean(said, jobs=1)
