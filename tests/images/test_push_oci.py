"""The profile `oci`: what a real registry then has, and what buildx reads from it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from builder.engine.connection import Engine
from builder.registry.auth import Login
from builder.registry.client import OCI_INDEX, RegistryClient
from builder.release.compare import oci_misfit
from tests.images.pushing import Workshop, wait_for
from tests.images.registries import (
    HTPASSWD,
    Fault,
    Proxy,
    Registry,
    held,
    noise,
    running,
    serving,
    write_login,
)

pytestmark = pytest.mark.images

REPOSITORY = "team/huggingface-pytorch-training"
DPKG = b"""\
Package: git
Status: install ok installed
Architecture: amd64
Version: 1:2.39.5-0+deb12u2

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""
LOCK = b"""\
# The framework layer.
certifi==2025.1.31 \\
    --hash=sha256:00
torch @ ${PYTORCH_WHEELS}/cpu/torch-1.9.1%2Bcpu-cp37-cp37m-linux_x86_64.whl \\
    --hash=sha256:00
"""
SITE = "opt/venv/lib/python3.11/site-packages"


def installed(**versions: str) -> dict[str, bytes]:
    text = "Name: {}\nVersion: {}\n"
    return {
        f"{SITE}/{name}-{version}.dist-info/METADATA": text.format(name, version).encode()
        for name, version in versions.items()
    }


FILES = {
    "var/lib/dpkg/status": DPKG,
    "opt/dlc/framework.lock": LOCK,
    "opt/dlc/libraries.lock": b"packaging==24.1 --hash=sha256:00\n",
    "etc/os-release": b"NAME=Debian\nID=debian\n",
    **installed(certifi="2025.1.31", torch="1.9.1+cpu", packaging="24.1"),
}


@pytest.fixture
def shop(client: docker.DockerClient, tmp_path: Path) -> Iterator[Workshop]:
    folder = tmp_path / "shop"
    folder.mkdir()
    workshop = Workshop(client=client, folder=folder)
    yield workshop
    workshop.remove()


@pytest.fixture
def registry(registry_program: str, tmp_path: Path, shop: Workshop) -> Iterator[Registry]:
    folder = tmp_path / "registry"
    folder.mkdir()
    passwords = folder / "htpasswd"
    passwords.write_text(HTPASSWD)
    auth = f"auth: {{htpasswd: {{realm: here, path: '{passwords}'}}}}"
    with running(Registry(program=registry_program, folder=folder, auth=auth)) as found:
        write_login(tmp_path, found.host)
        path = f"{tmp_path}:{os.environ['PATH']}"
        shop.environment |= {"DOCKER_CONFIG": str(tmp_path), "PATH": path}
        yield found


@pytest.fixture
def reader(registry: Registry) -> RegistryClient:
    return RegistryClient(
        registry.host, logins=lambda _: Login(user="builder", password="secret"), pause=0.05
    )


