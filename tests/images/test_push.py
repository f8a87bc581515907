"""`dlc push` to a real registry on loopback, and back by digest."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import pytest

from builder.targets import load_targets
from tests.images.conftest import INFERENCE, ROOT, TRAINING, Image, dlc

pytestmark = pytest.mark.images

CONFIGURATION = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@pytest.fixture(scope="module")
def registry(registry_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = folder / "config.yml"
    configuration.write_text(CONFIGURATION.format(folder=folder / "data", port=port))
    with subprocess.Popen([registry_program, "serve", str(configuration)]) as process:
        try:
            _wait(f"http://127.0.0.1:{port}/v2/")
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


def test_pushed_image_comes_back_by_its_digest(inference_image: Image, registry: str) -> None:
    result = dlc("push", INFERENCE, "--registry", f"{registry}/team")
    assert result.returncode == 0, result.stderr
    reference, digest = result.stdout.strip().split("@")
    assert reference == f"{registry}/team/{INFERENCE}"

    manifest = _manifest(registry, f"team/{INFERENCE.split(':')[0]}", digest)
    assert f"sha256:{hashlib.sha256(manifest).hexdigest()}" == digest
    # SageMaker takes Docker's media types only (aws/amazon-sagemaker-feedback#180).
    assert json.loads(manifest)["mediaType"] == (
        "application/vnd.docker.distribution.manifest.v2+json"
    )

    repository = reference.rsplit(":", 1)[0]
    pulled = inference_image.client.images.pull(f"{repository}@{digest}")
    assert pulled.id == inference_image.built["id"]
    inference_image.client.images.remove(f"{repository}@{digest}", noprune=True)
    assert reference not in inference_image.client.images.get(INFERENCE).tags

    again = dlc("push", INFERENCE, "--registry", f"{registry}/team")
    assert again.stdout == result.stdout


@pytest.mark.usefixtures("training_image")
def test_registry_that_does_not_answer_is_one_clear_message() -> None:
    result = dlc("push", TRAINING, "--registry", "127.0.0.1:1/team")
    assert result.returncode == 14
    assert "127.0.0.1:1/team/huggingface-pytorch-training" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.usefixtures("client")
def test_image_that_was_not_built_is_one_clear_message() -> None:
    result = dlc("push", "*neuron*", "--registry", "127.0.0.1:1/team")
    assert result.returncode == 14
    assert "run `dlc build huggingface-pytorch-inference-neuron" in result.stderr


def test_stand_in_is_refused_even_under_a_real_name(
    client: docker.DockerClient, tmp_path: Path
) -> None:
    # Of a matrix of its own, so that no tag of a real target is touched.
    matrix = tmp_path / "matrix.yaml"
    text = (ROOT / "tests" / "golden" / "matrix.yaml").read_text("utf-8")
    matrix.write_text(text.replace("transformers: 4.6.1", "transformers: 4.6.0"), "utf-8")
    target = load_targets(matrix)[0]
    assert target.name not in {each.name for each in load_targets(ROOT / "matrix.yaml")}
    assert client.images.list(target.name) == []

    def push(labels: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Push an image that is nothing but labels."""
        words = " ".join(f'{name}="{value}"' for name, value in labels.items())
        client.api.import_image_from_data(
            bytes(1024),  # the end of a tar
            repository=target.repository,
            tag=target.tag,
            changes=[f"LABEL {words}"],
        )
        try:
            return dlc(
                *("--matrix", str(matrix), "push", target.name, "--registry", "127.0.0.1:1/team")
            )
        finally:
            client.images.remove(target.name)

    real = push(target.labels())
    assert (real.returncode, real.stdout) == (14, "")
    assert real.stderr.startswith(f"dlc: 127.0.0.1:1/team/{target.name}: ")
    refused = push({**target.labels(), "dlc.stand-in": "ubuntu18.04 torch.whl"})
    assert (refused.returncode, refused.stdout) == (14, "")
    assert refused.stderr == (
        f"dlc: {target.name} is an image for tests, with a stand-in for ubuntu18.04 torch.whl; "
        "build the real one where its base and its wheels can be reached\n"
    )


def test_address_is_no_registry() -> None:
    result = dlc("push", INFERENCE, "--registry", "https://example.com/team")
    assert result.returncode == 14
    assert "without https://" in result.stderr


def _manifest(registry: str, repository: str, digest: str) -> bytes:
    request = urllib.request.Request(
        f"http://{registry}/v2/{repository}/manifests/{digest}",
        headers={"Accept": "application/vnd.docker.distribution.manifest.v2+json"},
    )
    with _opener().open(request, timeout=10) as answer:
        content: bytes = answer.read()
    return content


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _wait(url: str) -> None:
    for _ in range(100):
        try:
            _opener().open(url, timeout=1).close()
        except urllib.error.URLError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"{url} does not answer")
