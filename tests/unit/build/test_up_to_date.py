"""A build where there is nothing to do: what it asks of the engine, and what it says."""

from __future__ import annotations

import functools
import json
import re
import shlex
import tempfile
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

import pytest

from builder.build import identity as derived
from builder.build import size_budget
from builder.build.plan import Inputs, inputs
from builder.dockerfile.parse import last_stage
from builder.dockerfile.render import Renderer
from builder.engine.image import ImageInfo, key_tag
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from tests.conftest import Dlc

REPORT = json.dumps({"packages": {"torch": [100, 100]}, "system": {}, "java": 0, "rest": {}})


class Listing(ThreadingMixIn, UnixStreamServer):
    """Answers as an engine does that has images, and to what it is told; to nothing else."""

    daemon_threads = True

    def __init__(self, path: Path, images: list[dict[str, Any]]) -> None:
        self.images, self.asked = images, list[str]()
        self.told: dict[str, Any] = {}
        super().__init__(str(path), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Listing

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        what = re.sub(r"/v[0-9.]+/", "/", self.path)
        told = {"/images/json": self.server.images, **self.server.told}
        content = json.dumps(told.get(what, {"message": "no"})).encode()
        self.send_response(200 if what in told else 500)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def address_string(self) -> str:
        return "socket"

    def log_message(self, *_: object) -> None: ...


def image(name: str, labels: Mapping[str, str], number: int) -> dict[str, Any]:
    return {
        "Id": f"sha256:{number:064x}",
        "Size": 100,
        "Labels": dict(labels),
        "RepoTags": [name],
    }


@pytest.fixture(scope="module")
def targets(part: Path) -> tuple[Target, ...]:
    return load_targets(part / "matrix.yaml")


@pytest.fixture(scope="module")
def made_of(targets: tuple[Target, ...], part: Path) -> list[Inputs]:
    renderer = Renderer()
    return [
        inputs(t, part / "images", renderer) for t in targets if not t.device.startswith("neuron")
    ]


@pytest.fixture
def planner(dlc: Dlc, part: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Dlc:
    """Runs the command on that part of the matrix, where no killed run has left anything.

    If one has, its containers are asked for, too.
    """
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return functools.partial(dlc, "--matrix", part / "matrix.yaml")


@pytest.fixture
def engine(
    tmp_path: Path, made_of: list[Inputs], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Listing]:
    """An engine with every image that can be built; the sizes of all are known."""
    monkeypatch.setenv("DLC_STATE", str(tmp_path / "state"))
    found = [image(each.target.name, each.labels(), n) for n, each in enumerate(made_of)]
    for each, inputs_of in zip(found, made_of, strict=True):
        size_budget.remember(each["Id"], REPORT)
        derived.remember(each["Id"], inputs_of.key)
    found.append({"Id": "sha256:1", "Size": 1, "Labels": None, "RepoTags": None})
    path = tmp_path / "engine.sock"
    with Listing(path, found) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        yield server
        server.shutdown()


def test_a_build_of_everything_asks_the_engine_once(
    planner: Dlc, engine: Listing, targets: tuple[Target, ...]
) -> None:
    """Targets that lack a hash are refused, as ever; all others are left as they are."""
    run = planner("build", "--all", "--format", "json")
    assert engine.asked == ["GET /images/json"]
    rows = json.loads(run.out)
    assert [row["image"] for row in rows] == [
        t.name for t in targets if not t.device.startswith("neuron")
    ]
    assert {row["seconds"] for row in rows} == {None}
    assert run.code == 12
    assert f"{len(targets) - len(rows)} of {len(targets)} targets did not build" in run.err


def test_a_build_of_what_can_be_built_is_a_success(planner: Dlc, engine: Listing) -> None:
    run = planner("build", "*-cpu-*")
    assert (run.code, engine.asked) == (0, ["GET /images/json"])
    assert run.out.count("up to date") == len(run.out.splitlines()) - 1


def test_a_plan_asks_once_too(
    planner: Dlc, engine: Listing, targets: tuple[Target, ...], made_of: list[Inputs]
) -> None:
    run = planner("plan")
    assert (run.code, engine.asked) == (0, ["GET /images/json"])
    count, blocked = len(made_of), len(targets) - len(made_of)
    assert f"0 to build, {count} up to date, {blocked} cannot be built" in run.err


def test_nothing_that_can_be_built_asks_nothing(planner: Dlc, engine: Listing) -> None:
    run = planner("build", "*neuron*")
    assert (run.code, engine.asked) == (12, [])


def test_what_has_the_key_under_another_name_needs_no_build(
    planner: Dlc, engine: Listing, made_of: list[Inputs]
) -> None:
    first, second = made_of[0], made_of[1]
    engine.images[0]["RepoTags"] = [f"registry.example/{first.target.repository}:old"]
    engine.images[1]["RepoTags"] = [f"{second.target.repository}:{key_tag(second.key)}"]
    run = planner("plan", "--format", "json")
    rows = {row["image"]: row for row in json.loads(run.out)}
    assert rows[first.target.name]["state"] == "up to date"
    [why] = rows[first.target.name]["why"]
    assert why == f"it is registry.example/{first.target.repository}:old"
    assert rows[second.target.name]["why"] == [
        f"it is {second.target.repository}:{key_tag(second.key)}"
    ]


def test_an_image_without_a_name_is_nobody_s(
    planner: Dlc, engine: Listing, made_of: list[Inputs]
) -> None:
    """It may be what a check refused, or what an interrupted build left."""
    engine.images[0]["RepoTags"] = ["<none>:<none>"]
    name = made_of[0].target.name
    [row] = json.loads(planner("plan", name, "--format", "json").out)
    assert (row["state"], row["why"]) == ("build", ["there is no image"])


def looked_at(made_of: Inputs) -> tuple[dict[str, Any], list[str]]:
    """An image's configuration, and its steps, the newest first, as BuildKit writes them."""
    dockerfile = made_of.files["Dockerfile"].decode()
    found = [(each.verb, each.text) for each in last_stage(dockerfile)]
    said = dict(found)
    config = {name.capitalize(): json.loads(said[name]) for name in ("ENTRYPOINT", "CMD")}
    texts = [text for verb, text in found if verb == "ENV"]
    variables = dict(word.split("=", 1) for text in texts for word in shlex.split(text))
    env = [f"{name}={value}" for name, value in variables.items()]
    steps = [f"{verb} {text} # buildkit" for verb, text in reversed(found)]
    return {**config, "Env": env}, [*steps, '/bin/sh -c #(nop)  CMD ["bash"]']


def tell(engine: Listing, number: int, config: Mapping[str, Any], steps: list[str]) -> None:
    """Let the engine have another image, that nobody here has built, under the same name."""
    other = {**engine.images[number], "Id": f"sha256:{number + 1000:064x}"}
    engine.images[number] = other
    size_budget.remember(other["Id"], REPORT)
    engine.told["/version"] = {"Version": "20.10.24", "ApiVersion": "1.41", "Os": "linux"}
    engine.told[f"/images/{other['Id']}/json"] = {"Id": other["Id"], "Config": config}
    engine.told[f"/images/{other['Id']}/history"] = [{"CreatedBy": step} for step in steps]


def plan_of(planner: Dlc, made_of: Inputs) -> tuple[str, list[str]]:
    run = planner("plan", made_of.target.name, "--format", "json")
    [row] = json.loads(run.out)
    return row["state"], row["why"]


@pytest.fixture
def served(made_of: list[Inputs]) -> int:
    """The number of an image that serves."""
    return next(n for n, each in enumerate(made_of) if each.target.mode == "inference")


@pytest.mark.integration
@pytest.mark.parametrize(
    "steps",
    [
        ["ENTRYPOINT []", "RUN |1 BYTECODE= /bin/sh -c true # buildkit"],
        ["LABEL theirs=1"],
        ["bash"],  # what `docker commit` tells
        ['/bin/sh -c #(nop)  CMD ["serve"]'],
    ],
)
@pytest.mark.parametrize("tag", ["somebody/else:1", ""])
def test_a_child_has_our_labels_and_is_not_ours(
    planner: Dlc, engine: Listing, made_of: list[Inputs], served: int, steps: list[str], tag: str
) -> None:
    """Under a name of its own, and under ours, which `docker tag` gives to any image."""
    config, ours = looked_at(made_of[served])
    tell(engine, served, config, [*steps, *ours])
    if tag:
        engine.images[served]["RepoTags"] = [tag]
    state, [why] = plan_of(planner, made_of[served])
    assert state == "build"
    assert why == "there is no image" if tag else why.startswith("changed after its build: ")


@pytest.mark.integration
def test_what_was_built_elsewhere_is_looked_at_once(
    planner: Dlc, engine: Listing, made_of: list[Inputs], served: int
) -> None:
    config, ours = looked_at(made_of[served])
    # What the exporter adds for a base without a history is no step.
    tell(engine, served, config, ours)
    identity = engine.images[served]["Id"]
    engine.told[f"/images/{identity}/history"].insert(
        0, {"CreatedBy": "", "Comment": "buildkit.exporter.image.v0"}
    )
    assert plan_of(planner, made_of[served]) == ("up to date", [])
    assert f"GET /v1.41/images/{identity}/history" in engine.asked
    engine.asked.clear()
    name = made_of[served].target.name
    run = planner("build", name, "--format", "json")
    assert (run.code, engine.asked) == (0, ["GET /images/json"])
    assert json.loads(run.out)[0]["id"] == identity


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("Entrypoint", None, "ENTRYPOINT is []"),
        ("Cmd", ["bash"], 'CMD is ["bash"]'),
        ("Env", [], "is not set"),
    ],
)
def test_a_changed_configuration_without_a_step(
    planner: Dlc,
    engine: Listing,
    made_of: list[Inputs],
    served: int,
    name: str,
    value: Any,
    why: str,
) -> None:
    """As programs write it that edit images in a registry."""
    config, ours = looked_at(made_of[served])
    tell(engine, served, {**config, name: value}, ours)
    state, [told] = plan_of(planner, made_of[served])
    assert state == "build"
    assert told.startswith("changed after its build: ")
    assert told.endswith(why)


