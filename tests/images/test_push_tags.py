"""Which tags a push leaves in a real registry, which of them move, and what it says of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from builder.cli.progress import Progress, Pushes
from builder.engine.connection import Engine
from builder.registry.auth import Login
from builder.registry.client import DOCKER_MANIFEST, RegistryClient
from builder.registry.reference import Place
from builder.release.layer_store import LayerStore
from builder.release.push import Pusher
from tests.images.pushing import Workshop
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

TRAINING = "team/huggingface-pytorch-training"
OLD, NEW = (f"9.9.7-transformers{version}-cpu-py311-debian12" for version in ("5.0.0", "5.1.0"))


@pytest.fixture
def shop(client: docker.DockerClient, tmp_path: Path) -> Iterator[Workshop]:
    folder = tmp_path / "shop"
    folder.mkdir()
    workshop = Workshop(client=client, folder=folder)
    yield workshop
    workshop.remove()


@pytest.fixture
def registry(registry_program: str, tmp_path: Path, shop: Workshop) -> Iterator[Registry]:
    """One that wants a password, which only a credential helper knows."""
    folder = tmp_path / "registry"
    folder.mkdir()
    passwords = folder / "htpasswd"
    passwords.write_text(HTPASSWD)
    auth = f"auth: {{htpasswd: {{realm: here, path: '{passwords}'}}}}"
    with running(Registry(program=registry_program, folder=folder, auth=auth)) as found:
        write_login(tmp_path, found.host)
        shop.environment |= {
            "DOCKER_CONFIG": str(tmp_path),
            "PATH": f"{tmp_path}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        yield found


@pytest.fixture
def reader(registry: Registry) -> RegistryClient:
    return RegistryClient(
        registry.host, logins=lambda _: Login(user="builder", password="secret"), pause=0.05
    )


def test_all_tags_of_a_release(shop: Workshop, registry: Registry, reader: RegistryClient) -> None:
    built = shop.image(shop.old, [noise(200_000), noise(100_000)])
    result = shop.push(shop.old.name, registry=f"{registry.host}/team")
    assert result.returncode == 0, result.stderr
    name, digest = result.stdout.strip().split("@")
    assert name == f"{registry.host}/{TRAINING}:{OLD}"
    manifest = reader.manifest(TRAINING, digest)
    assert manifest is not None
    # SageMaker takes Docker's media types only (aws/amazon-sagemaker-feedback#180).
    assert manifest.media_type == DOCKER_MANIFEST
    login = {"username": "builder", "password": "secret"}
    pulled = shop.client.images.pull(f"{name.rpartition(':')[0]}@{digest}", auth_config=login)
    ours = shop.client.images.get(built)  # with containerd's store, an id is that of a manifest
    assert pulled.attrs["RootFS"] == ours.attrs["RootFS"]
    assert pulled.labels == ours.labels
    shop.client.images.remove(f"{name.rpartition(':')[0]}@{digest}", noprune=True)

    row = shop.released()[name]
    tags = {
        OLD,
        f"{OLD}-v1.0",
        f"key-{row['key'][:16]}",
        "9.9-transformers5.0-cpu-py311-debian12",
        "9.9-transformers5.0-cpu-py311-debian12-v1",
    }
    assert set(row["tags"]) == tags
    assert row["digest"] == digest
    assert 300_000 < row["size"] < 310_000
    assert held(reader, TRAINING) == dict.fromkeys(tags, digest)
    assert not (shop.client.images.list(f"{registry.host}/{TRAINING}"))

    again = shop.push(shop.old.name, registry=f"{registry.host}/team", PYTHONUNBUFFERED="1")
    assert (again.returncode, again.stdout) == (0, result.stdout)
    assert f"{digest} is there already" in again.stderr
    assert held(reader, TRAINING) == dict.fromkeys(tags, digest)


def test_short_tags_are_the_newest_release_s_whoever_is_pushed_last(
    shop: Workshop, registry: Registry, reader: RegistryClient
) -> None:
    shop.image(shop.new, [noise(1000)])
    shop.image(shop.old, [noise(1000)])
    for target in (shop.new, shop.old):
        assert shop.push(target.name, registry=f"{registry.host}/team").returncode == 0
    found = held(reader, TRAINING)
    assert found["9.9.7-cpu-py311"] == found["9.9-cpu-py311"] == found[NEW] != found[OLD]
    assert found["9.9-transformers5.0-cpu-py311-debian12"] == found[OLD]


def test_full_tag_moves_and_releases_stay(
    shop: Workshop, registry: Registry, reader: RegistryClient
) -> None:
    where = f"{registry.host}/team"
    shop.image(shop.old, [noise(1000)])
    assert shop.push(shop.old.name, registry=where).returncode == 0
    first = held(reader, TRAINING)
    shop.image(shop.old, [noise(1000)], inputs="Dockerfile=0000000000000000 base=0123456789abcdef")

    kept = shop.push(shop.old.name, "--immutable", registry=where)
    assert (kept.returncode, kept.stdout) == (14, "")
    assert re.search(
        rf"{OLD} is {first[OLD]}, image sha256:\w+, and must not become image sha256:\w+: "
        "Dockerfile changed; the repository keeps its tags",
        kept.stderr,
    )
    same = shop.push(shop.old.name, "--release", "1.0", registry=where)
    assert same.returncode == 14
    assert f"{OLD}-v1.0 is {first[OLD]}" in same.stderr
    assert "push this image as another, --release X.Y" in same.stderr
    assert held(reader, TRAINING) == first

    moved = shop.push(shop.old.name, registry=where)
    assert moved.returncode == 0, moved.stderr
    assert f"{OLD} moved from {first[OLD]}" in moved.stderr
    second = held(reader, TRAINING)
    assert second[f"{OLD}-v1.0"] == first[OLD] != second[OLD] == second[f"{OLD}-v1.1"]
    assert {tag: first[tag] for tag in first if tag.startswith("key-")}.items() <= second.items()

    other = shop.push(shop.old.name, "--release", "2.0", registry=where)
    assert (other.returncode, other.stdout) == (14, "")
    assert held(reader, TRAINING) == second
    named = shop.push(shop.old.name, "--release", "1.7", registry=where)
    assert named.returncode == 0, named.stderr
    assert held(reader, TRAINING)[f"{OLD}-v1.7"] == second[OLD]


def test_short_tag_that_is_kept_is_seen_before_anything_is_uploaded(
    shop: Workshop, registry: Registry, reader: RegistryClient
) -> None:
    where = f"{registry.host}/team"
    shop.image(shop.old, [noise(1000)])
    assert shop.push(shop.old.name, registry=where).returncode == 0
    manifest = reader.manifest(TRAINING, OLD)
    assert manifest is not None
    reader.put_manifest(TRAINING, "9.9.7-cpu-py311", manifest)
    before = held(reader, TRAINING)
    shop.image(shop.new, [noise(1000)])
    refused = shop.push(shop.new.name, "--immutable", registry=where)
    assert refused.returncode == 14
    assert f":9.9.7-cpu-py311 is {manifest.digest}" in refused.stderr
    assert held(reader, TRAINING) == before


def test_another_build_of_the_same_key_moves_nothing(
    shop: Workshop, registry: Registry, reader: RegistryClient
) -> None:
    where = f"{registry.host}/team"
    shop.image(shop.old, [noise(1000)], key="a" * 64)
    assert shop.push(shop.old.name, registry=where).returncode == 0
    first = held(reader, TRAINING)
    shop.image(shop.old, [noise(1000)], key="a" * 64)
    again = shop.push(shop.old.name, registry=where)
    assert again.returncode == 0, again.stderr
    assert held(reader, TRAINING) == first


def test_without_a_login_nothing_is_pushed(shop: Workshop, registry: Registry) -> None:
    shop.image(shop.old, [noise(1000)])
    config = shop.folder / "config.json"
    config.write_text("{}")
    shop.environment["DOCKER_CONFIG"] = str(shop.folder)
    result = shop.push(shop.old.name, registry=f"{registry.host}/team")
    assert result.returncode == 14
    assert f"run `docker login {registry.host}`" in result.stderr
    assert "Traceback" not in result.stderr


def test_parallel_pushes_send_a_shared_layer_once(
    shop: Workshop, registry: Registry, reader: RegistryClient, tmp_path: Path
) -> None:
    shared, size = noise(3_000_000), 3_000_000
    for target in shop.targets:
        shop.image(target, [shared, noise(500_000)])
    with serving(Proxy(registry)) as proxy:
        write_login(tmp_path, proxy.host)
        result = shop.push(
            "--all", "--jobs", "3", "--format", "json", registry=f"{proxy.host}/team"
        )
        assert result.returncode == 0, result.stderr
        total = sum(proxy.uploaded.values())
    assert size + 1_500_000 < total < size + 1_700_000
    assert len(json.loads(result.stdout)) == 3
    for name in (TRAINING, "team/huggingface-pytorch-inference"):
        assert held(reader, name)
    assert re.search(r"[\d.]+ [MkG]B of [\d.]+ [MkG]B, 2 of 2 layers", result.stderr)


def test_one_that_fails_leaves_the_others(
    shop: Workshop, registry: Registry, reader: RegistryClient
) -> None:
    shop.image(shop.new, [noise(1000)])
    result = shop.push("*training*", registry=f"{registry.host}/team")
    assert result.returncode == 14
    assert result.stderr.endswith(
        "dlc: 1 image of 2 not pushed; run the same again: what is there is not uploaded twice\n"
    )
    assert f"there is no image {shop.old.name}" in result.stderr
    assert list(shop.released()) == [f"{registry.host}/{TRAINING}:{NEW}"]
    assert held(reader, TRAINING)


# What ECR answers where a tag is to be kept (aws/containers-roadmap#862, moby/buildkit#3776).
KEPT = json.dumps(
    {
        "errors": [
            {
                "code": "TAG_INVALID",
                "message": f"The image tag '{OLD}' already exists in the 'x' repository and cannot "
                "be overwritten because the tag is immutable.",
            }
        ]
    }
)


def test_registry_that_keeps_a_tag_by_itself(
    shop: Workshop, registry: Registry, reader: RegistryClient, tmp_path: Path
) -> None:
    refusal = Fault(pattern=f"^PUT .*/manifests/{OLD}$", how="400", times=1000, body=KEPT)
    with serving(Proxy(registry)) as proxy:
        where = f"{proxy.host}/team"
        write_login(tmp_path, proxy.host)
        shop.image(shop.old, [noise(1000)])
        # The tag is there, only the answer was lost: that it is refused then is no mistake.
        lost = Fault(pattern=f"^PUT .*/manifests/{OLD}$", how="lost")
        proxy.faults = [lost, refusal]
        assert shop.push(shop.old.name, registry=where).returncode == 0
        assert (lost.times, refusal.times) == (0, 999)
        first = held(reader, TRAINING)
        again = shop.push(shop.old.name, registry=where)
        assert (again.returncode, refusal.times) == (0, 999)

        shop.image(shop.old, [noise(1000)])
        other = shop.push(shop.old.name, registry=where)
        assert other.returncode == 14
        assert f"{OLD} is {first[OLD]}, image sha256:" in other.stderr
        assert "and must not become sha256:" in other.stderr
        assert "because the tag is immutable." in other.stderr
        assert held(reader, TRAINING)[OLD] == first[OLD]


def test_login_that_boto3_gets(
    shop: Workshop,
    registry: Registry,
    reader: RegistryClient,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moto = pytest.importorskip("moto")
    from builder.registry.ecr import EcrHost, login

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    host = EcrHost(account="123456789012", region="eu-west-1")
    asked = []

    def logins(address: str) -> Login:
        asked.append(address)
        return login(host)

    shop.image(shop.old, [noise(1000)])
    store = LayerStore(zstd=False)
    with moto.mock_aws(), store.opened():
        pusher = Pusher(
            engine=engine,
            place=Place(host=registry.host, prefix="team"),
            targets=shop.targets,
            client=RegistryClient(registry.host, logins=logins, pause=0.05),
            watcher=Pushes(Progress()),
            store=store,
        )
        released = pusher.push(pusher.prepare(shop.old))
    assert set(asked) == {registry.host}
    assert held(reader, TRAINING) == dict.fromkeys(released.tags, released.digest)


@pytest.mark.slow
def test_three_pushes_of_one_image_at_once(
    shop: Workshop, registry: Registry, reader: RegistryClient
) -> None:
    """Nothing is in each other's way: not on the engine, not in the registry, not in the record."""
    for number in range(4):
        shop.image(shop.old, [noise(400_000), noise(300_000)])
        where = f"{registry.host}/team{number}"
        pushes = [shop.begin(shop.old.name, registry=where) for _ in range(3)]
        told = [(*push.communicate(timeout=100), push.returncode) for push in pushes]
        assert [code for *_, code in told] == [0, 0, 0], [err for _, err, _ in told]
        assert len({out for out, *_ in told}) == 1
        row = shop.released()[f"{where}/{shop.old.name}"]
        repository = f"team{number}/{shop.old.repository}"
        assert held(reader, repository) == dict.fromkeys(row["tags"], row["digest"])
    names = [name for image in shop.client.images.list() for name in image.tags]
    assert not [name for name in names if name.startswith(registry.host)]
