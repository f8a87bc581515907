"""Rows for a second platform: targets, tags, keys, and what a row cannot be for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from builder.build.bakefile import Job, definition, target_id
from builder.dockerfile.render import Renderer
from builder.engine.bases import BaseSource
from builder.engine.image import TargetImage
from builder.errors import MatrixError
from builder.locks import freshness, system
from builder.locks.questions import question_of
from builder.matrix.tags import parse_tag
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from builder.release import provenance
from builder.release.tags import moving
from builder.report.sdk_config import sdk_config
from tests.unit.conftest import write_part

ROW = "tensorflow: [{version: 2.21.0, devices: [cpu]"
BOTH = "platforms: [linux/amd64, linux/arm64]"
TAG = "2.21.0-transformers4.57.1-cpu-py311-debian12"
PYTORCH = "pytorch: [{version: 2.13.0, devices: [cpu]"


def load(folder: Path, *changes: tuple[str, str]) -> Sequence[Target]:
    """The targets of a release whose TensorFlow row for inference is for both platforms."""
    path = write_part(folder / "m", "4.57.1") / "matrix.yaml"
    head, mark, rows = path.read_text("utf-8").partition("\nreleases:\n")
    rows = rows.replace(f", {BOTH}", "").replace(ROW, f"{ROW}, {BOTH}")
    for old, new in changes:
        assert old in rows, old
        rows = rows.replace(old, new)
    path.write_text(f"{head}{mark}{rows}", "utf-8")
    return load_targets(path)


def pair(targets: Sequence[Target]) -> tuple[Target, Target]:
    return (
        next(each for each in targets if each.tag == TAG),
        next(each for each in targets if each.tag == f"{TAG}-arm64"),
    )


def test_each_platform_is_a_target_of_its_own(tmp_path: Path) -> None:
    targets = load(tmp_path)
    amd64, arm64 = pair(targets)
    assert (amd64.platform, arm64.platform) == ("linux/amd64", "linux/arm64")
    assert (amd64.row()["platform"], arm64.row()["platform"]) == ("linux/amd64", "linux/arm64")
    assert arm64.defined_at["platform"].line == amd64.defined_at["platform"].line
    assert parse_tag(arm64.tag) == arm64.parts
    assert moving(arm64, targets, revision="1.0") == (arm64.tag,)
    label = "com.amazonaws.ml.engines.sagemaker.dlc.arch"
    assert [name for name in amd64.labels() if name.startswith(label)] == [f"{label}.x86"]
    assert [name for name in arm64.labels() if name.startswith(label)] == [f"{label}.arm64"]
    config = sdk_config([amd64, arm64], "123456789012", ["eu-west-1"])
    assert config.left_out == {arm64.name: "the SDK cannot ask for linux/arm64"}
    job = Job(target=arm64, context=tmp_path, arguments={}, labels={})
    assert definition([job], {})["target"][target_id(arm64)]["platforms"] == ["linux/arm64"]


def test_what_a_platform_is_locked_and_made_from(tmp_path: Path) -> None:
    amd64, arm64 = pair(load(tmp_path))
    assert question_of("libraries", arm64, ()).platform == "linux/arm64"
    for layer in ("build", "framework", "libraries"):
        digests = {freshness.inputs_digest(layer, each) for each in (amd64, arm64)}
        assert len(digests) == 2, layer
    # uv itself is locked with its wheels for all platforms.
    assert freshness.inputs_digest("tools", amd64) == freshness.inputs_digest("tools", arm64)
    assert system.inputs_digest(amd64) != system.inputs_digest(arm64)
    here = [
        BaseSource(name=each.base.name, image=each.base.image, platform=each.platform).reference
        for each in (amd64, arm64)
    ]
    assert here[1] == f"{here[0]}-arm64"
    labels = {"dlc.base": "pulled sha256:1", "dlc.key": "0" * 64}
    local = TargetImage(target=arm64, id="sha256:1", labels=labels, layers=())
    made = provenance.predicate(local, commit="")
    assert made["invocation"]["environment"] == {"platform": "linux/arm64"}
    assert made["materials"][0]["uri"].endswith("?platform=linux%2Farm64")


def test_the_dockerfiles_differ_in_labels_alone(tmp_path: Path) -> None:
    amd64, arm64 = (
        Renderer().files(each)["Dockerfile"].decode().splitlines() for each in pair(load(tmp_path))
    )
    differ = [line for line in arm64 if line not in amd64]
    assert differ.pop(0).startswith("# ")  # the name
    assert [line.split("=")[0].split()[-1] for line in differ] == [
        "com.amazonaws.ml.engines.sagemaker.dlc.arch.arm64",
        "org.opencontainers.image.version",
    ]


def test_a_python_of_the_platform(tmp_path: Path) -> None:
    targets = load(tmp_path, (f"{ROW}, {BOTH}", f"{ROW}, {BOTH}, python: 3.12"))
    [arm64] = [each for each in targets if each.platform == "linux/arm64"]
    dockerfile = Renderer().files(arm64)["Dockerfile"].decode()
    assert "/opt/python/cpython-3.12.16-linux-aarch64-gnu/bin/python3.12" in dockerfile


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "platforms: [linux/amd64, linux/arm64], date: 2026-11-28, origin: own}",
            "platforms: [linux/arm64], date: 2026-11-28}",
            "cannot be for linux/arm64: AWS released no image for it; say `origin: own`, or leave",
        ),
        (PYTORCH, f"{PYTORCH}, {BOTH}", "is for x86_64; name one for aarch64 beside it, or a"),
        (BOTH, "platforms: [linux/arm]", "'linux/arm' is not a platform"),
        (f"{ROW}, {BOTH}", f"{ROW}, variant: arm64", "'arm64' is not a variant"),
        (BOTH, "platforms: [linux/arm64, linux/arm64]", "a second target named"),
    ],
)
def test_what_a_row_cannot_be_for(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(MatrixError) as failure:
        load(tmp_path, (old, new))
    assert message in str(failure.value)
    assert "matrix.yaml:" in str(failure.value)


def test_no_row_for_another_device(tmp_path: Path) -> None:
    row = "{version: 2.15.0, devices: [gpu], origin: own}"
    change = (row, f"{row[:-1]}, {BOTH}}}")
    with pytest.raises(MatrixError, match="linux/arm64: there it is for cpu alone, not gpu"):
        write_part(tmp_path / "m", "5.23.0", change=change)


def test_a_wheel_for_each_platform(tmp_path: Path) -> None:
    path = write_part(tmp_path / "m", "4.57.1") / "matrix.yaml"
    text = path.read_text("utf-8")
    lines = text.splitlines(keepends=True)
    [at] = [i for i, line in enumerate(lines) if "torch-2.13.0%2Bcpu" in line]
    other = lines[at].replace("x86_64", "aarch64")
    sha = lines[at + 1].replace(lines[at + 1].split()[-1], "a" * 64)
    lines[at:at] = [other, sha]
    text = "".join(lines).replace(PYTORCH, f"{PYTORCH}, {BOTH}")
    path.write_text(text, "utf-8")
    wheels = {
        each.platform: [wheel.filename for wheel in each.build.wheels]
        for each in load_targets(path)
        if (each.framework, each.mode) == ("pytorch", "inference")
    }
    assert len(wheels["linux/amd64"]) == len(wheels["linux/arm64"])
    assert all("aarch64" not in name for name in wheels["linux/amd64"])
    assert any("aarch64" in name for name in wheels["linux/arm64"])
