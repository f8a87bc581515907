"""A build that cannot fit on the engine's disk says so before it starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.engine.connection import Engine
from builder.engine.usage import usage
from tests.images.small_matrix import SMALL_NAMES, SmallMatrix

pytestmark = pytest.mark.images


def test_a_build_that_cannot_fit_does_not_start(
    engine: Engine, own_state: Path, tmp_path: Path, write_small: Callable[[Path], SmallMatrix]
) -> None:
    if usage(engine).free is None:
        pytest.skip("the engine's disk is not on this machine")
    small = write_small(tmp_path)
    assert small.run("lock", SMALL_NAMES[0]).returncode == 0
    state = tmp_path / "state"
    state.mkdir()
    for entry in own_state.iterdir():
        if entry.name != "builds.json":
            (state / entry.name).symlink_to(entry)
    (state / "builds.json").write_text(
        json.dumps({SMALL_NAMES[0]: {"seconds": 1.0, "size": 10**15}}), "utf-8"
    )
    result = small.run("build", SMALL_NAMES[0], DLC_STATE=str(state))
    assert result.returncode == 12
    assert f"not enough disk space to build {SMALL_NAMES[0]}: about " in result.stderr
    assert "free some with `dlc engine prune`, or build all the same" in result.stderr
    assert "building" not in result.stderr
