"""`dlc build` when it cannot end well: a step that fails, a Ctrl-C, a base that is not there."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import docker
import pytest

from builder.engine import bases
from builder.engine.connection import Engine
from builder.engine.namespace import local_name
from builder.engine.tagging import remove_image
from builder.matrix.target import Target
from tests.images.conftest import INFERENCE, ROOT, TRAINING, Image, dlc
from tests.images.small_matrix import SMALL_NAMES, SmallMatrix

pytestmark = pytest.mark.images


@pytest.fixture
def own_images(tmp_path: Path) -> Path:
    """A copy of the rendered folders of both Debian 12 targets, to render differently."""
    for name in (INFERENCE, TRAINING):
        folder = name.replace(":", "/")
        shutil.copytree(ROOT / "images" / folder, tmp_path / "images" / folder)
    return tmp_path / "images"


def template(folder: Path, name: str, text: str) -> Path:
    """A folder of templates that replaces one stage."""
    path = folder / "templates/stages" / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return folder / "templates"


def test_one_failing_target_does_not_stop_the_other(
    images: dict[str, Image], own_images: Path, tmp_path: Path
) -> None:
    wrong = template(tmp_path, "training.j2", "RUN echo 'this step is on fire' >&2 && exit 7\n")
    result = dlc(
        "--images", str(own_images), "--templates", str(wrong), "build", INFERENCE, TRAINING
    )
    assert result.returncode == 12
    assert "    this step is on fire\n" in result.stderr
    assert "exit code: 7" in result.stderr
    assert f"{TRAINING} failed" in result.stderr
    assert "1 of 2 targets did not build" in result.stderr
    assert "Traceback" not in result.stderr
    assert INFERENCE in result.stdout
    assert TRAINING not in result.stdout
    assert images[TRAINING].inspected["Id"] == images[TRAINING].built["id"]
    assert images[INFERENCE].inspected["Id"] == images[INFERENCE].built["id"]


def test_interruption_leaves_no_tag_and_no_traceback(
    inference_image: Image, own_images: Path, tmp_path: Path
) -> None:
    # A step of this run's own: one that ever came to its end would be cached.
    slow = template(tmp_path, "labels.j2", f"RUN sleep 300 # {tmp_path}\n")
    command = [
        *(sys.executable, "-m", "builder", "--matrix", str(ROOT / "matrix.yaml")),
        *("--images", str(own_images), "--templates", str(slow), "build", INFERENCE),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "cp /mnt/*.py" in line:
                break
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        said.append(process.stderr.read())
        assert process.wait(timeout=60) == 130, said
    assert "Traceback" not in "".join(said)
    assert "dlc: interrupted" in said[-1]
    assert inference_image.inspected["Id"] == inference_image.built["id"]
    assert "RUN sleep 300" not in str(inference_image.inspected)


def test_target_without_locks_says_which_command_makes_them(tmp_path: Path) -> None:
    name = "huggingface-tensorflow-inference:2.6.3-transformers4.17.0-cpu-py38-ubuntu20.04"
    result = dlc("--images", str(tmp_path), "build", name)
    assert result.returncode == 12
    said = f"{name} has locks that are not fresh: missing; run `dlc lock {name}`"
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_dry_run_touches_neither_engine_nor_files(tmp_path: Path) -> None:
    result = dlc(
        *("--images", str(tmp_path / "images"), "build", "--dry-run", INFERENCE),
        DOCKER_HOST="unix:///nowhere.sock",
        DLC_STATE=str(tmp_path / "state"),
    )
    assert result.returncode == 0, result.stderr
    assert "missing" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_image_over_its_budget_gets_no_tag(
    tmp_path: Path, client: docker.DockerClient, write_small: Callable[[Path], SmallMatrix]
) -> None:
    small = write_small(tmp_path)
    name = SMALL_NAMES[0]
    try:
        assert small.run("lock", name).returncode == 0
        assert small.run("build", name).returncode == 0
        good = client.images.get(local_name(name)).id
        text = small.path.read_text("utf-8")
        small.path.write_text(text + 'budgets: {"*": 100 MB}\n', "utf-8")
        fat = template(tmp_path, "labels.j2", "RUN head -c 20000000 /dev/zero > /root/fat\n")
        result = small.run("--templates", str(fat), "build", name)
        assert result.returncode == 12
        assert "is over its budget of 100 MB (100 MB in the matrix)" in result.stderr
        assert "files of no package: /root 20 MB" in result.stderr
        assert "20 MB RUN head -c 20000000 /dev/zero > /root/fat" in result.stderr
        assert client.images.get(local_name(name)).id == good
        assert small.run("size", name).returncode == 12
    finally:
        remove_image(client, local_name(name))


def test_the_dry_runs_definition_builds_by_hand(
    engine: Engine, targets: tuple[Target, ...], tmp_path: Path
) -> None:
    """With a Dockerfile of ours that looks at what it gets."""
    base = next(target.base for target in targets if target.name == INFERENCE)
    source = bases.BaseSource(name=base.name, image=base.image, bootstrap=base.bootstrap)
    bases.ensure(engine, source, say=print)
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(
        "ARG BASE\nFROM ${BASE}\n"
        "RUN --mount=type=secret,id=site,target=/media/site \\\n"
        "    grep https://mirror.example/simple /media/site \\\n"
        f' && test "$FTP_PROXY" = "http://me:hush@proxy.example:3128" # {tmp_path}\n',
        "utf-8",
    )
    mirrors = tmp_path / "site.yaml"
    mirrors.write_text("index: https://mirror.example/simple\n", "utf-8")
    environment = {
        **engine.environment(),
        "FTP_PROXY": "http://me:hush@proxy.example:3128",
    }

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    program = (sys.executable, "-m", "builder")
    options = ("--matrix", str(ROOT / "matrix.yaml"), "--mirrors", str(mirrors))
    printed = run(*program, *options, "build", "--dry-run", "--format", "json", INFERENCE)
    assert "hush" not in printed.stdout
    (tmp_path / "bake.json").write_text(printed.stdout, "utf-8")
    [target] = json.loads(printed.stdout)["target"]
    own = ("--set", f"*.context={context}", "--set", "*.output=type=cacheonly")
    bake = (*engine.buildx, "bake", "--file", "bake.json", "--progress", "plain", *own, target)
    assert run(*bake).returncode != 0  # the secret is not there yet

    _, _, command = printed.stderr.partition(" to be: dlc ")
    assert run(*program, *shlex.split(command)).returncode == 0
    built = run(*bake)
    assert built.returncode == 0, built.stderr


def test_what_is_up_to_date_is_left_alone(
    images: dict[str, Image], own_images: Path, tmp_path: Path
) -> None:
    result = dlc("build", INFERENCE, TRAINING, "--format", "json")
    rows = {row["image"]: row for row in json.loads(result.stdout)}
    assert {name: rows[name]["seconds"] for name in rows} == {INFERENCE: None, TRAINING: None}
    assert rows[INFERENCE]["id"] == images[INFERENCE].inspected["Id"]
    planned = json.loads(dlc("plan", INFERENCE, "--format", "json").stdout)
    assert [row["state"] for row in planned] == ["up to date"]
    other = template(tmp_path, "labels.j2", "LABEL other=1\n")
    changed = ("--images", str(own_images), "--templates", str(other))
    planned = json.loads(dlc(*changed, "plan", INFERENCE, "--format", "json").stdout)
    assert [row["why"] for row in planned] == [["Dockerfile changed"]]
    again = json.loads(dlc("build", INFERENCE, "--again", "--format", "json").stdout)
    assert again[0]["seconds"] > 0
