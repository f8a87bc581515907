"""Which containers have lost the process that would have removed them."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any, cast

import docker
import docker.errors
import pytest

from builder.engine.orphans import OWNER_LABEL, alive, owner, remove_orphans

OF_A_CHILD = "from builder.engine.orphans import owner; print(owner(), flush=True); input()"


@pytest.fixture
def child() -> Any:
    """A process, and what it would label its containers with."""
    with subprocess.Popen(
        [sys.executable, "-c", OF_A_CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        yield process, process.stdout.readline().strip()
        process.kill()


def test_this_process_is_alive() -> None:
    assert f"/{os.getpid()}/" in owner()
    assert alive(owner())


@pytest.mark.integration
def test_a_process_that_was_killed_is_not(child: tuple[subprocess.Popen[str], str]) -> None:
    """Nor is it while its parent has not asked how it ended."""
    process, its = child
    assert alive(its)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not alive(its)
    process.wait()
    assert not alive(its)


def test_another_process_has_the_id_now() -> None:
    here, _, began = owner().rpartition("/")
    assert not alive(f"{here}/{int(began) + 1}")


@pytest.mark.parametrize("said", ["", "x", "a/b/c", "a/b/1/2", "other-boot/4026531836/999999/1"])
def test_what_cannot_be_seen_from_here_may_be_alive(said: str) -> None:
    """Another machine or a container has ids of its own; a label may be anybody's."""
    assert alive(said)


def test_a_hidden_process_may_be_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc shows a user only what is theirs."""
    its = owner()

    def hidden(_: int) -> str:
        raise FileNotFoundError

    monkeypatch.setattr("builder.engine.orphans._began", hidden)
    assert alive(its)


@pytest.mark.parametrize("fails", [False, True])
def test_only_orphans_are_removed(fails: bool) -> None:
    here, _, began = owner().rpartition("/")
    labels = {
        "ours": {OWNER_LABEL: owner()},
        "orphan": {OWNER_LABEL: f"{here}/{int(began) + 1}"},
        "elsewhere": {OWNER_LABEL: "a/b/1/2"},
        "unlabelled": None,
    }
    removed: list[str] = []

    def remove(identity: str, **how: bool) -> None:
        assert how == {"force": True, "v": True}
        removed.append(identity)
        if fails:
            raise docker.errors.NotFound("another run removed it")

    found = [{"Id": name, "Labels": each} for name, each in labels.items()]
    api = SimpleNamespace(containers=lambda **_: found, remove_container=remove)
    remove_orphans(cast(docker.DockerClient, SimpleNamespace(api=api)))
    assert removed == ["orphan"]
