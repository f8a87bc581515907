"""What a commit makes everyone build anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.build.plan import inputs
from builder.dockerfile.render import Renderer
from builder.errors import LockError
from builder.matrix.target import Target
from tests.compare import assert_same


def test_the_build_keys_of_all_targets(
    targets: tuple[Target, ...], root: Path, request: pytest.FixtureRequest
) -> None:
    """They stand in a file, whose diff shows them: `--update-golden` writes it."""
    renderer = Renderer()

    def key(target: Target) -> str:
        try:
            return inputs(target, root / "images", renderer).key
        except LockError:
            return "-"  # it cannot be built from hashes alone

    found = "".join(f"{target.name} {key(target)}\n" for target in targets)
    committed = root / "tests" / "data" / "build_keys.txt"
    if request.config.getoption("--update-golden"):
        committed.write_text(found, "utf-8")
    assert_same(found, committed.read_text("utf-8"), "build keys: if they should, --update-golden;")
