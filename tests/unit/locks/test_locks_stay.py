"""A lock once made stays: whatever the package index offers, yanks or loses later."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.locks.lockfile import parse, pinned
from tests.conftest import Dlc, Run
from tests.package_index import PackageIndex, wheel
from tests.unit.locks.test_resolve import only

pytestmark = pytest.mark.integration

MATRIX = """\
tools: {base: debian12, uv: 0.13.8, build: [setuptools]}
bases:
  debian12:
    image: debian:bookworm@sha256:88a7d30d49e1d13f0aac17b0e5fb9e291717e3a7c4a512fe56636db576383b8a
    bootstrap: bookworm
    end_of_life: 2028-06-30
    jdk: openjdk-17-jdk-headless
    pythons: {3.11: [python3.11]}
frameworks:
  tensorflow:
    2.13.0:
      locked: 2025-06-01
      python: 3.11
      base: debian12
      builds: {cpu: {requires: [tensorflow-cpu==2.13.0]}}
libraries:
  serving:
    requires:
      - transformers=={transformers}
releases:
  - transformers: 4.57.1
    datasets: 4.3.0
    date: 2025-07-01
    inference:
      libraries: serving
      tensorflow: [{version: 2.13.0, devices: [cpu], origin: own}]
"""
NAME = "huggingface-tensorflow-inference:2.13.0-transformers4.57.1-cpu-py311-debian12"
SECOND = NAME.replace("4.57.1", "4.57.2")
RELEASE = """\
  - transformers: 4.57.2
    datasets: 4.3.0
    date: 2025-08-01
    inference:
      libraries: serving
      tensorflow: [{version: 2.13.0, devices: [cpu], origin: own}]
"""


class Project:
    """A matrix, its locks, and the index from which they come."""

    def __init__(self, folder: Path, dlc: Dlc, index: PackageIndex) -> None:
        self.matrix, self._dlc, self.index = folder / "matrix.yaml", dlc, index
        self.matrix.write_text(MATRIX, "utf-8")

    def run(self, *arguments: str) -> Run:
        return self._dlc("--matrix", self.matrix, *arguments)

    def edit(self, old: str, new: str) -> None:
        text = self.matrix.read_text("utf-8")
        assert text.count(old) == 1
        self.matrix.write_text(text.replace(old, new), "utf-8")

    def text(self, layer: str, name: str = NAME) -> str:
        folder = self.matrix.parent / "images" / name.replace(":", "/")
        return (folder / f"{layer}.lock").read_text("utf-8")

    def entries(self, layer: str, name: str = NAME) -> dict[str, str]:
        return parse(self.text(layer, name))

    def versions(self, layer: str, name: str = NAME) -> dict[str, str]:
        return dict(map(pinned, self.entries(layer, name).values()))

    def files(self) -> dict[Path, tuple[bytes, int]]:
        paths = (self.matrix.parent / "images").rglob("*.lock")
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}

    def require(self, text: str) -> None:
        """One more requirement of the libraries, which makes their lock stale."""
        self.edit("=={transformers}\n", f"=={{transformers}}\n      - {text}\n")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first locks are kept once they are made."""
    return tmp_path_factory.mktemp("made") / "images"


