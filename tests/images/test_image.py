"""What is in the built images, and what is not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import testinfra

from builder.engine.connection import Engine
from tests.images.conftest import CANARY, INFERENCE, ROOT, Image, dlc
from tests.images.counting import counted
from tests.images.layer_files import Entry, contains, look_at_layers
from tests.images.printed import printed

pytestmark = pytest.mark.images

# Places that hold what only a build needs. The base's own files are as its distribution made them.
LEFTOVERS = re.compile(
    r"(^|/)(uv|uvx|install\.sh|tools\.lock)$|\.whl$|^mnt/.|^srv/.|^tmp/.|^root/\.cache"
    r"|^var/lib/apt/lists/.*_Packages|^var/cache/apt/.*\.(deb|bin)$|^var/log/(apt/|dpkg)|^usr/bin/pip"
)


@pytest.fixture(scope="module")
def host(inference_image: Image) -> Iterator[Any]:
    """A shell in a container of the inference image."""
    container = inference_image.client.containers.run(
        inference_image.tag, ["infinity"], entrypoint=["sleep"], detach=True, init=True
    )
    yield testinfra.get_host(f"docker://{container.id}")
    container.remove(force=True)


@pytest.mark.parametrize(
    ("expression", "version"),
    [
        ("sys.version", "3.11."),
        ("__import__('torch').__version__", "2.13.0+cpu"),
        ("__import__('transformers').__version__", "5.23.0"),
        ("__import__('importlib.metadata').metadata.version('multi-model-server')", "1.1.11"),
        (
            "__import__('importlib.metadata').metadata"
            ".version('sagemaker-huggingface-inference-toolkit')",
            "2.6.0",
        ),
        ("sys.prefix", "/opt/venv"),
    ],
)
def test_versions_are_those_of_the_tag(host: Any, expression: str, version: str) -> None:
    said = host.check_output("python -c %s", f"import sys; print({expression})")
    assert said.startswith(version)


def test_installed_packages_agree_with_each_other(host: Any) -> None:
    assert host.run("python -m pip check").rc == 0, host.run("python -m pip check").stdout


def test_java_is_there_and_the_server_can_write_its_files(host: Any) -> None:
    assert host.run("java -version").rc == 0
    assert host.file("/home/model-server/tmp").is_directory
    assert host.file("/home/model-server/tmp").user == "model-server"


def test_locks_in_the_image_are_the_committed_ones(host: Any) -> None:
    folder = ROOT / "images" / INFERENCE.replace(":", "/")
    for name in ("framework.lock", "libraries.lock"):
        assert host.file(f"/opt/dlc/{name}").content_string == (folder / name).read_text("utf-8")


def test_modules_are_compiled(host: Any) -> None:
    cached = (
        "/opt/venv/lib/python3.11/site-packages/transformers/__pycache__/__init__.cpython-311.pyc"
    )
    assert host.file(cached).exists


def test_all_of_python_has_one_time(host: Any) -> None:
    """What a later layer's step finds with another it would touch, and so have again."""
    assert host.check_output("find /opt/venv/lib -type f -newermt @1577836800") == ""


def test_bytecode_is_that_of_its_sources(host: Any) -> None:
    """Of the distribution's Python, too: what had another time would be compiled at each start."""
    # Thousands of lines: they are looked at where they are written.
    said = host.check_output(
        "python -v -c %s 2>&1 | grep --extended-regexp --only-matching %s",
        "import json, torch, transformers",
        "bytecode is stale|matches /usr/lib/python3.11/json/__init__.py|import 'transformers'",
    )
    assert "bytecode is stale" not in said
    assert "matches /usr/lib/python3.11/json/__init__.py" in said
    assert "import 'transformers'" in said, "it came to its end"


def test_java_maps_its_archive(host: Any) -> None:
    assert host.run("java -Xshare:on -XX:+UseG1GC -version").rc == 0


