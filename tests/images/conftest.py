"""Real images on a real engine: found, or started for these tests and stopped after them."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest

from builder.engine import apt, bases
from builder.engine import connection as engines
from builder.engine.namespace import local_name
from builder.matrix.targets import load_targets
from builder.serve.model_archive import make_tiny_model
from builder.util.state import state_directory
from builder.util.tar import unpack
from tests.images.local_mode import LocalMode, compose_plugin, networks, turn
from tests.images.mirror_server import gateway
from tests.images.small_matrix import SmallMatrix, files, write_small_matrix
from tests.own_namespace import left_of, namespace, shared_engine, stoppable, taking_turns
from tests.package_index import PackageIndex

ROOT = Path(__file__).parents[2]
INFERENCE = "huggingface-pytorch-inference:2.13.0-transformers5.23.0-cpu-py311-debian12"
TRAINING = "huggingface-pytorch-training:2.13.0-transformers5.23.0-cpu-py311-debian12"
# Stands in every bundle that builds get here, and so must stand in no layer.
CANARY = b"canary-of-the-build-secret-5d1f7c9a"


# Files whose images begin with nothing: they need not wait for the base of the real ones.
WITHOUT_BASE = ("test_push_tags", "test_push_oci", "test_signing", "test_push_platforms")
# The first of these builds the real images, while the next ones need none; then come those that
# take longest, as a long one that begins last is waited for alone.
LONG = (
    "test_image",
    "test_accelerators",
    *WITHOUT_BASE,
    "test_contract",
    "test_plan_and_bake",
    "test_sagemaker",
    "test_engine",
    "test_serve",
    "test_wheel_cache",
    "test_init",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; needs --no-loadscope-reorder where several work."""
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        name = item.path.stem
        return LONG.index(name) if item.path.parent == here and name in LONG else len(LONG)

    items.sort(key=place)


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """A built image, and the client of the engine that has it."""

    client: docker.DockerClient
    tag: str
    built: Mapping[str, Any]

    @property
    def inspected(self) -> Mapping[str, Any]:
        """What the engine says of it."""
        attributes: Mapping[str, Any] = self.client.images.get(self.tag).attrs
        return attributes


# What commands get on top of the environment, once the session has begun.
OWN: dict[str, str] = {}


