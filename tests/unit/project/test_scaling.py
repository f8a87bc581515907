"""The made-up matrices that scaling is measured with are as real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scaling import exponent, write
from builder.build.plan import plan
from builder.dockerfile.render import Renderer, changes
from builder.locks import freshness
from builder.matrix.targets import load_targets


def test_every_target_could_be_built(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    write(folder, 12)
    targets = load_targets(folder / "matrix.yaml")
    assert len(targets) == 12
    assert all(
        not freshness.state(folder / "images" / target.folder, target).stale for target in targets
    )
    assert list(changes(folder / "images", targets, Renderer(), prune=True)) == []
    planned = plan(targets, folder / "images", Renderer(), {})
    assert {each.reasons for each in planned} == {("there is no image",)}
    assert len({each.inputs.key for each in planned if each.inputs}) == 12


@pytest.mark.parametrize("power", [0.5, 1.0, 1.7, 2.0])
def test_the_exponent_is_the_power_of_the_size(power: float) -> None:
    sizes = [100, 300, 1_000, 10_000]
    assert exponent(sizes, [3e-4 * size**power for size in sizes]) == pytest.approx(power)