def test_zstd_sbom_and_provenance(
    shop: Workshop, registry: Registry, reader: RegistryClient, engine: Engine
) -> None:
    image_id = shop.image(shop.old, [noise(300_000)], files=FILES)
    where = f"{registry.host}/team"
    result = shop.push(shop.old.name, "--profile", "oci", registry=where)
    assert result.returncode == 0, result.stderr
    name, digest = result.stdout.strip().split("@")
    row = shop.released()[name]
    assert row["profile"] == "oci"
    assert held(reader, REPOSITORY) == dict.fromkeys(row["tags"], digest)
    assert row["size"] > 300_000

    index = reader.manifest(REPOSITORY, digest)
    assert index is not None
    assert index.media_type == OCI_INDEX
    image = reader.image_manifest(REPOSITORY, digest)
    assert image is not None
    assert oci_misfit(image) == ""
    assert len(image.document["layers"]) == 2

    def inspect(what: str) -> Any:
        done = subprocess.run(
            [
                *engine.buildx,
                *("imagetools", "inspect", f"{registry.host}/{REPOSITORY}@{digest}"),
                *("--format", f"{{{{json .{what}}}}}"),
            ],
            env={**engine.environment(), **shop.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    bill = inspect("SBOM")["SPDX"]
    assert {(each["name"], each["versionInfo"]) for each in bill["packages"][1:]} == {
        ("certifi", "2025.1.31"),
        ("git", "1:2.39.5-0+deb12u2"),
        ("packaging", "24.1"),
        ("torch", "1.9.1+cpu"),
    }
    locators = [each["externalRefs"][0]["referenceLocator"] for each in bill["packages"][1:]]
    assert "pkg:deb/debian/git@1%3A2.39.5-0%2Bdeb12u2?arch=amd64" in locators
    made = inspect("Provenance")["SLSA"]
    assert made["invocation"]["parameters"]["key"] == row["key"]
    assert made["invocation"]["parameters"]["inputs"]["base"] == "0123456789abcdef"
    pinned = shop.old.base.image.partition("@sha256:")[2]
    assert made["materials"][0]["digest"] == {"sha256": pinned}

    kept = json.loads(
        (shop.folder / "releases/inventories" / f"{digest.partition(':')[2]}.json").read_text()
    )
    assert [(each["name"], each.get("layer")) for each in kept["packages"]] == [
        ("certifi", "framework"),
        ("packaging", "libraries"),
        ("torch", "framework"),
        ("git", None),
    ]

    again = shop.push(shop.old.name, "--profile", "oci", registry=where)
    assert (again.returncode, again.stdout) == (0, result.stdout)
    assert f"{digest} is there already" in again.stderr

    other = shop.push(shop.old.name, registry=where)
    assert (other.returncode, other.stdout) == (14, "")
    assert "give it a prefix of its own" in other.stderr
    assert held(reader, REPOSITORY) == dict.fromkeys(row["tags"], digest)
    beside = shop.push(shop.old.name, registry=f"{registry.host}/sagemaker")
    assert beside.returncode == 0, beside.stderr

    pulled = shop.client.images.get(image_id)
    assert pulled.labels["dlc.key"] == row["key"]


@pytest.mark.slow
def test_interrupted_push_goes_on(
    shop: Workshop, registry: Registry, reader: RegistryClient, tmp_path: Path
) -> None:
    shop.image(shop.old, [noise(2_000_000)], files=FILES)
    with serving(Proxy(registry)) as proxy:
        write_login(tmp_path, proxy.host)
        proxy.faults = [Fault(pattern="^(PATCH|PUT) .*/blobs/uploads/", how="slow", bytes=200_000)]
        arguments = (shop.old.name, "--profile", "oci")
        with shop.begin(*arguments, registry=f"{proxy.host}/team") as process:
            wait_for(lambda: proxy.uploaded.total() > 100_000)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
        assert (process.returncode, out) == (130, ""), err
        assert reader.tags(REPOSITORY) == []
        result = shop.push(*arguments, registry=f"{proxy.host}/team")
        assert result.returncode == 0, result.stderr
    digest = result.stdout.strip().partition("@")[2]
    assert set(held(reader, REPOSITORY).values()) == {digest}


def test_image_that_does_not_say_what_it_has_is_refused_before_any_is_sent(
    shop: Workshop, registry: Registry, tmp_path: Path
) -> None:
    shop.image(shop.old, [noise(1000)])
    shop.image(shop.new, [noise(2_000_000)], files=FILES)
    with serving(Proxy(registry)) as proxy:
        write_login(tmp_path, proxy.host)
        arguments = ("--profile", "oci", "--jobs", "1")
        result = shop.push(shop.old.name, *arguments, registry=f"{proxy.host}/team")
        assert (result.returncode, result.stdout) == (14, "")
        assert result.stderr == (
            f"dlc: {shop.old.name} does not say which packages it has; "
            f"build it again: dlc build {shop.old.name}\n"
        )
        assert proxy.uploaded.total() == 0
        # Also where another goes before it; that one is pushed, and what cannot be is told.
        both = shop.push(shop.new.name, shop.old.name, *arguments, registry=f"{proxy.host}/team")
    assert both.returncode == 14
    assert shop.new.name in both.stdout
    assert "does not say which packages it has" in both.stderr
    assert "1 image of 2 not pushed" in both.stderr


@pytest.mark.parametrize("profile", ["sagemaker", "oci"])
def test_an_image_that_is_not_as_locked_is_refused(
    profile: str, shop: Workshop, registry: Registry, reader: RegistryClient
) -> None:
    shop.image(shop.old, [noise(1000)], files={**FILES, **installed(pip="1.0", torch="1.9.2")})
    result = shop.push(shop.old.name, "--profile", profile, registry=f"{registry.host}/team")
    assert (result.returncode, result.stdout) == (17, "")
    assert "torch is 1.9.2, and framework.lock has 1.9.1+cpu" in result.stderr
    assert "pip 1.0 is in no lock" in result.stderr
    assert reader.tags(REPOSITORY) == []
