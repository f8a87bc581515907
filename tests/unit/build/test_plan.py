"""Build contexts, the key of what determines an image, and what needs a build."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
from pathlib import Path

import pytest

from builder.build.contexts import Context, prepare
from builder.build.plan import Inputs, changed, inputs, plan, rebuild_reasons
from builder.dockerfile.render import LOCK_NAMES, Renderer
from builder.engine.image import ImageInfo, inputs_of
from builder.errors import LockError
from builder.locks import freshness, lockfile
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def targets(part: Path) -> tuple[Target, ...]:
    return load_targets(part / "matrix.yaml")


@pytest.fixture(scope="module")
def root(part: Path) -> Path:
    return part


@pytest.fixture
def target(targets: tuple[Target, ...], monkeypatch: pytest.MonkeyPatch) -> Target:
    """A target whose locks are committed; no wheelhouse."""
    monkeypatch.setenv("DLC_WHEELHOUSE", "")
    return next(target for target in targets if target.base.name == "debian12")


@pytest.fixture
def made_of(target: Target, root: Path) -> Inputs:
    return inputs(target, root / "images", Renderer())


@pytest.fixture
def context(made_of: Inputs, tmp_path: Path) -> Context:
    return prepare(made_of, tmp_path / "contexts", ROOT / "images")


def image(made_of: Inputs) -> ImageInfo:
    """An image as it would be built from the inputs."""
    return ImageInfo(id="sha256:1", size=1, labels=made_of.labels())


def test_a_context_is_what_is_committed(context: Context, target: Target, root: Path) -> None:
    committed = root / "images" / target.folder
    names = {
        "Dockerfile",
        "compile.py",
        "dockerd-entrypoint.py",
        "fetch.sh",
        "install.sh",
        *LOCK_NAMES,
    }
    ours = {path.name for path in (ROOT / "runtime").glob("dlc_*.py")} - {"dlc_mpi.py"}
    to_train = {"dlc_process.py", "dlc_train.py"}
    names |= ours - {"dlc_train.py"} if target.mode == "inference" else to_train
    found = {path.name for path in context.folder.iterdir()}
    assert found == names == context.inputs.files.keys()
    for name in names:
        assert (context.folder / name).read_bytes() == (committed / name).read_bytes()
    assert (context.folder / "install.sh").stat().st_mode & 0o111 == 0o111


def test_a_context_is_kept(context: Context, made_of: Inputs, tmp_path: Path) -> None:
    """What did not change keeps its time; what did is written again."""
    times = {path.name: path.stat().st_mtime_ns for path in context.folder.iterdir()}
    (context.folder / "Dockerfile").write_text("FROM scratch\n")
    (context.folder / "install.sh").chmod(0o600)
    again = prepare(made_of, tmp_path / "contexts", ROOT / "images")
    assert again == context
    assert (context.folder / "install.sh").stat().st_mode & 0o777 == 0o755
    assert (context.folder / "Dockerfile").read_bytes() == made_of.files["Dockerfile"]
    now = {path.name: path.stat().st_mtime_ns for path in context.folder.iterdir()}
    assert {name for name in times if times[name] != now[name]} == {"Dockerfile"}


def test_no_inputs_without_fresh_locks(target: Target, root: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    said = f"{target.name} has locks that are not fresh"
    with pytest.raises(LockError) as caught:
        inputs(target, images, Renderer())
    assert str(caught.value) == f"{said}: missing; run `dlc lock {target.name}`"
    shutil.copytree(root / "images" / target.folder, images / target.folder)
    newer = dataclasses.replace(target, uv="0.99.0")
    with pytest.raises(LockError) as caught:
        inputs(newer, images, Renderer())
    assert str(caught.value) == f"{said}: tools.lock stale; run `dlc lock {target.name}`"
    assert inputs(target, images, Renderer()).target == target


def test_the_build_key_is_of_every_input(made_of: Inputs) -> None:
    assert len(made_of.key) == 64
    assert made_of.digests.keys() > made_of.files.keys()
    others = {
        dataclasses.replace(made_of, digests={**made_of.digests, name: "0"}).key
        for name in made_of.digests
    }
    assert len({made_of.key, *others}) == 1 + len(made_of.digests)
    backwards = dict(reversed(list(made_of.digests.items())))
    assert dataclasses.replace(made_of, digests=backwards).key == made_of.key


def test_another_base_is_another_key(made_of: Inputs, target: Target, root: Path) -> None:
    image = target.base.image[:-1] + ("0" if target.base.image[-1] != "0" else "1")
    newer = dataclasses.replace(target, base=dataclasses.replace(target.base, image=image))
    found = inputs(newer, root / "images", Renderer())
    assert changed(found.digests, inputs_of(made_of.labels())) == [
        "Dockerfile changed",
        "base changed",
    ]


def test_why(made_of: Inputs) -> None:
    assert rebuild_reasons(made_of, None) == ["there is no image"]
    assert rebuild_reasons(made_of, image(made_of)) == []
    other = dataclasses.replace(made_of, digests={**made_of.digests, "tools.lock": "0" * 64})
    assert rebuild_reasons(other, image(made_of)) == ["tools.lock changed"]
    foreign = ImageInfo(id="sha256:2", size=1, labels={})
    assert rebuild_reasons(made_of, foreign) == ["the image has no build key label"]


# What a change plans


@pytest.fixture(scope="module")
def before(targets: tuple[Target, ...], root: Path) -> dict[str, ImageInfo]:
    """Images of every target that can be built, as they would be built now."""
    planned = plan(targets, root / "images", Renderer(), {})
    return {each.target.name: image(each.inputs) for each in planned if each.inputs}


def to_build(targets: tuple[Target, ...], images: Path, before: dict[str, ImageInfo]) -> set[str]:
    """The names of what a plan would build."""
    planned = plan(targets, images, Renderer(), before)
    return {each.target.name for each in planned if each.reasons and each.inputs}


def test_nothing_to_do(
    targets: tuple[Target, ...], root: Path, before: dict[str, ImageInfo]
) -> None:
    planned = plan(targets, root / "images", Renderer(), before)
    assert [each.target.name for each in planned if each.inputs and not each.up_to_date] == []
    blocked = [each for each in planned if each.inputs is None]
    assert {each.target.device for each in blocked} == {"neuron"}
    assert all("cannot be built from hashes alone" in each.reasons[0] for each in blocked)


def test_a_change_to_a_release_plans_its_targets_only(
    targets: tuple[Target, ...], root: Path, before: dict[str, ImageInfo]
) -> None:
    """A release's date is a label of its images, and what its libraries are locked as of."""
    day = datetime.timedelta(days=1)
    newer = tuple(
        dataclasses.replace(target, date=target.date + day)
        if target.transformers == "4.57.1"
        else target
        for target in targets
    )
    planned = plan(newer, root / "images", Renderer(), before)
    found = {each.target.name for each in planned if each.reasons}
    blocked = {each.target.name for each in planned if "neuron" in each.target.device}
    assert found - blocked == {t.name for t in targets if t.transformers == "4.57.1"}


