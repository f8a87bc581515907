"""Which builder builds, as far as it can be told without one; images have the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.build import build
from builder.build.bakefile import Cache
from builder.build.builder import LOCAL, BuilderConfig, choose, environment, refuse_platform
from builder.build.plan import inputs
from builder.cli.progress import Builds, Progress
from builder.dockerfile.render import Renderer
from builder.engine.connection import Engine
from builder.errors import BuildError
from builder.matrix.mirrors import Mirrors
from builder.matrix.target import Target
from tests.conftest import ROOT

# Tells of a builder as buildx does where DEBUG is set.
BUILDX = """\
#!/bin/sh
test "$DEBUG" = 1 || exit 9
test "$1 $2 $3" = "inspect --bootstrap far" || exit 8
cat << END
Name:   far
Driver: {driver}

Nodes:
Name:             far0
Endpoint:         tcp://far:1234
{more}
END
"""


def engine(folder: Path, driver: str, more: str = "") -> Engine:
    program = folder / "buildx"
    program.write_text(BUILDX.format(driver=driver, more=more), "utf-8")
    program.chmod(0o755)
    return Engine(host="unix:///x", version="27", private=False, buildx=(str(program),))


def test_nothing_asked_nothing_looked_at() -> None:
    nobody = Engine(host="unix:///x", version="27", private=False, buildx=("/nowhere",))
    assert choose(nobody) is LOCAL
    assert not LOCAL.is_remote


@pytest.mark.integration
def test_a_builder_elsewhere_with_a_cache(tmp_path: Path) -> None:
    cache = Cache(destinations=("h.example/cache",))
    there = engine(tmp_path, "kubernetes", "Features:\n Cache export: true")
    assert choose(there, "far", cache) == BuilderConfig(builder="far", is_remote=True, cache=cache)
    older = engine(tmp_path, "docker-container")  # one that tells of no features
    assert choose(older, "far", cache).is_remote


@pytest.mark.integration
def test_a_builder_that_keeps_no_cache(tmp_path: Path) -> None:
    there = engine(tmp_path, "cloud", "Features:\n Cache export: false")
    with pytest.raises(BuildError, match="cannot write a cache to h"):
        choose(there, "far", Cache(destinations=("h.example/cache",)))
    assert choose(there, "far", Cache(destinations=("type=inline",))).is_remote
    assert choose(there, "far", Cache(sources=("h.example/cache",))).is_remote


@pytest.mark.integration
def test_a_builder_that_is_another_engine(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="set DOCKER_CONTEXT=far"):
        choose(engine(tmp_path, "docker"), "far")


@pytest.mark.integration
def test_a_builder_that_did_not_start(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="cannot be used: no route to host"):
        choose(engine(tmp_path, "remote", "Error: no route to host"), "far")


def test_a_user_s_builders_are_among_the_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BUILDX_CONFIG", raising=False)
    here = engine(tmp_path, "docker")
    assert "BUILDX_CONFIG" in environment(here, "")
    assert "BUILDX_CONFIG" not in environment(here, "far")
    monkeypatch.setenv("BUILDX_CONFIG", "/mine")
    assert environment(here, "far")["BUILDX_CONFIG"] == "/mine"


def test_bases_elsewhere_are_pulled_by_digest(
    targets: tuple[Target, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLC_STATE", str(tmp_path))
    target = next(target for target in targets if target.base.name == "debian12")
    [job] = build._jobs(
        engine(tmp_path, "remote"),
        [inputs(target, ROOT / "images", Renderer())],
        ROOT / "images",
        Mirrors(registries={"docker.io": "mirror.example/hub"}),
        BuilderConfig(builder="far", is_remote=True),
        {},
        Builds(Progress()),
        print,
    )
    digest = target.base.image.partition("@")[2]
    assert job.arguments["BASE"] == f"mirror.example/hub/library/debian:bookworm@{digest}"
    assert job.labels["dlc.base"] == f"pulled {digest}"


def test_time_of_the_caller_reaches_no_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    here = Engine(host="unix:///here", version="28.5.2", private=False)
    assert "SOURCE_DATE_EPOCH" not in environment(here, "")
    assert "SOURCE_DATE_EPOCH" not in environment(here, "far")


@pytest.mark.integration
def test_the_builder_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at as one that is named, and an error says who named it."""
    monkeypatch.setenv("BUILDX_BUILDER", "far")
    assert choose(engine(tmp_path, "remote")) == BuilderConfig(builder="far", is_remote=True)
    with pytest.raises(
        BuildError, match=r"far, which BUILDX_BUILDER names, .*no route.*unset BUIL"
    ):
        choose(engine(tmp_path, "remote", "Error: no route to host"))
    with pytest.raises(BuildError, match="in the place of BUILDX_BUILDER"):
        choose(engine(tmp_path, "docker"))
    monkeypatch.setenv("BUILDX_BUILDER", "another")
    assert choose(engine(tmp_path, "remote"), "far").builder == "far"


@pytest.mark.integration
def test_a_platform_that_a_builder_does_not_run(tmp_path: Path) -> None:
    there = engine(tmp_path, "docker-container", "Platforms:        linux/amd64*, linux/386 (+2)")
    far = BuilderConfig(builder="far", is_remote=True)
    with pytest.raises(BuildError) as failure:
        refuse_platform(there, "linux/arm64", far)
    assert failure.value.message == "the builder far runs no programs for linux/arm64"
    assert "qemu-user-static" in failure.value.remedy
    runs = engine(tmp_path, "docker-container", "Platforms:        linux/amd64*, linux/arm64")
    refuse_platform(runs, "linux/arm64", far)


def test_the_default_platform_needs_no_look() -> None:
    nobody = Engine(host="unix:///x", version="27", private=False, buildx=("/nowhere",))
    refuse_platform(nobody, "linux/amd64", LOCAL)
