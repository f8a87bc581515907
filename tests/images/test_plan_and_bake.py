"""Keys as tags, plans beside a registry, bake files and builders: on a real engine."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest
import yaml

from builder.build import build_times
from builder.build.plan import Inputs, inputs
from builder.dockerfile.parse import last_stage
from builder.dockerfile.render import Renderer
from builder.engine.connection import Engine
from builder.engine.image import KEY_LABEL, key_tag
from builder.engine.namespace import labels, local_name, prefix
from builder.engine.tagging import remove_image
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from builder.registry.client import DOCKER_MANIFEST, Manifest, RegistryClient
from tests.images.conftest import OWN, ROOT, dlc
from tests.images.registries import Registry, running
from tests.images.small_matrix import SmallMatrix

pytestmark = pytest.mark.images

# Names of this session's own.
OURS = ("9.9.9", f"9.8.{secrets.randbelow(10**9)}")
OTHER = "other:name"


@pytest.fixture(scope="module")
def registry(registry_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("registry")
    with running(Registry(program=registry_program, folder=folder)) as found:
        yield found.host


@pytest.fixture(scope="module")
def small(
    tmp_path_factory: pytest.TempPathFactory, write_small: Callable[[Path], SmallMatrix]
) -> tuple[Path, Target]:
    """A checkout of a small matrix, rendered and locked, and its first target."""
    folder = tmp_path_factory.mktemp("small")
    matrix = write_small(folder)
    matrix.path.write_text(matrix.path.read_text("utf-8").replace(*OURS), "utf-8")
    for command in ("lock", "render"):
        result = matrix.run(command)
        assert result.returncode == 0, result.stderr
    return folder, matrix.targets[0]


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return dlc("--matrix", str(folder / "matrix.yaml"), *arguments, **environment)


def rows(folder: Path, *arguments: str, **environment: str) -> list[dict[str, Any]]:
    result = run(folder, *arguments, "--format", "json", **environment)
    assert result.returncode == 0, result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def tags(client: docker.DockerClient, target: Target) -> set[str]:
    return {tag.rpartition(":")[2] for tag in client.images.get(local_name(target.name)).tags}


# Bake files


def test_a_bake_file_builds_without_us(
    small: tuple[Path, Target], engine: Engine, client: docker.DockerClient
) -> None:
    """Its image is taken for up to date afterwards, since it was built of the same."""
    folder, target = small
    for command in (
        ["mirrors", "script", "dlc-site"],
        ["bake", "--local-bases", "--output", "bake.json"],
    ):
        written = subprocess.run(
            [sys.executable, "-m", "builder", *command],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
    words = shlex.split(written.stderr.partition("build with: ")[2])
    variables = dict(word.split("=", 1) for word in words if "=" in word)
    groups = json.loads((folder / "bake.json").read_text("utf-8"))["group"]
    assert len(groups[f"pytorch-{OURS[1].replace('.', '_')}-cpu-py311-debian12"]["targets"]) == 2
    name = groups["all"]["targets"][0]
    # By the label it is found when another has its name.
    said = [f"--set=*.labels.{label}={value}" for label, value in labels().items()]
    built = subprocess.run(
        [*engine.buildx, "bake", "--file", "bake.json", "--progress", "plain", *said, name],
        cwd=folder,
        env={**engine.environment(), **variables, "REGISTRY": prefix().rstrip("/")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    made_of = inputs(target, folder / "images", Renderer())
    assert tags(client, target) == {target.tag, key_tag(made_of.key)}
    [row] = rows(folder, "plan", target.name)
    assert row["state"] == "up to date"
    [row] = rows(folder, "build", target.name)
    assert (row["id"], row["seconds"]) == (client.images.get(local_name(target.name)).id, None)


def test_buildx_reads_the_file_of_the_whole_matrix(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "bake.json"
    assert dlc("bake", "--output", str(file)).returncode == 0
    printed = subprocess.run(
        [*engine.buildx, "bake", "--file", str(file), "--print", "training"],
        cwd=ROOT,
        env={**engine.environment(), "REGISTRY": "registry.example/team", "HTTP_PROXY": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(printed.stdout)["target"]
    planned = rows(ROOT, "plan", "--mode", "training", "--since", "HEAD")
    wanted = [row["image"] for row in planned if row["state"] != "blocked"]
    assert len(found) == len(wanted) > 0
    assert {tag for each in found.values() for tag in each["tags"] if "key-" not in tag} == {
        f"registry.example/team/{name}" for name in wanted
    }
    assert all("HTTP_PROXY" not in each.get("args", {}) for each in found.values())


# Keys


def test_an_image_has_its_key_as_a_tag(
    small: tuple[Path, Target], client: docker.DockerClient, tmp_path: Path
) -> None:
    """When the name moves on, the former image has no tag any more."""
    folder, target = small
    assert run(folder, "build", target.name).returncode == 0
    first = client.images.get(local_name(target.name))
    key = first.labels[KEY_LABEL]
    assert tags(client, target) == {target.tag, key_tag(key)}
    templates = tmp_path / "templates"
    (templates / "stages").mkdir(parents=True)
    (templates / "stages/labels.j2").write_text("LABEL other=1\n", "utf-8")
    images = tmp_path / "images"
    shutil.copytree(folder / "images", images)
    options = ("--images", str(images), "--templates", str(templates))
    result = run(folder, *options, "build", target.name)
    assert result.returncode == 0, result.stderr
    second = client.images.get(local_name(target.name))
    assert second.id != first.id
    assert tags(client, target) == {target.tag, key_tag(second.labels[KEY_LABEL])}
    assert client.images.get(str(first.id)).tags == []
    assert run(folder, "build", target.name).returncode == 0


def test_a_child_is_neither_taken_nor_up_to_date(
    small: tuple[Path, Target], client: docker.DockerClient, tmp_path: Path
) -> None:
    """FROM inherits the labels; our own name, too, can be put on any image."""
    folder, target = small
    assert run(folder, "build", target.name).returncode == 0
    ours = client.images.get(local_name(target.name))
    name = local_name(target.name)
    key = local_name(f"{target.repository}:{key_tag(ours.labels[KEY_LABEL])}")
    (tmp_path / "Dockerfile").write_text(f"FROM {name}\nENTRYPOINT []\n", "utf-8")
    child, _ = client.images.build(path=str(tmp_path), tag=local_name("other:child"), rm=True)
    try:
        assert child.labels[KEY_LABEL] == ours.labels[KEY_LABEL]
        client.images.remove(name, noprune=True)
        client.images.remove(key, noprune=True)
        [row] = rows(folder, "plan", target.name)
        assert (row["state"], row["why"]) == ("build", ["there is no image"])
        child.tag(*name.split(":"))
        [row] = rows(folder, "plan", target.name)
        assert row["why"] == ["changed after its build: ENTRYPOINT []"]
        result = run(folder, "build", target.name)
        assert result.returncode == 0, result.stderr
        assert "reused image" not in result.stderr
        assert (
            client.images.get(local_name(target.name)).id == client.images.get(key).id != child.id
        )
        [row] = rows(folder, "plan", target.name, DLC_STATE=str(tmp_path / "other"))
        assert row["state"] == "up to date"
        assert rows(folder, "plan", target.name)[0]["state"] == "up to date"
    finally:
        remove_image(client, str(child.id))


@pytest.mark.slow
@pytest.mark.usefixtures("images")
def test_only_what_installs_is_remembered_and_only_here(
    small: tuple[Path, Target], own_state: Path, tmp_path: Path
) -> None:
    """A build of which all but the labels is cached tells nothing of the next.

    While another build shares steps with it, BuildKit may find none of its own in the cache: so the
    real images are built first, and it is tried again.
    """
    folder, target = small
    real = build_times.load()
    record = own_state / "builds.json"
    stages = tmp_path / "templates/stages"
    stages.mkdir(parents=True)
    ours = (ROOT / "templates/stages/framework.j2").read_text("utf-8")
    (stages / "framework.j2").write_text(f"ENV OF={tmp_path}\n{ours}", "utf-8")
    options = ("--images", str(tmp_path / "images"), "--templates", str(stages.parent))
    shutil.copytree(folder / "images", tmp_path / "images")
    try:
        assert run(folder, *options, "build", target.name).returncode == 0
        found = json.loads(record.read_text("utf-8"))
        assert found[target.name]["seconds"] > 0
        for number in range(5):
            found = json.loads(record.read_text("utf-8"))
            (stages / "labels.j2").write_text(f"LABEL other={number}\n", "utf-8")
            result = run(folder, *options, "build", target.name)
            assert result.returncode == 0, result.stderr
            assert " built in " in result.stderr
            if "/opt/dlc/libraries.lock (cached)" in result.stderr:
                break
        else:
            pytest.fail(f"nothing is ever cached: {result.stderr}")
        assert json.loads(record.read_text("utf-8")) == found, result.stderr
        assert build_times.load() == real
    finally:
        assert run(folder, "build", target.name).returncode == 0


def test_an_image_under_another_name_is_taken(
    small: tuple[Path, Target], client: docker.DockerClient
) -> None:
    folder, target = small
    assert run(folder, "build", target.name).returncode == 0
    image = client.images.get(local_name(target.name))
    key = local_name(f"{target.repository}:{key_tag(image.labels[KEY_LABEL])}")
    image.tag(*local_name(OTHER).split(":"))
    client.images.remove(local_name(target.name))
    client.images.remove(key)
    try:
        [row] = rows(folder, "plan", target.name)
        assert row["why"] == [f"it is {OTHER}"]
        result = run(folder, "build", target.name)
        assert result.returncode == 0
        assert f"reused image {OTHER}" in result.stderr
        assert client.images.get(local_name(target.name)).id == image.id
        assert key in client.images.get(local_name(target.name)).tags
    finally:
        client.images.remove(local_name(OTHER))


# Builders and caches


def test_the_engine_s_own_builder_by_its_name(small: tuple[Path, Target]) -> None:
    folder, target = small
    result = run(folder, "build", "--again", "--builder", "default", target.name)
    assert result.returncode == 0, result.stderr


def test_a_cache_that_is_empty_does_no_harm(small: tuple[Path, Target], registry: str) -> None:
    folder, target = small
    cache = ("--cache-from", f"{registry}/cache")
    result = run(folder, "build", "--again", *cache, target.name)
    assert result.returncode == 0, result.stderr


def test_builders_that_cannot_be_used(small: tuple[Path, Target], registry: str) -> None:
    folder, target = small
    result = run(folder, "build", "--again", "--builder", "nowhere", target.name)
    assert result.returncode == 12
    assert result.stderr.endswith(
        'dlc: the builder nowhere cannot be used: no builder "nowhere" found; '
        "`docker buildx ls` shows those that there are\n"
    )
    cache = ("--cache-to", f"{registry}/cache")
    result = run(folder, "build", "--again", *cache, target.name)
    assert result.returncode == 12
    assert f"cannot write a cache to {registry}/cache: its driver is docker" in result.stderr
    # There is nothing to build, so there is nobody to ask.
    assert run(folder, "build", "--builder", "nowhere", target.name).returncode == 0


def test_a_builder_that_does_not_run(
    closed_port: int, small: tuple[Path, Target], engine: Engine, tmp_path: Path
) -> None:
    folder, target = small
    config = {"BUILDX_CONFIG": str(tmp_path / "buildx")}
    subprocess.run(
        [
            *engine.buildx,
            "create",
            "--name",
            "far",
            "--driver",
            "remote",
            f"tcp://127.0.0.1:{closed_port}",
        ],
        env={**engine.environment(), **config},
        capture_output=True,
        check=True,
    )
    result = run(folder, "build", "--again", "--builder", "far", target.name, **config)
    assert result.returncode == 12
    assert "the builder far cannot be used: " in result.stderr
    assert "Traceback" not in result.stderr


# Registries and workflows


def store(client: RegistryClient, made_of: Inputs, *after: str) -> None:
    """Put an image that is nothing but labels and history under a target's name."""
    target, repository = made_of.target, f"team/{made_of.target.repository}"
    dockerfile = made_of.files["Dockerfile"].decode()
    said = [(each.verb, each.text) for each in last_stage(dockerfile)]
    told: dict[str, Any] = {"Labels": made_of.labels(), "Env": []}
    for verb, text in said:
        if verb == "ENV":
            told["Env"] += shlex.split(text)
        elif verb in ("ENTRYPOINT", "CMD"):
            told[verb.capitalize()] = json.loads(text)
    steps = [*(f"{verb} {text}" for verb, text in said), *after]
    history = [{"created_by": step} for step in steps]
    content = json.dumps({"config": told, "history": history}).encode()
    digest = client.put_blob(repository, content)
    config = {"mediaType": "application/vnd.docker.container.image.v1+json"}
    config |= {"size": len(content), "digest": digest}  # type: ignore[dict-item]
    document = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": config, "layers": []}
    manifest = Manifest(content=json.dumps(document).encode(), media_type=DOCKER_MANIFEST)
    client.put_manifest(repository, target.tag, manifest)


