"""`dlc push` of a real image to a real registry on loopback, and back by digest."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import pytest

from builder.engine.namespace import local_name
from builder.matrix.targets import load_targets
from builder.registry.client import DOCKER_MANIFEST, RegistryClient
from tests.images.conftest import INFERENCE, ROOT, TRAINING, Image, dlc
from tests.images.registries import Registry, running

pytestmark = pytest.mark.images


@pytest.fixture(scope="module")
def registry(registry_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    with running(Registry(program=registry_program, folder=folder)) as found:
        yield found


@pytest.mark.slow
def test_pushed_image_comes_back_by_its_digest(
    inference_image: Image, registry: Registry, tmp_path: Path
) -> None:
    where = ("--registry", f"{registry.host}/team", "--releases", str(tmp_path))
    result = dlc("push", INFERENCE, *where)
    assert result.returncode == 0, result.stderr
    reference, digest = result.stdout.strip().split("@")
    assert reference == f"{registry.host}/team/{INFERENCE}"

    name, tag = f"team/{INFERENCE}".split(":")
    reader = RegistryClient(registry.host)
    manifest = reader.manifest(name, digest)
    assert manifest is not None
    # SageMaker takes Docker's media types only (aws/amazon-sagemaker-feedback#180).
    assert manifest.media_type == DOCKER_MANIFEST
    labels = inference_image.inspected["Config"]["Labels"]
    # An image of our own, not of a release of the official ones, has no short tags.
    assert set(reader.tags(name)) == {tag, f"{tag}-v1.0", f"key-{labels['dlc.key'][:16]}"}
    [recorded] = tmp_path.iterdir()
    assert digest in recorded.read_text("utf-8")

    repository = reference.rsplit(":", 1)[0]
    pulled = inference_image.client.images.pull(f"{repository}@{digest}")
    assert pulled.attrs["RootFS"] == inference_image.inspected["RootFS"]
    assert pulled.labels == labels
    inference_image.client.images.remove(f"{repository}@{digest}", noprune=True)
    assert reference not in inference_image.inspected["RepoTags"]

    again = dlc("push", INFERENCE, *where)
    assert again.stdout == result.stdout


@pytest.mark.usefixtures("training_image")
def test_registry_that_does_not_answer_is_one_clear_message(closed_port: int) -> None:
    result = dlc("push", TRAINING, "--registry", f"127.0.0.1:{closed_port}/team")
    assert result.returncode == 14
    assert f"127.0.0.1:{closed_port}/team/huggingface-pytorch-training" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.usefixtures("client")
def test_image_that_was_not_built_is_one_clear_message(closed_port: int) -> None:
    result = dlc("push", "*neuron*", "--registry", f"127.0.0.1:{closed_port}/team")
    assert result.returncode == 14
    assert "run `dlc build huggingface-pytorch-inference-neuron" in result.stderr


def test_stand_in_is_refused_even_under_a_real_name(
    closed_port: int, client: docker.DockerClient, tmp_path: Path
) -> None:
    # Of a matrix of its own, so that no tag of a real target is touched.
    matrix = tmp_path / "matrix.yaml"
    text = (ROOT / "tests" / "golden" / "matrix.yaml").read_text("utf-8")
    matrix.write_text(text.replace("transformers: 4.6.1", "transformers: 4.6.0"), "utf-8")
    target = load_targets(matrix)[0]
    assert target.name not in {each.name for each in load_targets(ROOT / "matrix.yaml")}

    def push(labels: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Push an image that is nothing but labels."""
        words = " ".join(f'{name}="{value}"' for name, value in labels.items())
        client.api.import_image_from_data(
            bytes(1024),  # the end of a tar
            repository=local_name(target.repository),
            tag=target.tag,
            changes=[f"LABEL {words}"],
        )
        try:
            return dlc(
                *(
                    "--matrix",
                    str(matrix),
                    "push",
                    target.name,
                    "--registry",
                    f"127.0.0.1:{closed_port}/team",
                )
            )
        finally:
            client.images.remove(local_name(target.name))

    unknown = push(target.labels())
    assert (unknown.returncode, unknown.stdout) == (14, "")
    assert unknown.stderr.startswith(f"dlc: the image {target.name} does not say what it was built")
    known = {**target.labels(), "dlc.key": "0" * 64}
    real = push(known)
    assert (real.returncode, real.stdout) == (14, "")
    assert real.stderr.startswith(f"dlc: 127.0.0.1:{closed_port}/team/{target.name}: ")
    refused = push({**known, "dlc.stand-in": "ubuntu18.04 torch.whl"})
    assert (refused.returncode, refused.stdout) == (14, "")
    assert refused.stderr == (
        f"dlc: {target.name} is an image for tests, with a stand-in for ubuntu18.04 torch.whl; "
        "build the real one where its base and its wheels can be reached\n"
    )


def test_address_is_no_registry() -> None:
    result = dlc("push", INFERENCE, "--registry", "https://example.com/team")
    assert result.returncode == 2
    assert "without https://" in result.stderr
