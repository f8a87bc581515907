"""The contract of both Debian 12 images: what `dlc test` says of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from builder.engine.containers import created
from builder.engine.namespace import NAMESPACE_LABEL
from tests.images.conftest import INFERENCE, ROOT, TRAINING, Image, dlc

pytestmark = pytest.mark.images

# What is asked at every change, as `--only` takes it; the whole is for the night.
CORE = {
    INFERENCE: "protocol or lean",
    TRAINING: "first or hyperparameters or exception",
}
# Each of these has at least one test that passes.
CORE_MODULES = {
    INFERENCE: {"lean", "protocol"},
    TRAINING: {"first", "training_end", "training_start"},
}
MODULES = {
    INFERENCE: {
        *("batch", "citizen", "echo", "first", "from_pretrained", "fuzz", "guess", "lean"),
        *(
            "loading",
            "multi_model",
            "protocol",
            "readiness",
            "security",
            "tasks",
            "toolchain",
            "user_code",
        ),
    },
    TRAINING: {
        *("first", "from_pretrained", "lean"),
        *("toolchain", "training_end", "training_hosts", "training_start", "training_text"),
    },
}

# All that is skipped, by its reason: no other test may be, whatever it says.
SKIPPED: Mapping[str, Mapping[str, str]] = {
    INFERENCE: {},
    TRAINING: {
        "components::components_are_there": "the image's label names no components",
        "training_hosts::two_hosts_by_mpi": (
            "the image's label names no mpi4py, with which the toolkit starts its script"
        ),
    },
}


Runs = dict[str, subprocess.CompletedProcess[str]]


def ask(images: Mapping[str, Image], only: Mapping[str, str]) -> Runs:
    """The contract of both images, at once: most of it waits."""

    def of(name: str) -> subprocess.CompletedProcess[str]:
        return dlc("test", name, "--format", "json", "--only", only.get(name, ""))

    with ThreadPoolExecutor() as pool:
        return dict(zip(images, pool.map(of, images), strict=True))


@pytest.fixture(scope="module")
def core(images: dict[str, Image]) -> Runs:
    return ask(images, CORE)


@pytest.fixture(scope="module")
def whole(images: dict[str, Image]) -> Runs:
    return ask(images, {})


def check(
    run: subprocess.CompletedProcess[str], modules: set[str], skipped: Mapping[str, str]
) -> None:
    assert run.returncode == 0, run.stderr
    results = json.loads(run.stdout)
    passed = {row["test"].partition("::")[0] for row in results if row["outcome"] == "passed"}
    assert passed == modules
    left_out = {row["test"]: row["detail"] for row in results if row["outcome"] == "skipped"}
    assert left_out == skipped


@pytest.mark.parametrize("name", [INFERENCE, TRAINING])
def test_core_of_the_contract(name: str, core: Runs) -> None:
    check(core[name], CORE_MODULES[name], {})


@pytest.mark.slow
@pytest.mark.parametrize("name", [INFERENCE, TRAINING])
def test_contract(name: str, whole: Runs) -> None:
    check(whole[name], MODULES[name], SKIPPED[name])


@pytest.mark.slow
def test_thousands_of_hostile_requests(
    inference_image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLC_FUZZ_REQUESTS", "5000")
    run = dlc("test", INFERENCE, "--format", "json", "--only", "fuzz and hostile")
    assert run.returncode == 0, run.stderr
    [result] = json.loads(run.stdout)
    assert result["detail"].startswith("5000 requests: ")
    del inference_image


def test_a_broken_promise_is_told(images: dict[str, Image]) -> None:
    """An inference image that is said to be another is found out, with its own exit code."""
    run = dlc("test", TRAINING, "--image", images[INFERENCE].tag, "--only", "the_toolkit_is_there")
    assert run.returncode == 13
    assert "breaks its contract: training_start::" in run.stderr
    assert "0 passed" in run.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_leaves_no_container(
    inference_image: Image, own_namespace: str, how: signal.Signals
) -> None:
    containers = inference_image.client.api.containers
    command = [sys.executable, "-m", "builder", "--matrix", str(ROOT / "matrix.yaml")]
    command += ["test", INFERENCE, "--only", "echo"]
    ours = {"label": [f"{NAMESPACE_LABEL}={own_namespace}", "dlc.role=serve"]}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not containers(filters=ours):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(how)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    # Who is told of a hang-up need not tell anybody.
    assert said.endswith("dlc: interrupted\n") or how is signal.SIGHUP
    assert containers(all=True, filters=ours) == []


def test_what_a_killed_run_left_is_removed_by_the_next(
    inference_image: Image, own_namespace: str
) -> None:
    """Its container goes on and holds its port, until another run makes one."""
    containers = inference_image.client.api.containers
    command = [sys.executable, "-m", "builder", "--matrix", str(ROOT / "matrix.yaml")]
    command += ["test", INFERENCE, "--only", "echo"]
    ours = {"label": [f"{NAMESPACE_LABEL}={own_namespace}", "dlc.role=serve"]}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not containers(filters=ours):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.kill()
    assert containers(filters=ours)
    with created(inference_image.client, inference_image.tag, command=["unused"]) as container:
        [left] = containers(all=True, filters=ours)
        assert left["Id"] == container.id