def dlc(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would, from another folder, on our matrix if none is named."""
    matrix = () if "--matrix" in arguments else ("--matrix", str(ROOT / "matrix.yaml"))
    return subprocess.run(
        [sys.executable, "-m", "builder", *matrix, *arguments],
        cwd="/",
        env={**os.environ, **OWN, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="session", autouse=True)
def engine() -> Iterator[engines.Engine]:
    """The engine."""
    with pytest.MonkeyPatch.context() as patch, shared_engine() as shared:
        stoppable()
        running = shared.engine
        # The docker command line, which testinfra uses, must reach the same engine.
        patch.setenv("DOCKER_HOST", running.host)
        yield running


@pytest.fixture(scope="session")
def real_base(engine: engines.Engine) -> None:
    """The base of the real images."""
    [target] = [each for each in load_targets(ROOT / "matrix.yaml") if each.name == INFERENCE]
    base = target.base
    source = bases.BaseSource(name=base.name, image=base.image, bootstrap=base.bootstrap)
    bases.ensure(engine, source, say=print)


@pytest.fixture(scope="module", autouse=True)
def with_base(request: pytest.FixtureRequest) -> None:
    """Has the base made before whatever needs it: what has it once need not wait for it."""
    if request.path.stem not in WITHOUT_BASE:
        request.getfixturevalue("real_base")


@pytest.fixture(scope="session", autouse=True)
def own_namespace(client: docker.DockerClient) -> Iterator[str]:
    """This session's part of the engine; when it ends, nothing is left there."""
    with namespace(client) as name:
        yield name
        left = left_of(client, name)
    gone = left_of(client, name)
    assert not any(gone.values()), f"of {left} this stays: {gone}"


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run have."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


# What the state knows of layers, by their digests.
OF_LAYERS = ("contents", "sizes", "tiny-models")


@pytest.fixture(scope="session", autouse=True)
def own_state(
    engine: engines.Engine, tmp_path_factory: pytest.TempPathFactory, shared_folder: Path
) -> Iterator[Path]:
    """A state with all that the real one has, but records of builds and inventories of its own.

    What small images take must not tell how long the real ones do, and what was in them must not
    stay. What is in a layer is looked at once in a run, whichever worker has it in an image.
    """
    assert engine.buildx, "it is in the state by now"
    folder = tmp_path_factory.mktemp("state")
    for entry in state_directory().iterdir():
        if entry.name not in ("builds.json", "inventories", *OF_LAYERS):
            (folder / entry.name).symlink_to(entry)
    for name in OF_LAYERS:
        (shared_folder / name).mkdir(exist_ok=True)
        (folder / name).symlink_to(shared_folder / name)
    OWN["DLC_STATE"] = str(folder)
    yield folder
    OWN.clear()


@pytest.fixture(scope="session")
def client(engine: engines.Engine) -> Iterator[docker.DockerClient]:
    connected = engine.client(timeout=300)
    yield connected
    connected.close()


@pytest.fixture(scope="session")
def package_index(client: docker.DockerClient) -> Iterator[PackageIndex]:
    """The index of the small matrix, which builds can reach."""
    try:
        index = PackageIndex(*files(), host=gateway(client))
    except OSError as error:
        pytest.skip(f"the engine's bridge is not on this machine: {error}")
    with index:
        yield index


@pytest.fixture(scope="session")
def write_small(package_index: PackageIndex) -> Callable[[Path], SmallMatrix]:
    """Writes the small matrix, with its index, into a folder."""

    def write(folder: Path) -> SmallMatrix:
        write_small_matrix(folder, package_index.url)
        return SmallMatrix(folder=folder, index=package_index)

    return write


@pytest.fixture(scope="session")
def secret_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The machine's certificates and the canary, as a site behind a proxy has its own."""
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE")
    given = next((value for name in names if (value := os.environ.get(name))), None)
    system = Path(given or "/etc/ssl/certs/ca-certificates.crt")
    bundle = tmp_path_factory.mktemp("secret") / "bundle.pem"
    bundle.write_bytes(system.read_bytes() + b"\n# " + CANARY + b"\n")
    return bundle


@pytest.fixture(scope="session")
def images(
    real_base: None, client: docker.DockerClient, secret_bundle: Path, shared_folder: Path
) -> dict[str, Image]:
    """Both Debian 12 images, built in one call.

    Where several workers want them, one builds and looks at what they hold, and the others give
    the same layers labels of their own: at once, each would have them exported.
    """
    del real_base
    with taking_turns(shared_folder):
        result = dlc(
            "build",
            INFERENCE,
            TRAINING,
            "--format",
            "json",
            SSL_CERT_FILE=str(secret_bundle),
        )
    assert result.returncode == 0, result.stderr
    rows = {row["image"]: row for row in json.loads(result.stdout)}
    return {
        name: Image(client=client, tag=local_name(name), built=row) for name, row in rows.items()
    }


@pytest.fixture(scope="session")
def inference_image(images: dict[str, Image]) -> Image:
    return images[INFERENCE]


@pytest.fixture(scope="session")
def training_image(images: dict[str, Image]) -> Image:
    return images[TRAINING]


@pytest.fixture(scope="session")
def registry_program() -> str:
    """Debian's docker-registry, installed if that can be done here."""
    if shutil.which("docker-registry") is None:
        try:
            apt.install("docker-registry", say=print)
        except apt.InstallError as error:
            pytest.skip(f"docker-registry is not here and cannot be installed: {error}")
    return "docker-registry"


def unpacked_cosign(release: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the program as a release of Debian has it; skips where that cannot be had."""
    folder = tmp_path_factory.mktemp("cosign")
    try:
        apt.unpack("cosign", release=release, into=folder)
    except apt.InstallError as error:
        pytest.skip(f"cosign cannot be had here: {error}")
    return folder / "usr/bin"


@pytest.fixture(scope="session")
def compose(engine: engines.Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH on which the SDK finds Compose, and pgrep, by which it stops what it started."""
    wanted: tuple[str, ...] = () if shutil.which("pgrep") else ("procps",)
    if not (shutil.which("docker-compose") or compose_plugin(engine)):
        names = ("docker-compose-v2", "docker-compose")
        wanted += (next((name for name in names if apt.offered(name)), names[-1]),)
    try:
        if wanted:
            apt.install(*wanted, say=print)
    except apt.InstallError as error:
        pytest.skip(f"local mode needs Docker Compose: {error}")
    path = os.environ["PATH"]
    if shutil.which("docker-compose") is None:
        # Many builds of the plugin do not call themselves v2, which the SDK looks for; as a
        # program of that name it takes any.
        folder = tmp_path_factory.mktemp("compose")
        (folder / "docker-compose").symlink_to(compose_plugin(engine))
        path = f"{folder}{os.pathsep}{path}"
    return path


@pytest.fixture
def local_mode(
    tmp_path: Path, engine: engines.Engine, client: docker.DockerClient, compose: str
) -> Iterator[LocalMode]:
    with turn(client):
        before = frozenset(network.id for network in networks(client))
        mode = LocalMode(folder=tmp_path, engine=engine, client=client, path=compose, before=before)
        yield mode
        # Nothing to do but after a failure: the examples remove what they made.
        for container in mode.containers():
            container.remove(force=True)
        for network in mode.networks():
            with suppress(docker.errors.APIError):  # another job may have joined it
                network.remove()


@pytest.fixture(scope="session")
def tiny_model(inference_image: Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model, the image's own work."""
    folder = tmp_path_factory.mktemp("tiny")
    unpack(io.BytesIO(make_tiny_model(inference_image.client, inference_image.tag)), folder)
    return folder / "model"
