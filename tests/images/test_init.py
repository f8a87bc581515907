"""`dlc init` with the installed wheel: a team's repository renders and builds with it alone.

It is here because it installs from the package index and builds an image.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from contextlib import suppress
from pathlib import Path

import docker.errors
import pytest

from tests.images.conftest import INFERENCE, OWN, ROOT, Image

pytestmark = pytest.mark.images


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of a new virtual environment that has the wheel and nothing of this checkout."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT],
        check=True,
    )
    venv.create(folder / "venv", with_pip=True)
    scripts = folder / "venv" / "bin"
    [wheel] = folder.glob("*.whl")
    subprocess.run([scripts / "python", "-m", "pip", "install", "--quiet", wheel], check=True)
    return scripts


@pytest.fixture(scope="module")
def started(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository as `dlc init` writes it, rendered: its locks come with it."""
    folder = tmp_path_factory.mktemp("started")
    for arguments in (["init"], ["render"]):
        ran = run(installed, folder, *arguments)
        assert ran.returncode == 0, ran.stderr
    return folder


def run(scripts: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [scripts / "dlc", *arguments],
        cwd=folder,
        env={**environment, **OWN},
        capture_output=True,
        text=True,
        check=False,
    )


def test_command_is_that_of_the_wheel(installed: Path, tmp_path: Path) -> None:
    where = subprocess.run(
        [installed / "python", "-c", "import builder; print(builder.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(installed.parent))


def test_locks_and_dockerfile_are_ours(started: Path) -> None:
    """To the byte: whoever has built ours has all layers of this one."""
    folder = Path("images", *INFERENCE.split(":"))
    ours = {path.name: path.read_bytes() for path in (ROOT / folder).iterdir() if path.is_file()}
    assert {path.name: path.read_bytes() for path in (started / folder).iterdir()} == ours


def test_it_is_checked(installed: Path, started: Path) -> None:
    for arguments in (["render", "--check"], ["lock", "--check"], ["build", "--dry-run"]):
        ran = run(installed, started, *arguments)
        assert (ran.returncode, ran.stderr) == (0, ""), arguments
    assert "fresh" in run(installed, started, "build", "--dry-run").stdout


def test_it_builds(installed: Path, started: Path, inference_image: Image) -> None:
    """Ours is built, and of the same: it is up to date."""
    built = run(installed, started, "build", "--format", "json")
    assert built.returncode == 0, built.stderr
    [told] = json.loads(built.stdout)
    assert told["image"] == INFERENCE
    assert told["id"] == inference_image.inspected["Id"]
    assert told["seconds"] is None


def test_a_step_of_its_own(installed: Path, started: Path, inference_image: Image) -> None:
    """One layer more, on those of ours."""
    (started / "templates" / "files").mkdir()
    (started / "templates" / "files" / "team.cfg").write_text("a = b\n")
    template = started / "templates" / "Dockerfile.j2"
    template.write_text(
        '{% extends "dlc/Dockerfile.j2" %}\n{% block labels %}\n{{ super() }}\n'
        "COPY team.cfg /opt/team/\n{% endblock %}\n"
    )
    before, client = inference_image.inspected, inference_image.client
    built = run(installed, started, "build", "--format", "json")
    # The name belongs to the image that the other tests ask.
    client.images.get(before["Id"]).tag(*inference_image.tag.split(":"))
    assert built.returncode == 0, built.stderr
    [told] = json.loads(built.stdout)
    layers = client.images.get(told["id"]).attrs["RootFS"]["Layers"]
    assert layers[:-1] == before["RootFS"]["Layers"]
    output = client.containers.run(told["id"], ["cat", "/opt/team/team.cfg"], remove=True)
    assert output == b"a = b\n"
    with suppress(docker.errors.APIError):  # the engine may be shared, and somebody use it
        client.images.remove(told["id"])
