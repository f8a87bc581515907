"""What an engine holds, trimming it, and builds that do not fit; against a small engine of ours."""

from __future__ import annotations

import json
import shutil
import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from builder.build.bake import _with_remedy
from builder.build.build_times import BuildTime
from builder.build.buildkit_progress import Step
from builder.build.plan import Inputs, inputs
from builder.build.space import expected_bytes, expected_size, require_space
from builder.dockerfile.render import Renderer
from builder.engine.connection import Engine
from builder.engine.image import ImageInfo
from builder.engine.usage import free_bytes
from builder.errors import BuildError
from builder.matrix.target import Target
from tests.conftest import ROOT, Dlc

GB = 10**9
CPU = "huggingface-pytorch-inference:2.13.0-transformers4.57.1-cpu-py311-debian12"
TRAINING = "huggingface-pytorch-training:2.13.0-transformers4.57.1-cpu-py311-debian12"

HELD: dict[str, Any] = {
    "LayersSize": 3 * GB,
    "Images": [
        {"Id": "sha256:1", "RepoTags": ["a:1"], "Size": 2 * GB},
        {"Id": "sha256:2", "RepoTags": ["<none>:<none>"], "Size": GB},
        {"Id": "sha256:3", "RepoTags": None, "Size": GB},
    ],
    "Containers": [
        {"State": "running", "SizeRw": 1000},
        {"State": "exited"},
    ],
    "Volumes": None,
    "BuildCache": [
        {"ID": "a", "Size": 4 * GB, "InUse": False, "Shared": False},
        {"ID": "b", "Size": GB, "InUse": True, "Shared": False},
        {"ID": "c", "Size": 9 * GB, "InUse": False, "Shared": True},
    ],
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        assert isinstance(self.server, Holding)
        parts = urlsplit(self.path)
        path = parts.path.removeprefix("/v1.41")
        self.server.asked.append((f"{self.command} {path}", parse_qs(parts.query)))
        answer = self.server.told.get(path)
        body = json.dumps(answer if answer is not None else {"message": "out of order"}).encode()
        self.send_response(500 if answer is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass

    def address_string(self) -> str:
        return "test"


class Holding(socketserver.ThreadingUnixStreamServer):
    """An engine that holds what it is told to."""

    daemon_threads = True

    def __init__(self, path: Path, root: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(str(path), Handler)
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.told: dict[str, Any] = {
            "/version": {"Version": "20.10.24", "ApiVersion": "1.41", "Os": "linux"},
            "/info": {"DockerRootDir": str(root), "Name": socket.gethostname()},
            "/system/df": HELD,
            "/images/json": [{"Id": "sha256:2"}, {"Id": "sha256:3"}],
            "/images/prune": {
                "ImagesDeleted": [{"Untagged": "x"}, {"Deleted": "sha256:2"}, {"Deleted": "layer"}],
                "SpaceReclaimed": GB,
            },
            "/build/prune": {"CachesDeleted": ["a", "b"], "SpaceReclaimed": 4 * GB},
        }


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory, with a name short enough for a socket."""
    folder = tmp_path_factory.mktemp("s")
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    monkeypatch.setenv("DLC_STATE", str(folder))
    monkeypatch.setattr("builder.engine.connection.DEFAULT_HOST", f"unix://{folder}/default.sock")
    return folder


def holding(path: Path, root: Path) -> Iterator[Holding]:
    with Holding(path, root) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def private(state: Path) -> Iterator[Holding]:
    """The private engine."""
    yield from holding(state / "engine/docker.sock", state)


@pytest.fixture
def other(state: Path) -> Iterator[Holding]:
    """Somebody else's engine."""
    yield from holding(state / "default.sock", state)


def found(server: Holding) -> Engine:
    return Engine(host=f"unix://{server.server_address}", version="20.10.24", private=True)


# What it holds


@pytest.mark.integration
@pytest.mark.usefixtures("private")
@pytest.mark.parametrize("command", [["engine"], ["engine", "status"]])
def test_what_the_engine_holds(dlc: Dlc, command: list[str]) -> None:
    run = dlc(*command, "--format", "json")
    assert run.code == 0, run.err
    told = json.loads(run.out)
    assert (told["running"], told["private"]) == (True, True)
    assert told["usage"].pop("free") > 0
    assert told["usage"] == {
        "images": 3,
        "image_bytes": 3 * GB,
        "untagged_images": 2,
        "containers": 2,
        "running_containers": 1,
        "container_bytes": 1000,
        "volumes": 0,
        "cache_records": 2,
        "cache_bytes": 5 * GB,
        "cache_reclaimable": 4 * GB,
    }
    lines = [line.split(maxsplit=1) for line in dlc(*command).out.splitlines()]
    assert [*lines[-4:-1], lines[-1][0]] == [
        ["images", "3 with 3 GB, 2 of them without a name"],
        ["containers", "2 with 1 kB, 1 of them running"],
        ["build_cache", "5 GB, 4 GB reclaimable"],
        "disk_free",
    ]


@pytest.mark.integration
def test_an_engine_that_does_not_tell_is_shown_all_the_same(private: Holding, dlc: Dlc) -> None:
    for wrong in (None, ["Images"], {"BuildCache": [{"Size": "much"}]}):
        private.told["/system/df"] = wrong
        run = dlc("engine", "--format", "json")
        assert (run.code, json.loads(run.out)["usage"]) == (0, None)
        assert run.err.startswith("disk usage unknown: ")


def test_free_space_is_known_only_of_a_disk_here(state: Path) -> None:
    here = Engine(host="unix:///x.sock", version="1", private=True)
    info = {"DockerRootDir": str(state), "Name": socket.gethostname()}
    assert free_bytes(here, info)
    assert free_bytes(replace(here, host="tcp://example:2376"), info) is None
    assert free_bytes(here, {**info, "Name": "docker-desktop"}) is None
    assert free_bytes(here, {**info, "DockerRootDir": "/nowhere/docker"}) is None


# Trimming it


@pytest.mark.integration
def test_prune_trims_the_private_engine(private: Holding, dlc: Dlc) -> None:
    run = dlc("engine", "prune", "--keep-storage", "1.5 GB")
    assert (run.code, run.err) == (0, "")
    assert run.out == ("freed 5 GB; removed untagged images: 1, build cache records: 2\n")
    posts = {what: query for what, query in private.asked if what.startswith("POST")}
    assert list(posts) == ["POST /images/prune", "POST /build/prune"]
    filters = json.loads(posts["POST /images/prune"]["filters"][0])
    assert filters == {"dangling": ["true"], "until": ["1m"]}
    assert posts["POST /build/prune"] == {"keep-storage": ["1500000000"]}
    told = json.loads(dlc("engine", "prune", "--format", "json").out)
    assert told == {
        "images": 1,
        "image_bytes": GB,
        "cache_records": 2,
        "cache_bytes": 4 * GB,
        "bytes": 5 * GB,
    }
    assert private.asked[-1][1] == {"keep-storage": ["10000000000"]}


@pytest.mark.integration
def test_prune_leaves_anothers_engine_alone(other: Holding, dlc: Dlc) -> None:
    run = dlc("engine", "prune")
    assert run.code == 10
    assert "is not the private engine" in run.err
    assert run.err.endswith("; trim it all the same: --force\n")
    assert not [what for what, _ in other.asked if what.startswith("POST")]
    assert dlc("engine", "prune", "--force").code == 0
    assert [what for what, _ in other.asked if what.startswith("POST")]


@pytest.mark.integration
def test_prune_needs_an_engine_that_does_it(private: Holding, dlc: Dlc) -> None:
    private.told["/build/prune"] = None
    run = dlc("engine", "prune")
    assert run.code == 10
    assert "out of order" in run.err


@pytest.mark.usefixtures("state")
def test_prune_without_an_engine(dlc: Dlc) -> None:
    run = dlc("engine", "prune")
    assert (run.code, run.err) == (
        10,
        "dlc: no Docker Engine is running; start one: dlc engine up\n",
    )


@pytest.mark.parametrize("size", ["3TB", "much", "-1 GB", "1", ""])
def test_what_is_no_size_is_refused(private: Holding, dlc: Dlc, size: str) -> None:
    run = dlc("engine", "prune", "--keep-storage", size)
    assert run.code == 2
    assert "is not a size; write 500 MB or 20 GB" in run.err
    assert not private.asked


# Builds that do not fit


@pytest.fixture(scope="module")
def both(targets: tuple[Target, ...]) -> list[Inputs]:
    """The inputs of two targets on one framework layer."""
    named = {target.name: target for target in targets}
    return [inputs(named[name], ROOT / "images", Renderer()) for name in (CPU, TRAINING)]


def test_what_images_are_expected_to_take(both: list[Inputs]) -> None:
    target = both[0].target
    assert expected_size(target, {}) == GB
    like = CPU.replace("4.57.1", "4.56.0")
    past = {
        like: BuildTime(seconds=1, size=2 * GB),
        like.replace("2.13", "2.12"): BuildTime(seconds=1, size=4 * GB),
        CPU.replace("-cpu-", "-gpu-"): BuildTime(seconds=1, size=90 * GB),
        TRAINING: BuildTime(seconds=1, size=80 * GB),
    }
    assert expected_size(target, past) == 3 * GB
    assert expected_size(target, {**past, CPU: BuildTime(seconds=1, size=5 * GB)}) == 5 * GB


def test_a_framework_layer_that_is_there_is_not_counted_again(both: list[Inputs]) -> None:
    past = {name: BuildTime(seconds=1, size=2 * GB) for name in (CPU, TRAINING)}
    assert expected_bytes(both[:1], [], past) == 4 * GB
    assert expected_bytes(both, [], past) == 5 * GB
    labels = both[1].labels()
    on_the_same = ImageInfo(id="sha256:1", size=GB, labels=labels)
    assert expected_bytes(both[:1], [on_the_same], past) == GB
    on_another = {name: text.replace("framework.lock=", "x=") for name, text in labels.items()}
    image = ImageInfo(id="sha256:1", size=GB, labels=on_another)
    assert expected_bytes(both[:1], [image, ImageInfo(id="2", size=1, labels={})], past) == 4 * GB


def full(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))


def test_a_build_that_does_not_fit_says_so(
    private: Holding, both: list[Inputs], monkeypatch: pytest.MonkeyPatch
) -> None:
    past = {name: BuildTime(seconds=1, size=2 * GB) for name in (CPU, TRAINING)}
    root = private.told["/info"]["DockerRootDir"]
    full(monkeypatch, 5 * GB)
    require_space(found(private), both, [], past)
    full(monkeypatch, 5 * GB - GB // 2)
    with pytest.raises(BuildError) as caught:
        require_space(found(private), both, [], past)
    assert str(caught.value) == (
        f"not enough disk space to build 2 targets: about 5 GB needed, 4.5 GB free in {root}; "
        "free some with `dlc engine prune`, or build all the same: --skip-space-check"
    )
    with pytest.raises(BuildError, match=f"to build {CPU}: about 4 GB needed, 1 GB free"):
        full(monkeypatch, GB)
        require_space(found(private), both[:1], [], past)
    require_space(found(private), [], [], past)
    private.told["/info"]["Name"] = "elsewhere"
    require_space(found(private), both, [], past)


def test_a_full_disk_comes_with_a_remedy() -> None:
    full_disk = "write /x: no space left on device"
    step = Step(name="x")
    step.add(b"tar: /x: Cannot write: No space left on device\n")
    remedy = "; the engine's disk is full, free some: dlc engine prune"
    assert _with_remedy(full_disk, None) == full_disk + remedy
    assert _with_remedy("exit code: 1", step) == f"exit code: 1{remedy}"
    assert _with_remedy("exit code: 1", Step(name="x")) == "exit code: 1"