@pytest.mark.integration
def test_an_image_that_lost_its_history(
    planner: Dlc, engine: Listing, made_of: list[Inputs], served: int
) -> None:
    config, _ = looked_at(made_of[served])
    tell(engine, served, config, [])
    assert plan_of(planner, made_of[served]) == ("build", ["it has no history"])


@pytest.mark.integration
def test_a_child_under_our_name_is_not_pushed(
    planner: Dlc, engine: Listing, made_of: list[Inputs], served: int, closed_port: int
) -> None:
    config, ours = looked_at(made_of[served])
    tell(engine, served, config, ["ENTRYPOINT []", *ours])
    identity, name = engine.images[served]["Id"], made_of[served].target.name
    engine.told[f"/images/{name}/json"] = {
        "Id": identity,
        "Config": {**config, "Labels": engine.images[served]["Labels"]},
        "Architecture": "amd64",
        "RootFS": {"Layers": []},
        "Created": "",
    }
    nowhere = f"127.0.0.1:{closed_port}/team"
    run = planner("push", name, "--registry", nowhere)
    assert run.code == 14
    said = f"image {name} is not as it was built: changed after its build: ENTRYPOINT []"
    assert said in run.err


@pytest.mark.parametrize(
    "said",
    [
        {"history": None, "config": None},
        {"history": 1, "config": []},
        {"history": ["RUN x", {"created_by": 1}], "config": {"Env": [1], "Cmd": "x"}},
    ],
)
def test_a_registry_s_nonsense_is_no_image_of_ours(
    made_of: list[Inputs], served: int, said: dict[str, Any]
) -> None:
    config, ours = looked_at(made_of[served])
    assert derived.difference(made_of[served], {**config, "Env": 1}, ours)
    nonsense = ImageInfo(labels={}, config=said)
    assert derived.derived_there(made_of[served], nonsense)


def test_an_image_of_a_registry_is_looked_at_too(made_of: list[Inputs], served: int) -> None:
    config, ours = looked_at(made_of[served])

    def image_of(steps: list[str]) -> ImageInfo:
        history = [{"created_by": step} for step in reversed(steps)]
        return ImageInfo(labels={}, config={"config": config, "history": history})

    assert derived.derived_there(made_of[served], image_of(ours)) == ""
    child = image_of(["ENTRYPOINT []", *ours])
    assert derived.derived_there(made_of[served], child) == "changed after its build: ENTRYPOINT []"
    assert derived.derived_there(made_of[served], ImageInfo(labels={}))


def test_an_engine_that_answers_nonsense_is_told_of(planner: Dlc, engine: Listing) -> None:
    engine.images = [{"nothing": 1}]
    run = planner("plan", "*4.57.1*")
    assert run.code == 10
    assert "does not list its images as an engine does" in run.err
