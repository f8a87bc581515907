"""An image for arm64, built and run by emulation: once, in the slow tier.

The emulator is unpacked from Debian's package where the machine has none, and the kernel is told of
it as that package would, with the flag F: containers need no file of it. In the end it is undone.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import docker
import pytest
import uv

from builder.engine import apt
from builder.engine.namespace import local_name
from tests.images.mirror_server import gateway
from tests.images.small_matrix import FRAMEWORK, SmallMatrix, files, write_small_matrix
from tests.package_index import PackageIndex, wheel

pytestmark = [pytest.mark.images, pytest.mark.slow]

BINFMT = Path("/proc/sys/fs/binfmt_misc")
# Of an ELF file for little-endian 64-bit ARM; the mask leaves out what differs between programs.
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00" + r"\xff" * 8 + r"\xfe\xff\xff\xff"
NAME = "dlc-test-aarch64"
ROW = "pytorch: [{version: 9.9.9, devices: [cpu], origin: own}]"
ASKED = (
    "import importlib.util, json, platform; "
    "found = [importlib.util.find_spec(name) is not None "
    "for name in ('tiny_framework', 'tiny_library')]; "
    "print(json.dumps([platform.machine(), platform.python_version_tuple()[:2], found]))"
)


def emulated() -> bool:
    """Whether the kernel runs programs for arm64, wherever that comes from."""
    return os.uname().machine == "aarch64" or any(
        "b700" in entry.read_text("utf-8") for entry in BINFMT.glob("*aarch64*")
    )


@pytest.fixture(scope="module")
def matrix(
    tmp_path_factory: pytest.TempPathFactory, client: docker.DockerClient
) -> Iterator[SmallMatrix]:
    """The small matrix with one row for arm64, and an index that has uv for it."""
    folder = tmp_path_factory.mktemp("platform")
    found = subprocess.run(
        [
            *(uv.find_uv_bin(), "pip", "install", "--no-deps", "--only-binary", ":all:"),
            *("--python-platform", "aarch64-manylinux_2_28", "--target", str(folder / "uv")),
            f"uv=={version('uv')}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    program = (folder / "uv" / "bin" / "uv").read_bytes()
    scripts = {f"uv-{version('uv')}.data/scripts/uv": program}
    others = [each for each in files() if each.package != "uv"]
    own = wheel("uv", version("uv"), files=scripts)
    with PackageIndex(*others, own, host=gateway(client)) as index:
        path = write_small_matrix(folder, index.url)
        before, row, after = path.read_text("utf-8").rpartition(ROW)
        assert row
        changed = f"{ROW[:-2]}, platforms: [linux/arm64]}}]"
        path.write_text(f"{before}{changed}{after}", "utf-8")
        yield SmallMatrix(folder=folder, index=index)


@pytest.fixture
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A kernel that runs programs for arm64 as long as the test runs, if it did not before."""
    if emulated():
        yield
        return
    folder = tmp_path_factory.mktemp("qemu")
    apt.unpack("qemu-user-static", into=folder)
    program = folder / "usr" / "bin" / "qemu-aarch64-static"
    (BINFMT / "register").write_text(f":{NAME}:M::{MAGIC}:{MASK}:{program}:FP", "latin-1")
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            (BINFMT / NAME).write_text("-1", "utf-8")


@pytest.fixture(autouse=True)
def _can_register() -> None:
    if not emulated() and not (os.geteuid() == 0 and (BINFMT / "register").exists()):
        pytest.skip("the kernel takes no emulator: that needs root, and binfmt_misc mounted")


@pytest.mark.timeout(3600)
def test_an_image_for_arm64(
    matrix: SmallMatrix, client: docker.DockerClient, request: pytest.FixtureRequest
) -> None:
    target = matrix.targets[-1]
    assert (target.platform, target.tag[-6:]) == ("linux/arm64", "-arm64")
    for command in ("lock", "render"):
        run = matrix.run(command, target.name)
        assert run.returncode == 0, run.stderr
    if not emulated():
        refused = matrix.run("build", target.name)
        assert refused.returncode == 12
        assert "the engine runs no programs for linux/arm64" in refused.stdout + refused.stderr
        assert "qemu-user-static" in refused.stdout + refused.stderr

    request.getfixturevalue("emulator")
    built = matrix.run("build", target.name)
    assert built.returncode == 0, built.stdout + built.stderr
    image = client.images.get(local_name(target.name))
    assert (image.attrs["Os"], image.attrs["Architecture"]) == ("linux", "arm64")
    assert "com.amazonaws.ml.engines.sagemaker.dlc.arch.arm64" in image.labels
    out = client.containers.run(
        image, entrypoint=["python", "-c", ASKED], network_mode="none", remove=True
    )
    assert json.loads(out) == ["aarch64", ["3", "11"], [True, True]]

    plan = matrix.run("plan", target.name, "--format", "json")
    assert [row["state"] for row in json.loads(plan.stdout)] == ["up to date"]
    listed = matrix.run("inventory", target.name, "--format", "json")
    assert listed.returncode == 0, listed.stderr
    assert FRAMEWORK in listed.stdout
    assert "arm64" in listed.stdout