@pytest.fixture
def project(
    tmp_path: Path, cache: Path, made: Path, dlc: Dlc, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    """A project that is locked."""
    with PackageIndex(
        *(wheel("setuptools", "80.0"), wheel("uv", "0.13.8")),
        wheel("tensorflow-cpu", "2.13.0", requires=["keras", "numpy"]),
        *(wheel("keras", "2.13"), wheel("numpy", "1.26")),
        wheel("transformers", "4.57.1", requires=["tokenizers", "filelock"]),
        wheel("transformers", "4.57.2", requires=["tokenizers", "filelock"]),
        *(wheel("tokenizers", "0.21"), wheel("filelock", "3.1"), wheel("sacremoses", "0.1")),
        *(wheel("datasets", "4.3.0"), wheel("tensorflow", "2.13.0")),
    ) as index:
        only(monkeypatch, **index.environment, UV_CACHE_DIR=cache, UV_HTTP_RETRIES="0")
        project = Project(tmp_path, dlc, index)
        if made.exists():
            shutil.copytree(made, tmp_path / "images")
        else:
            run = project.run("lock")
            assert (run.code, run.err) == (0, f"{NAME}: 8 requirements locked\n")
            shutil.copytree(tmp_path / "images", made)
        index.asked.clear()
        yield project


def late(project: Project) -> None:
    """Files that come now, with dates before the locks'."""
    project.index.add(wheel("tokenizers", "0.22", uploaded="2025-06-30T00:00:00Z"))
    project.index.add(wheel("keras", "2.14", uploaded="2025-05-30T00:00:00Z"))
    project.index.add(wheel("filelock", "3.1", tag="py2.py3-none-any"))


def test_a_fresh_lock_is_left_alone_and_nobody_asked(project: Project) -> None:
    before = project.files()
    late(project)
    project.index.yank("tokenizers-0.21-py3-none-any.whl")
    project.index.remove("numpy-1.26-py3-none-any.whl")
    run = project.run("lock")
    assert (run.code, run.out, run.err) == (0, "", f"{NAME}: fresh\n")
    assert project.files() == before
    assert project.index.asked == []


def test_a_stale_lock_keeps_what_still_does(project: Project) -> None:
    """To the letter: a file that came later to a version is none of its hashes."""
    framework, libraries = project.text("framework"), project.entries("libraries")
    late(project)
    project.require("sacremoses")
    assert project.run("lock").err == f"{NAME}: 9 requirements locked\n"
    assert project.text("framework") == framework
    added = project.entries("libraries")
    assert added.pop("sacremoses").startswith("sacremoses==0.1 \\\n")
    assert added == libraries
    assert project.run("lock", "--check").code == 0


def test_what_is_asked_for_wins_over_what_is_locked(project: Project) -> None:
    late(project)
    project.require("tokenizers>=0.22")
    assert project.run("lock").code == 0
    assert project.versions("libraries")["tokenizers"] == "0.22"
    assert project.versions("libraries")["filelock"] == "3.1"


def test_a_refresh_resolves_again(project: Project) -> None:
    late(project)
    run = project.run("lock", "--refresh")
    assert (run.code, run.err) == (0, f"{NAME}: 8 requirements locked\n")
    assert project.versions("libraries")["tokenizers"] == "0.22"
    assert project.versions("framework")["keras"] == "2.14"
    assert project.entries("libraries")["filelock"].count("--hash=") == 2
    project.index.asked.clear()
    assert project.run("lock").err == f"{NAME}: fresh\n"
    assert project.index.asked == []


@pytest.mark.parametrize("package", ["tokenizers", "numpy"], ids=["here", "below"])
def test_what_is_yanked_stays_and_is_told_where_it_is_asked_for(
    package: str, project: Project
) -> None:
    late(project)
    version = {"tokenizers": "0.21", "numpy": "1.26"}[package]
    project.index.yank(f"{package}-{version}-py3-none-any.whl")
    project.require("sacremoses")
    run = project.run("lock")
    told = (
        f"{NAME}: tokenizers 0.21 is yanked from the package index; it stays locked until "
        "`dlc lock --upgrade tokenizers` replaces it\n"
    )
    # What another layer has is told when that is asked for.
    assert (run.code, run.err) == (
        0,
        (told if package == "tokenizers" else "") + f"{NAME}: 9 requirements locked\n",
    )
    assert project.versions("libraries")["tokenizers"] == "0.21"


def test_what_vanished_is_not_quietly_replaced(project: Project) -> None:
    late(project)
    project.index.remove("tokenizers-0.21-py3-none-any.whl")
    project.require("sacremoses")
    before = project.files()
    run = project.run("lock")
    assert (run.code, run.err) == (
        9,
        f"{NAME}: failed\ndlc: {NAME}: the package index has no tokenizers==0.21 any more, which "
        f"libraries.lock has; it stays as it is; `dlc lock --refresh {NAME}` resolves without "
        "what is locked\n",
    )
    assert project.files() == before
    assert project.run("lock", "--refresh", NAME).code == 0
    assert project.versions("libraries")["tokenizers"] == "0.22"


def test_what_vanished_below_is_named(project: Project) -> None:
    late(project)
    project.index.remove("keras-2.13-py3-none-any.whl")
    project.require("sacremoses")
    before = project.files()
    run = project.run("lock")
    assert run.code == 9
    assert run.err.endswith(
        "The package index has no keras==2.13 any more, which framework.lock has; "
        f"`dlc lock --refresh {NAME}` resolves without what is locked\n"
    )
    assert project.files() == before


def test_what_has_to_go_may_have_vanished(project: Project) -> None:
    """Nobody wants it any more, so nobody misses it."""
    late(project)
    project.index.remove("tokenizers-0.21-py3-none-any.whl")
    project.require("tokenizers>=0.22")
    assert project.run("lock").code == 0
    assert project.versions("libraries")["tokenizers"] == "0.22"


def test_another_date_changes_no_version(project: Project) -> None:
    late(project)
    entries = project.entries("libraries")
    project.edit("date: 2025-07-01", "date: 2025-07-02")
    assert project.run("lock").code == 0
    assert project.entries("libraries") == entries
    assert " as of 2025-07-02, by " in project.text("libraries")


def test_an_edited_lock_is_no_preference(project: Project) -> None:
    """Or a line put in by hand would be a version that nobody decided on."""
    path = next((project.matrix.parent / "images").rglob("libraries.lock"))
    before = path.read_bytes()
    path.write_bytes(before.replace(b"tokenizers==0.21", b"tokenizers==0.20"))
    project.index.add(wheel("tokenizers", "0.20"))
    assert project.run("lock").code == 0
    assert path.read_bytes() == before


# What targets share


def test_a_new_release_takes_the_framework_of_its_siblings(project: Project) -> None:
    """To the byte, or the layer would not be shared; its own libraries are those of its day."""
    late(project)
    project.matrix.write_text(project.matrix.read_text("utf-8") + RELEASE, "utf-8")
    run = project.run("lock", SECOND)
    assert (run.code, run.err) == (0, f"{SECOND}: 8 requirements locked\n")
    for layer in ("build", "framework", "tools"):
        assert project.text(layer, SECOND) == project.text(layer)
    assert project.versions("libraries", SECOND)["tokenizers"] == "0.22"
    assert "/simple/keras/" in project.index.asked, "the libraries are resolved on top of it"


def test_so_does_dlc_add(project: Project) -> None:
    late(project)
    run = project.run(
        *("add", "--transformers", "4.57.2", "--datasets", "4.3.0", "--date", "2025-08-01"),
        *("--tensorflow", "2.13.0", "--mode", "inference"),
    )
    assert run.code == 0, run.err
    for layer in ("build", "framework", "tools"):
        assert project.text(layer, SECOND) == project.text(layer)


def test_a_refresh_of_some_tells_who_shared_with_them(project: Project) -> None:
    project.matrix.write_text(project.matrix.read_text("utf-8") + RELEASE, "utf-8")
    assert project.run("lock").code == 0
    late(project)
    run = project.run("lock", "--refresh", NAME)
    assert (run.code, run.err.splitlines()[-1]) == (
        0,
        f"1 other target has older locks of layers that these share, {SECOND} for one: "
        "`dlc lock --refresh` there too",
    )
    assert project.run("lock", "--refresh").code == 0
    assert project.text("framework", SECOND) == project.text("framework")


# Packages that pin each other


def pair(project: Project) -> None:
    """boto3 and botocore, as they are released: each pair on a day."""
    for version, upper, day in (("1.0", "1.1", "2025-06-01"), ("1.1", "1.2", "2025-09-01")):
        time = f"{day}T00:00:00Z"
        project.index.add(
            wheel("boto3", version, requires=[f"botocore>={version},<{upper}"], uploaded=time)
        )
        project.index.add(wheel("botocore", version, uploaded=time))
    project.require("boto3")
    assert project.run("lock").code == 0
    assert project.versions("libraries")["botocore"] == "1.0"


def lift(project: Project, *packages: str) -> Run:
    options = [text for package in packages for text in ("--upgrade", package)]
    return project.run("lock", *options, "--reason", "CVE-2025-1", "--until", "2099-12-31")


@pytest.mark.parametrize(
    "packages",
    [
        pytest.param(("boto3", "botocore"), id="to the newest"),
        pytest.param(("boto3==1.1", "botocore==1.1"), id="to versions", marks=pytest.mark.slow),
        pytest.param(("botocore==1.1", "boto3"), id="one of each", marks=pytest.mark.slow),
    ],
)
def test_packages_that_pin_each_other(packages: tuple[str, ...], project: Project) -> None:
    pair(project)
    before = project.entries("libraries")
    run = lift(project, *packages)
    assert (run.code, run.err.splitlines()) == (
        0,
        [
            f"{NAME}: lifted: boto3 1.0 to 1.1; lifted: botocore 1.0 to 1.1",
            *(f"{each.split('=')[0]} upgraded in 1 of 1 target" for each in packages),
        ],
    )
    after = project.entries("libraries")
    assert {name for name in after if after[name] != before[name]} == {"boto3", "botocore"}
    assert project.run("lock", "--check").code == 0
    assert project.run("lock").err == f"{NAME}: fresh\n"
    # And as they were lifted they are resolved again, if that is what is asked for.
    text = project.text("libraries")
    assert project.run("lock", "--refresh").code == 0
    assert project.text("libraries") == text


def test_one_of_them_alone_is_not_borne(project: Project) -> None:
    pair(project)
    before = project.files(), project.matrix.read_bytes()
    run = lift(project, "boto3==1.1")
    assert run.code == 9
    assert run.err.count("No solution found") == 1
    assert run.err.endswith(
        "no lock can take boto3==1.1; nothing was written; name another version, or change what "
        "the matrix requires of it\n"
    )
    assert (project.files(), project.matrix.read_bytes()) == before


def test_one_that_is_the_newest_keeps_no_other_back(project: Project) -> None:
    pair(project)
    run = lift(project, "filelock", "boto3", "botocore")
    assert run.code == 0, run.err
    assert "filelock is the newest wherever it is locked: nothing to upgrade\n" in run.err
    assert "package: filelock" not in project.matrix.read_text("utf-8")
    assert project.versions("libraries")["boto3"] == "1.1"
    assert project.run("lock", "--check").err == ""


def test_a_refusal_beside_a_success_is_a_line(project: Project) -> None:
    """uv's reasons are for whoever cannot be helped."""
    project.matrix.write_text(project.matrix.read_text("utf-8") + RELEASE, "utf-8")
    project.index.add(
        wheel(
            "transformers",
            "4.57.2",
            requires=["tokenizers<0.22", "filelock"],
            tag="py3-none-any",
        )
    )
    assert project.run("lock").code == 0
    project.index.add(wheel("tokenizers", "0.22", uploaded="2025-09-01T00:00:00Z"))
    run = lift(project, "tokenizers==0.22")
    assert (run.code, run.err.splitlines()) == (
        0,
        [
            f"{NAME}: lifted: tokenizers 0.21 to 0.22",
            f"{SECOND}: kept: tokenizers 0.21, a newer one conflicts with other pins",
            "tokenizers upgraded in 1 of 2 targets",
        ],
    )


def test_a_package_named_twice(project: Project) -> None:
    run = lift(project, "tokenizers==0.22", "Tokenizers==0.23")
    assert (run.code, run.err.splitlines()[-1]) == (
        2,
        "Error: --upgrade tokenizers is given twice: name one version.",
    )


def test_a_linked_matrix_stays_a_link(project: Project) -> None:
    project.index.add(wheel("tokenizers", "0.22", uploaded="2025-09-01T00:00:00Z"))
    real = project.matrix.rename(project.matrix.with_name("real.yaml"))
    project.matrix.symlink_to(real.name)
    real.chmod(0o640)
    assert lift(project, "tokenizers").code == 0
    assert project.matrix.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert "package: tokenizers" in real.read_text("utf-8")


# Accelerators


def test_an_accelerator_in_a_cpu_image(project: Project) -> None:
    for name in ("nvidia-cublas", "nvidia-cudnn-cu12", "nvidia-nccl-cu12", "triton"):
        project.index.add(wheel(name, "1.0"))
    project.index.add(wheel("nvidia-ml-py", "1.0"))
    project.index.add(
        wheel(
            "torch",
            "2.8.0",
            requires=["nvidia-cublas", "nvidia-cudnn-cu12", "nvidia-nccl-cu12", "triton"],
        )
    )
    project.index.add(wheel("accelerate", "1.0", requires=["torch", "nvidia-ml-py"]))
    project.require("accelerate")
    before = project.files()
    run = project.run("lock")
    assert (run.code, run.err) == (
        9,
        f"{NAME}: failed\ndlc: {NAME} is for CPUs, but accelerate brings nvidia-cublas, "
        "nvidia-cudnn-cu12, nvidia-nccl-cu12 and 1 more; "
        "name a build for CPUs of it in the matrix, or leave it out\n",
    )
    assert project.files() == before