@pytest.fixture(scope="module")
def pushed(registry: str, targets: tuple[Target, ...]) -> tuple[Inputs, ...]:
    """What is in the registry: a target as it is now, one with another lock, a child of one."""
    renderer = Renderer()
    now, old, child = (inputs(target, ROOT / "images", renderer) for target in targets[:3])
    client = RegistryClient(registry)
    store(client, now)
    store(client, replace(old, digests={**old.digests, "framework.lock": "0" * 64}))
    store(client, child, "ENTRYPOINT []")
    return now, old, child


def test_a_plan_beside_a_registry(
    closed_port: int, registry: str, pushed: tuple[Inputs, ...]
) -> None:
    now, old, child = (each.target for each in pushed)
    found = rows(ROOT, "plan", "--registry", f"{registry}/team", DOCKER_HOST="unix:///nowhere")
    told = {row["image"]: (row["state"], row["why"]) for row in found}
    assert told.pop(now.name) == ("up to date", [])
    assert told.pop(old.name) == ("build", ["framework.lock changed"])
    assert told.pop(child.name) == ("build", ["changed after its build: ENTRYPOINT []"])
    assert {why[0] for state, why in told.values() if state == "build"} == {"there is no image"}
    assert len(told) == len(load_targets(ROOT / "matrix.yaml")) - 3
    nowhere = run(ROOT, "plan", now.name, "--registry", f"127.0.0.1:{closed_port}/team")
    assert nowhere.returncode not in (0, 1)
    assert f"127.0.0.1:{closed_port}" in nowhere.stderr


