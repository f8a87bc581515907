"""A build where there is nothing to do: what it asks of the engine, and what it says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

import pytest

from builder.contract import size
from builder.plan import Inputs, inputs, key_tag
from builder.render import Renderer
from builder.target import Target
from tests.conftest import ROOT, Dlc

REPORT = json.dumps({"packages": {"torch": [100, 100]}, "system": {}, "java": 0, "rest": {}})


class Listing(ThreadingMixIn, UnixStreamServer):
    """Answers as an engine does that has images; nothing else is known to it."""

    daemon_threads = True

    def __init__(self, path: Path, images: list[dict[str, Any]]) -> None:
        self.images, self.asked = images, list[str]()
        super().__init__(str(path), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Listing

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        known = self.path == "/images/json"
        content = json.dumps(self.server.images if known else {"message": "no"}).encode()
        self.send_response(200 if known else 500)
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
def made_of(targets: tuple[Target, ...]) -> list[Inputs]:
    renderer = Renderer()
    return [inputs(t, ROOT / "images", renderer) for t in targets if t.device != "neuron"]


@pytest.fixture
def engine(
    tmp_path: Path, made_of: list[Inputs], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Listing]:
    """An engine with every image that can be built; the sizes of all are known."""
    monkeypatch.setenv("DLC_STATE", str(tmp_path / "state"))
    found = [image(each.target.name, each.labels(), n) for n, each in enumerate(made_of)]
    for each in found:
        size.remember(each["Id"], REPORT)
    found.append({"Id": "sha256:1", "Size": 1, "Labels": None, "RepoTags": None})
    path = tmp_path / "engine.sock"
    with Listing(path, found) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        yield server
        server.shutdown()


def test_a_build_of_everything_asks_the_engine_once(
    dlc: Dlc, engine: Listing, targets: tuple[Target, ...]
) -> None:
    """The one target that lacks a hash is refused, as ever; all others are left as they are."""
    run = dlc("--matrix", ROOT / "matrix.yaml", "build", "--format", "json")
    assert engine.asked == ["GET /images/json"]
    rows = json.loads(run.out)
    assert [row["image"] for row in rows] == [t.name for t in targets if t.device != "neuron"]
    assert {row["seconds"] for row in rows} == {None}
    assert run.code == 12
    assert "1 of 47 targets did not build" in run.err


def test_a_build_of_what_can_be_built_is_a_success(dlc: Dlc, engine: Listing) -> None:
    run = dlc("--matrix", ROOT / "matrix.yaml", "build", "*-cpu-*")
    assert (run.code, engine.asked) == (0, ["GET /images/json"])
    assert run.out.count("up to date") == len(run.out.splitlines()) - 1


def test_a_plan_asks_once_too(dlc: Dlc, engine: Listing) -> None:
    run = dlc("--matrix", ROOT / "matrix.yaml", "plan")
    assert (run.code, engine.asked) == (0, ["GET /images/json"])
    assert "0 to build, 46 up to date, 1 cannot be built" in run.err


def test_nothing_that_can_be_built_asks_nothing(dlc: Dlc, engine: Listing) -> None:
    run = dlc("--matrix", ROOT / "matrix.yaml", "build", "*neuron*")
    assert (run.code, engine.asked) == (12, [])


def test_what_has_the_key_under_another_name_needs_no_build(
    dlc: Dlc, engine: Listing, made_of: list[Inputs]
) -> None:
    first, second = made_of[0], made_of[1]
    engine.images[0]["RepoTags"] = [f"registry.example/{first.target.repository}:old"]
    engine.images[1]["RepoTags"] = [f"{second.target.repository}:{key_tag(second.key)}"]
    run = dlc("--matrix", ROOT / "matrix.yaml", "plan", "--format", "json")
    rows = {row["image"]: row for row in json.loads(run.out)}
    assert rows[first.target.name]["state"] == "up to date"
    [why] = rows[first.target.name]["why"]
    assert why == f"it is registry.example/{first.target.repository}:old"
    assert rows[second.target.name]["why"] == [
        f"it is {second.target.repository}:{key_tag(second.key)}"
    ]


def test_an_image_without_a_name_is_nobody_s(
    dlc: Dlc, engine: Listing, made_of: list[Inputs]
) -> None:
    """It may be what a check refused, or what an interrupted build left."""
    engine.images[0]["RepoTags"] = ["<none>:<none>"]
    name = made_of[0].target.name
    [row] = json.loads(dlc("--matrix", ROOT / "matrix.yaml", "plan", name, "--format", "json").out)
    assert (row["state"], row["why"]) == ("build", ["there is no image"])


def test_an_engine_that_answers_nonsense_is_told_of(dlc: Dlc, engine: Listing) -> None:
    engine.images = [{"nothing": 1}]
    run = dlc("--matrix", ROOT / "matrix.yaml", "plan", "*4.26.0*")
    assert run.code == 10
    assert "does not list its images as an engine does" in run.err
