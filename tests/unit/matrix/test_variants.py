"""Two variants of one set of versions, and bases whose names have dashes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.dockerfile.render import Renderer
from builder.errors import MatrixError
from builder.matrix.mirrors import Archive, Mirrors, read, script
from builder.matrix.tags import aliases, parse_tag
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from builder.matrix.values import BASE, VARIANT
from builder.release.tags import moving
from builder.report.sdk_config import sdk_config
from tests.unit.conftest import write_part

ROW = "pytorch: [{version: 2.13.0, devices: [cpu], origin: own}]\n"
BOTH = """\
pytorch:
        - {version: 2.13.0, devices: [cpu], origin: own}
        - version: 2.13.0
          devices: [cpu]
          origin: own
          variant: slim
          toolchain: none
          libraries: team
"""
TAG = "2.13.0-transformers4.57.1-cpu-py311-debian12"


def write(folder: Path, rows: str = BOTH, *changes: tuple[str, str]) -> Path:
    """A matrix with both variants of one release's inference, or what `changes` make of it."""
    path = write_part(folder / "m", "4.57.1") / "matrix.yaml"
    before, found, after = path.read_text("utf-8").rpartition(ROW)
    assert found
    text = f"{before}{rows}{after}"
    team = "  team: {requires: [transformers], system: [jq]}\n"
    text = text.replace("\nlibraries:\n", f"\nlibraries:\n{team}")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text, "utf-8")
    return path


def served(targets: Sequence[Target]) -> list[Target]:
    return [each for each in targets if (each.mode, each.framework) == ("inference", "pytorch")]


def test_two_variants_of_one_set_of_versions(tmp_path: Path) -> None:
    targets = load_targets(write(tmp_path))
    plain, slim = served(targets)
    assert (plain.tag, slim.tag) == (TAG, f"{TAG}-slim")
    assert (plain.variant, slim.variant, slim.base.name) == ("", "slim", "debian12")
    assert (slim.libraries, slim.toolchain, plain.toolchain) == ("team", "none", "g++")
    assert parse_tag(slim.tag) == slim.parts
    assert f"{slim.tag}-v1.0" in aliases(slim.parts)
    assert parse_tag(f"{slim.tag}-v1.0").revision == "1.0"
    assert moving(slim, targets, revision="1.0") == (slim.tag,)
    dockerfile = Renderer().files(slim)["Dockerfile"].decode()
    assert "jq" in dockerfile
    assert "g++" not in dockerfile
    config = sdk_config([slim, plain], "123456789012", ["eu-west-1"])
    assert config.left_out == {slim.name: "the SDK cannot ask for a variant"}
    assert slim.tag not in str(config.files)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{version: 2.13.0, devices: [cpu], variant: slim}", "AWS released no variants"),
        ("{version: 2.13.0, devices: [cpu], origin: own, variant: v1}", "'v1' is not a variant"),
        ("{version: 2.13.0, devices: [cpu], origin: own, variant: a-b}", "'a-b' is not a variant"),
    ],
)
def test_what_is_no_variant(row: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(MatrixError, match=message):
        load_targets(write(tmp_path, f"pytorch: [{row}]\n"))


def test_a_variant_that_another_base_has_already(tmp_path: Path) -> None:
    rows = BOTH.replace("origin: own}", "origin: own, base: debian12-slim}", 1)
    [lines] = re.findall(r"\n  debian12:\n((?:    .*\n)+)", write(tmp_path).read_text("utf-8"))
    (tmp_path / "other").mkdir()
    base = ("\n  debian12:\n", f"\n  debian12-slim:\n{lines}  debian12:\n")
    with pytest.raises(MatrixError, match=f"a second target named .*:{TAG}-slim"):
        load_targets(write(tmp_path / "other", rows, base))


def test_a_base_with_a_dash(tmp_path: Path) -> None:
    path = write(tmp_path, ROW, ("debian12", "debian12-our.own"))
    [target] = served(load_targets(path))
    assert target.tag == f"{TAG}-our.own"
    assert parse_tag(target.tag) == target.parts
    assert "id=apt-debian12-our.own" in Renderer().files(target)["Dockerfile"].decode()


def test_mirrors_of_a_base_with_a_dash(tmp_path: Path) -> None:
    """A site has one archive of a distribution, whatever bases are made from it."""
    site = tmp_path / "mirrors.yaml"
    site.write_text("archives: {debian12: {main: 'https://m.example/d'}}\n", "utf-8")
    mirrors = read(site, bases=["debian12-slim"], sources=[])
    assert mirrors.archive("debian12-slim") == mirrors.archives["debian12"]
    own = Mirrors(archives={"debian12-slim": Archive(main="http://m", security="http://m")})
    assert "    debian12) main=http://m security=http://m ;;\n" in script(own)


@given(
    base=st.from_regex(BASE.pattern or "", fullmatch=True).filter(str.isascii),
    variant=st.from_regex(VARIANT.pattern or "", fullmatch=True).filter(str.isascii),
    revision=st.sampled_from(["", "-v1", "-v1.12"]),
)
def test_whatever_they_are_called_tags_are_read_as_written(
    base: str, variant: str, revision: str
) -> None:
    text = f"2.13.0-transformers4.57.1-cpu-py311-{base}-{variant}{revision}"
    if base[:3] in ("sdk",) or base.startswith("cu"):
        return  # it may look like an accelerator
    tag = parse_tag(text)
    assert str(tag) == text
    assert (tag.os, tag.revision) == (f"{base}-{variant}", revision[2:] or None)
