"""Whether the process that made something still runs."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from builder.util.owner import alive, owner

OF_A_CHILD = "from builder.util.owner import owner; print(owner(), flush=True); input()"


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

    monkeypatch.setattr("builder.util.owner._began", hidden)
    assert alive(its)
