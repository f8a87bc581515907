"""From a finding to a signed image: a real engine, a real registry and a real cosign."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import docker
import docker.errors
import pytest

from builder.engine.namespace import local_name
from builder.engine.tagging import remove_image
from tests.images.conftest import unpacked_cosign
from tests.images.mirror_server import gateway
from tests.images.registries import Registry, running
from tests.images.small_matrix import LIBRARY, SMALL_NAMES, SmallMatrix, files, write_small_matrix
from tests.package_index import PackageIndex, wheel
from tests.unit.audit.data import entry

pytestmark = [pytest.mark.images, pytest.mark.slow, pytest.mark.timeout(600)]

OLD, NEW = SMALL_NAMES
TEXT = "tiny-text"
ADVISORY = entry("CVE-2026-1", TEXT, "introduced 0", "fixed 1.1")


@pytest.fixture
def small(client: docker.DockerClient, tmp_path: Path) -> Iterator[SmallMatrix]:
    """The small matrix, whose first release needs a package that there is a newer version of."""
    with PackageIndex(
        *(each for each in files() if (each.package, each.version) != (LIBRARY, "24.1.0")),
        wheel(LIBRARY, "24.1.0", requires=[TEXT]),
        wheel(TEXT, "1.0", files={"tiny_text.py": os.urandom(9).hex().encode()}),
        *(wheel(TEXT, version, uploaded="2026-01-01T00:00:00Z") for version in ("1.1", "1.2")),
        host=gateway(client),
    ) as index:
        write_small_matrix(tmp_path, index.url)
        yield SmallMatrix(folder=tmp_path, index=index)
    for name in SMALL_NAMES:
        with suppress(docker.errors.ImageNotFound):
            remove_image(client, local_name(name))


def run(
    small: SmallMatrix,
    *arguments: str,
    code: int = 0,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """What a command prints as JSON, if it ends with the code."""
    result = small.run(*arguments, "--format", "json", **environment)
    assert result.returncode == code, result.stderr
    return json.loads(result.stdout)


def version(small: SmallMatrix) -> str:
    """The version of the package that the first release's image has."""
    packages = run(small, "inventory", OLD)["packages"]
    return next(str(each["version"]) for each in packages if each["name"] == TEXT)


def test_from_a_finding_to_a_verified_image(
    small: SmallMatrix,
    registry_program: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    assert small.run("lock").returncode == 0
    built = {row["image"]: row["id"] for row in run(small, "build", "--all")}
    assert version(small) == "1.0"

    advisories = tmp_path / "advisories.json"
    advisories.write_text(json.dumps([ADVISORY]), "utf-8")
    known = ("--advisories", str(advisories))
    assert small.run("audit", *known).returncode == 19
    assert "1 advisory gone from 1 target" in small.run("patch", *known).stderr
    assert small.run("audit", *known).returncode == 0

    # Only what changed is built again, and it has the smallest version that mends it.
    planned = {row["image"]: row["state"] for row in run(small, "plan")}
    assert planned == {OLD: "build", NEW: "up to date"}
    rows = {row["image"]: row for row in run(small, "build", "--all")}
    assert rows[OLD]["id"] != built[OLD]
    assert (rows[NEW]["id"], rows[NEW]["seconds"]) == (built[NEW], None)
    assert version(small) == "1.1"

    environment = {
        "PATH": f"{unpacked_cosign('trixie', tmp_path_factory)}:{os.environ['PATH']}",
        "COSIGN_PASSWORD": "secret",
    }
    subprocess.run(
        ["cosign", "generate-key-pair", "--output-key-prefix", str(tmp_path / "ours")],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        timeout=60,
    )
    with running(
        Registry(program=registry_program, folder=tmp_path_factory.mktemp("registry"))
    ) as registry:
        there = ("--registry", f"{registry.host}/team")
        pushed = small.run(
            *("push", OLD, "--sign", str(tmp_path / "ours.key"), *there), **environment
        )
        assert pushed.returncode == 0, pushed.stderr
        key = ("--key", str(tmp_path / "ours.pub"))
        [row] = run(small, "verify", OLD, *there, *key, environment=environment)
        assert (row["image"], row["signed"]) == (pushed.stdout.strip(), True)
        [row] = run(small, "verify", NEW, *there, *key, code=20, environment=environment)
        assert row["signed"] is False