def test_configuration_is_the_contract(inference_image: Image) -> None:
    config = inference_image.inspected["Config"]
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    assert config["Entrypoint"] == ["python", "/usr/local/bin/dockerd-entrypoint.py"]
    assert config["Cmd"] == ["serve"]
    labels = config["Labels"]
    assert labels["com.amazonaws.sagemaker.capabilities.accept-bind-to-port"] == "true"
    assert labels["com.amazonaws.sagemaker.capabilities.multi-models"] == "true"
    assert labels["org.opencontainers.image.version"] == INFERENCE.split(":")[1]
    assert labels["dlc.base"].split()[0] in ("pulled", "bootstrapped")
    assert len([name for name in labels if name.startswith("com.amazonaws.")]) <= 10


def test_build_prints_what_the_engine_has(inference_image: Image) -> None:
    assert inference_image.built["id"] == inference_image.inspected["Id"]
    assert inference_image.built["size"] == inference_image.inspected["Size"]


def test_nothing_to_do_asks_the_engine_once(
    images: dict[str, Image], engine: Engine, tmp_path: Path
) -> None:
    with counted(engine.host.removeprefix("unix://"), tmp_path) as (host, asked):
        result = dlc("build", *images, DOCKER_HOST=host)
        assert result.returncode == 0, result.stderr
        assert result.stdout.count("up to date") == len(images) == 2
        assert asked == ["GET /images/json"]


def test_no_tool_cache_or_secret_stays_in_any_layer(
    images: dict[str, Image], client: docker.DockerClient, secret_bundle: Path
) -> None:
    """Of both images, each layer once; a base is as its makers made it."""
    secrets = list(dict.fromkeys(_secrets(secret_bundle, images.values())))
    read = Counter[str]()

    def strays(entry: Entry) -> Iterator[str]:
        read["files" if entry.file else "others"] += 1
        # Logs are there, and empty: removed, a base's would leave a mark with a time.
        is_log = entry.name.startswith("var/log/") and not entry.size
        if not entry.is_folder and not is_log and LEFTOVERS.search(entry.name):
            yield entry.name
        if entry.file and contains(entry.file, secrets):
            yield f"the build secret is in {entry.name}"

    found = look_at_layers(client, [image.tag for image in images.values()], strays)
    assert [layer for layers in found for layer in layers[1:] if layer] == []
    assert read["files"] > 50_000


def test_both_images_share_their_framework_layer(images: dict[str, Image]) -> None:
    history = images[INFERENCE].client.images.get(images[INFERENCE].tag).history()
    layers = [
        step["CreatedBy"]
        for step in reversed(history)
        if step["Size"] or "COPY" in step["CreatedBy"]
    ]
    framework = next(
        i for i, text in enumerate(layers) if "/mnt/install.sh /opt/dlc/framework" in text
    )
    assert len(_shared(images)) > framework


def test_training_image_says_that_it_does_not_serve(training_image: Image) -> None:
    container = training_image.client.containers.create(training_image.tag, ["serve"])
    try:
        container.start()
        assert container.wait(timeout=60)["StatusCode"] != 0
        assert "training image" in container.logs().decode()
    finally:
        container.remove(force=True)


def test_training_image_has_its_libraries(training_image: Image) -> None:
    said = printed(
        training_image.client,
        training_image.tag,
        ["python", "-c", "import datasets, torch; print(datasets.__version__, torch.__version__)"],
    )
    assert said.decode().split() == ["5.2.0", "2.13.0+cpu"]


def _shared(images: dict[str, Image]) -> list[str]:
    """The digests of the layers that both images begin with."""
    ours, theirs = (image.inspected["RootFS"]["Layers"] for image in images.values())
    return [a for a, b in zip(ours, theirs, strict=False) if a == b]


def _secrets(bundle: Path, images: Iterable[Image]) -> Iterator[bytes]:
    """The canary, and the middle line of each certificate that is no public authority's.

    Public are those of the distribution's bundle and of the bundles that packages bring.
    """
    yield CANARY
    found = re.findall(
        rb"-----BEGIN CERTIFICATE-----\n(.*?)\n-----END", bundle.read_bytes(), re.DOTALL
    )
    lines = [body.splitlines()[len(body.splitlines()) // 2] for body in found]
    for image in images:
        public = printed(
            image.client,
            image.tag,
            ["-c", "cat /etc/ssl/certs/ca-certificates.crt $(find /opt/venv -name cacert.pem)"],
            entrypoint=["sh"],
        )
        yield from (line for line in lines if line not in public)
