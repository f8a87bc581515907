"""Build contexts stay as long as they may be of use, and no longer."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builder.build import contexts as module
from builder.build.contexts import prepare
from builder.build.plan import Inputs, inputs
from builder.dockerfile.render import Renderer
from builder.locks import wheelhouse
from builder.matrix.format import Wheel
from builder.matrix.target import Target
from builder.matrix.yaml_nodes import Position, Text

# As another process that builds: it holds a context until it is told to end.
HOLDS = """
import sys
from pathlib import Path
from builder.build.contexts import _hold
_hold(Path(sys.argv[1]), "another")
print("held", flush=True)
input()
"""


@pytest.fixture
def made_of(
    targets: tuple[Target, ...], root: Path, monkeypatch: pytest.MonkeyPatch
) -> list[Inputs]:
    """One target, made of something else each time."""
    monkeypatch.setenv("DLC_WHEELHOUSE", "")
    target = next(target for target in targets if target.base.name == "debian12")
    first = inputs(target, root / "images", Renderer())
    return [
        dataclasses.replace(first, digests={**first.digests, "base": str(number)})
        for number in range(4)
    ]


@pytest.fixture(autouse=True)
def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this test makes is held by none of the others."""
    monkeypatch.setattr(module, "_held", {})
    module._remove_old.cache_clear()


def let_go() -> None:
    """As when the process ends that built."""
    for lock in module._held.values():
        os.close(lock)
    module._held.clear()


def there(folder: Path) -> set[str]:
    return {path.name for path in folder.parent.iterdir()}


def test_one_takes_the_place_of_the_one_before(made_of: list[Inputs], tmp_path: Path) -> None:
    before: list[str] = []
    for each in made_of:
        found = prepare(each, tmp_path / "state", tmp_path)
        assert found.superseded == tuple(before)
        assert there(found.folder) == {found.folder.name, f"{found.folder.name}.lock"}
        before = [found.folder.name]
        let_go()


def test_two_checkouts_have_one_each(
    made_of: list[Inputs], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And share one as long as both build with it."""
    monkeypatch.setenv("DLC_STATE", str(tmp_path / "state"))
    one, other = tmp_path / "one", tmp_path / "other"
    key, *_ = (each.key for each in made_of)
    target = made_of[0].target
    for checkout in (one, other):
        shared = prepare(made_of[0], module.root(), checkout)
    let_go()
    own = prepare(made_of[1], module.root(), one)
    assert own.superseded == ()
    assert shared.folder.is_dir()
    assert module.is_anothers(target, key, than=made_of[1].key)
    let_go()
    theirs = prepare(made_of[2], module.root(), other)
    assert theirs.superseded == (shared.folder.name,)
    assert not shared.folder.exists()
    assert own.folder.is_dir()
    assert module.is_anothers(target, made_of[1].key, than=made_of[2].key)
    assert not module.is_anothers(target, "f" * 64, than=made_of[2].key)


@pytest.mark.integration
def test_one_that_a_build_uses_stays(made_of: list[Inputs], tmp_path: Path) -> None:
    first = prepare(made_of[0], tmp_path, tmp_path).folder
    let_go()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, first], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        first.with_name(f"{first.name}.lock").write_text(f"{tmp_path}\n")
        assert prepare(made_of[1], tmp_path, tmp_path).folder.is_dir()
        assert (first / "Dockerfile").is_file()
        process.kill()


def test_what_nobody_used_for_a_month_goes(made_of: list[Inputs], tmp_path: Path) -> None:
    """Of a target too that no matrix has any more, and of a version that locked nothing."""
    gone, stays = tmp_path / "r" / "gone" / "key", tmp_path / "r" / "stays" / "key"
    for folder in (gone, stays):
        folder.mkdir(parents=True)
        (folder / "Dockerfile").touch()
    then = time.time() - 40 * 24 * 60 * 60
    os.utime(gone, (then, then))
    prepare(made_of[0], tmp_path, tmp_path)
    assert not gone.exists()
    assert stays.exists()


def test_a_wheel_of_another_disk_is_copied_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = tmp_path / "house"
    house.mkdir()
    (house / "a-1-py3-none-any.whl").write_bytes(b"a wheel")
    wheel = Wheel(url=Text("${S}/cpu/a-1-py3-none-any.whl", Position("m", 1, 1)))
    link = os.link

    def apart(source: Path, name: Path) -> None:
        if source.is_relative_to(house):
            raise OSError(18, "Invalid cross-device link")
        link(source, name)

    monkeypatch.setattr(os, "link", apart)
    first, second = tmp_path / "first", tmp_path / "second"
    for context in (first, second):
        assert wheelhouse.stage([wheel], [house], context, [first])
    [copy, another] = (each / "wheelhouse/S/cpu/a-1-py3-none-any.whl" for each in (first, second))
    assert copy.read_bytes() == b"a wheel"
    assert copy.samefile(another)
    assert copy.stat().st_nlink == 2