def step(job: str, word: str) -> str:
    """The text of a step of build-and-push, by a word in it."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/build-and-push.yml").read_text("utf-8"))
    [found] = [
        each["run"] for each in workflow["jobs"][job]["steps"] if word in each.get("run", "")
    ]
    return str(found)


def github(script: str, folder: Path, **given: str) -> subprocess.CompletedProcess[str]:
    """Run a step's text as GitHub does where `shell: bash` is said."""
    programs = Path(sys.executable).parent
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, **OWN, "PATH": path, **given},
        check=False,
        capture_output=True,
        text=True,
    )


def test_the_workflow_s_build(
    small: tuple[Path, Target], registry: str, client: docker.DockerClient
) -> None:
    """One target fails, the others are pushed; the next run does what is left, and a third none."""
    folder, target = small
    every = load_targets(folder / "matrix.yaml")
    names = [each.name for each in every]
    assert names.index(target.name) == 0 < len(names) - 1
    given = {"REGISTRY": f"{registry}/small", "TARGETS": " ".join(names), "GITHUB_ACTIONS": "true"}
    script = step("build", "dlc release")
    lock = folder / "images" / target.folder / "libraries.lock"
    content = lock.read_bytes()
    lock.unlink()
    try:
        first = github(script, folder, **given)
    finally:
        lock.write_bytes(content)
    assert first.returncode == 14, first.stderr
    why = f"build: {target.name} has locks that are not fresh"
    assert f"::error::not pushed: {target.name}: {why}" in first.stderr
    assert f"not pushed: {target.name}; run the same again" in first.stderr
    found = rows(folder, "plan", "--registry", f"{registry}/small")
    assert [row["state"] for row in found] == ["build", *["up to date"] * (len(names) - 1)]

    second = github(script, folder, **given)
    assert second.returncode == 0, second.stderr
    assert second.stdout.count(f"{registry}/small/") == 1
    found = rows(folder, "plan", "--registry", f"{registry}/small")
    assert [row["state"] for row in found] == ["up to date"] * len(names)
    for each in every:
        with pytest.raises(docker.errors.ImageNotFound):
            client.images.get(local_name(each.name))
    [record] = (folder / "releases").glob("*.json")
    released = json.loads(record.read_text("utf-8"))["images"]
    assert {row["tag"] for row in released} == {each.tag for each in every}

    # Nothing to do needs no engine.
    third = github(script, folder, **given, DOCKER_HOST="unix:///nowhere")
    assert third.returncode == 0, third.stderr
    assert [line.split()[1:4] for line in third.stdout.splitlines()[1:]] == [
        ["up", "to", "date"] for _ in names
    ]


