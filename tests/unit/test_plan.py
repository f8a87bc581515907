"""Build contexts and the key of what determines an image."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from builder.errors import LockError
from builder.plan import Context, build_key, prepare
from builder.render import LOCK_NAMES, Renderer
from builder.target import Target

BASES = {"base": "sha256:00", "tools": "sha256:11"}


@pytest.fixture
def target(targets: tuple[Target, ...], monkeypatch: pytest.MonkeyPatch) -> Target:
    """A target whose locks are committed; no wheelhouse."""
    monkeypatch.setenv("DLC_WHEELHOUSE", "")
    return next(target for target in targets if target.base.name == "debian12")


@pytest.fixture
def context(target: Target, root: Path, tmp_path: Path) -> Context:
    return prepare(target, root / "images", Renderer(), tmp_path / "contexts")


def test_a_context_is_what_is_committed(context: Context, target: Target, root: Path) -> None:
    committed = root / "images" / target.folder
    names = {"Dockerfile", "dockerd-entrypoint.py", "install.sh", *LOCK_NAMES}
    assert {path.name for path in context.folder.iterdir()} == names == context.files.keys()
    for name in names:
        assert (context.folder / name).read_bytes() == (committed / name).read_bytes()
    assert (context.folder / "install.sh").stat().st_mode & 0o111 == 0o111


def test_a_context_is_kept(context: Context, target: Target, root: Path, tmp_path: Path) -> None:
    """What did not change keeps its time; what did is written again."""
    times = {path.name: path.stat().st_mtime_ns for path in context.folder.iterdir()}
    (context.folder / "Dockerfile").write_text("FROM scratch\n")
    (context.folder / "install.sh").chmod(0o600)
    again = prepare(target, root / "images", Renderer(), tmp_path / "contexts")
    assert again == context
    assert (context.folder / "install.sh").stat().st_mode & 0o777 == 0o755
    assert (context.folder / "Dockerfile").read_text("utf-8").startswith(f"# {target.name}\n")
    now = {path.name: path.stat().st_mtime_ns for path in context.folder.iterdir()}
    assert {name for name in times if times[name] != now[name]} == {"Dockerfile"}


def test_no_context_without_fresh_locks(target: Target, root: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    said = f"the locks of {target.name} are not fresh"
    with pytest.raises(LockError) as caught:
        prepare(target, images, Renderer(), tmp_path)
    assert str(caught.value) == f"{said}: missing; run `dlc lock {target.name}`"
    shutil.copytree(root / "images" / target.folder, images / target.folder)
    newer = dataclasses.replace(target, uv="0.99.0")
    with pytest.raises(LockError) as caught:
        prepare(newer, images, Renderer(), tmp_path)
    assert str(caught.value) == f"{said}: tools.lock stale; run `dlc lock {target.name}`"
    assert prepare(target, images, Renderer(), tmp_path).target == target


def test_the_build_key(context: Context, tmp_path: Path) -> None:
    key = build_key(context, BASES)
    assert len(key) == 64
    elsewhere = dataclasses.replace(context, folder=tmp_path)
    assert build_key(elsewhere, dict(reversed(BASES.items()))) == key
    others = [build_key(context, {**BASES, name: "sha256:22"}) for name in BASES]
    others += [
        build_key(dataclasses.replace(context, files={**context.files, name: "0"}), BASES)
        for name in context.files
    ]
    assert len({key, *others}) == 1 + len(BASES) + len(context.files)