def test_a_change_to_a_framework_lock_plans_its_targets_only(
    targets: tuple[Target, ...], root: Path, before: dict[str, ImageInfo], tmp_path: Path
) -> None:
    images = tmp_path / "images"
    shutil.copytree(root / "images", images)
    touched = {
        target.name
        for target in targets
        if (target.framework, target.framework_version, target.device)
        == ("tensorflow", "2.5.1", "cpu")
    }
    assert len(touched) == 2
    for target in targets:
        if target.name in touched:
            _edit(images / target.folder, target)
    assert to_build(targets, images, before) == touched


def _edit(folder: Path, target: Target) -> None:
    """Give a target's framework lock a requirement more, as if it had been resolved so."""
    entries = {**lockfile.entries(folder, "framework"), "zzz": "zzz==1 --hash=sha256:00\n"}
    framework = lockfile.Lock(
        layer="framework",
        inputs=freshness.inputs_digest("framework", target),
        entries=entries,
        python=target.python,
        date=target.locked.isoformat(),
    )
    libraries = lockfile.Lock(
        layer="libraries",
        inputs=freshness.inputs_digest("libraries", target, framework.text()),
        entries=lockfile.entries(folder, "libraries"),
        python=target.python,
        date=target.date.isoformat(),
    )
    lockfile.write(folder, [framework, libraries])