def test_the_workflow_s_plan(registry: str, pushed: tuple[Inputs, ...], tmp_path: Path) -> None:
    """The very text of the step, in a checkout, as GitHub runs it."""
    script = step("plan", "ci-matrix")
    checkout = tmp_path / "checkout"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(checkout)], check=True)

    def plan(**given: str) -> tuple[list[dict[str, Any]], int]:
        output = tmp_path / "output"
        output.unlink(missing_ok=True)
        environment = {
            "GITHUB_OUTPUT": str(output),
            "REGISTRY": f"{registry}/team",
            **dict.fromkeys(("SHARDS", "SINCE", "TARGETS"), ""),
            **given,
        }
        result = github(script, checkout, **environment)
        assert result.returncode == 0, result.stderr
        told = dict(line.split("=", 1) for line in output.read_text("utf-8").splitlines())
        assert told.keys() == {"matrix", "count"}
        jobs: list[dict[str, Any]] = json.loads(told["matrix"])["include"]
        return jobs, int(told["count"])

    now, old, _ = (each.target for each in pushed)
    jobs, count = plan()
    assert len(jobs) == count
    named = {name for job in jobs for name in job["targets"].split()}
    assert old.name in named
    assert now.name not in named
    found = rows(ROOT, "plan", "--registry", f"{registry}/team")
    assert named == {row["image"] for row in found if row["state"] == "build"}
    assert plan(SINCE="HEAD") == ([], 0)
    jobs, count = plan(SHARDS="3", TARGETS="*-cpu-* *4.26.0*")
    assert count == 3
    assert plan(TARGETS=now.name) == ([], 0)
