"""system.lock: read and written, resolved from apt's answer, and when it is not fresh."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from builder.build.plan import inputs
from builder.build.system_lock import SystemResolver
from builder.dockerfile.render import Renderer
from builder.errors import LockError, MatrixError, StaleLockError
from builder.inventory.locked import compare
from builder.inventory.model import Package
from builder.locks import freshness, system
from builder.locks.system import SystemLock, changes, parse_answer, read, steps
from builder.matrix.mirrors import NO_MIRRORS, Archive, Mirrors, script
from builder.matrix.schema import Day
from builder.matrix.select import select
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from tests.conftest import Dlc
from tests.unit.conftest import write_part

INFERENCE = "*-inference:2.13.0-transformers4.57.1-cpu*"
ROW = "[{version: 2.13.0, devices: [cpu], origin: own}]\n"
SHA = "c" * 64
ANSWER = f"""\
archive debian http://s.example/debian
archive debian-security http://s.example/debian-security
archive debian http://s.example/debian
step java
'http://s.example/debian/pool/jdk.deb' openjdk-17-jdk-headless_1%3a17_amd64.deb 9 SHA256:{SHA}
'http://s.example/debian/pool/main/c/libc6_2.36_amd64.deb' libc6_2.36_amd64.deb 9 SHA256:{SHA}
step python
base python3.11 3.11.2-6 amd64
'http://s.example/debian/pool/main/c/libc6_2.36_amd64.deb' libc6_2.36_amd64.deb 9 SHA256:{SHA}
'http://s.example/debian-security/pool/ca_2%2b1_all.deb' ca-certificates_2+1_all.deb 9 SHA256:{SHA}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The rows of one release, of which inference on CPU has a date."""
    folder = write_part(tmp_path / "m", "4.57.1")
    path = folder / "matrix.yaml"
    text = path.read_text("utf-8")
    before, last, after = text.rpartition(ROW)
    row = last.replace("origin: own", "origin: own, toolchain: none, system_date: 2026-11-20")
    path.write_text(before + row + after, "utf-8")
    return folder


@pytest.fixture
def target(project: Path) -> Target:
    [found] = select(load_targets(project / "matrix.yaml"), [INFERENCE])
    return found


@pytest.fixture
def lock(target: Target) -> SystemLock:
    return parse_answer(ANSWER, target)


def write(project: Path, target: Target, text: str) -> Path:
    path = project / "images" / target.folder / system.NAME
    path.write_text(text, "utf-8")
    return path


def test_what_the_steps_ask_for(target: Target) -> None:
    assert steps(target) == {
        "java": ("openjdk-17-jdk-headless",),
        "python": ("ca-certificates", "python3.11"),
    }
    more = dataclasses.replace(
        target, mode="training", toolchain="g++", system_packages=("git", "curl")
    )
    kept = ("ca-certificates", "g++", "libpython3.11-dev", "python3.11")
    assert steps(more) == {
        "python": ("ca-certificates", "python3.11"),
        "toolchain": kept,
        "system": tuple(sorted((*kept, "curl", "git"))),
    }


def test_compilers_that_are_there_for_one_step(target: Target, lock: SystemLock) -> None:
    some = dataclasses.replace(target, compilers=("gcc",), system_packages=("git",))
    python = ("ca-certificates", "python3.11")
    found = steps(some)
    assert found["compilers"] == tuple(sorted((*python, "gcc")))
    assert found["system"] == tuple(sorted((*python, "git")))
    gcc = dataclasses.replace(lock.packages[0], name="gcc", steps=("compilers",))
    assert "gcc" not in dataclasses.replace(lock, packages=(*lock.packages, gcc)).final
    dockerfile = Renderer().files(some)["Dockerfile"].decode()
    assert "for step in java python toolchain compilers system; do" in dockerfile
    assert "source=/tools/system/compilers,target=/media/system" in dockerfile
    assert "xargs --no-run-if-empty apt-get purge --yes < /media/new" in dockerfile
    assert "apt-get purge --yes --auto-remove" not in dockerfile
    assert "compilers" not in Renderer().files(target)["Dockerfile"].decode()


def test_apts_answer_becomes_a_lock(lock: SystemLock) -> None:
    assert lock.text().splitlines()[3:] == [
        "# snapshot: 20261120T235959Z",
        f"ca-certificates=2+1 all debian-security pool/ca_2%2b1_all.deb sha256:{SHA} python",
        f"libc6=2.36 amd64 debian pool/main/c/libc6_2.36_amd64.deb sha256:{SHA} java,python",
        f"openjdk-17-jdk-headless=1:17 amd64 debian pool/jdk.deb sha256:{SHA} java",
        "python3.11=3.11.2-6 amd64 base - sha256:- python",
    ]
    assert read(lock.text()) == lock
    assert lock.final == {"ca-certificates": "2+1", "libc6": "2.36", "python3.11": "3.11.2-6"}


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("step python", "E: no such package", "apt's answer makes no sense: E: no such package"),
        ("s.example/debian/pool", "t.example/debian/pool", "apt's answer makes no sense"),
        (f"SHA256:{SHA}\nstep", "MD5Sum:00\nstep", "apt's answer makes no sense"),
        ("base python3.11 3.11.2-6 amd64\n", "", "does not say where python3.11 would come from"),
    ],
)
def test_an_answer_that_is_none(old: str, new: str, why: str, target: Target) -> None:
    assert old in ANSWER
    with pytest.raises(LockError, match=why):
        parse_answer(ANSWER.replace(old, new), target)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("libc6=2.36", "libc6=2.37", "edited"),
        ("# snapshot: 20261120", "# snapshot: 20261121", "edited"),
        (f"sha256:{SHA} java\n", f"sha256:{SHA} java\n\n", "edited"),
        ("# Packages of", "# Packages in", "not a lock"),
    ],
)
def test_a_text_that_is_no_lock(old: str, new: str, why: str, lock: SystemLock) -> None:
    assert old in lock.text()
    assert read(lock.text().replace(old, new, 1)) == why


def test_it_is_an_input_of_the_build(project: Path, target: Target, lock: SystemLock) -> None:
    images, renderer = project / "images", Renderer()
    with pytest.raises(StaleLockError, match=r"system\.lock missing"):
        inputs(target, images, renderer)
    write(project, target, lock.text())
    assert not freshness.state(images / target.folder, target).stale
    found = inputs(target, images, renderer)
    assert found.files["system.lock"] == lock.text().encode()
    moved = dataclasses.replace(lock, packages=lock.packages[1:])
    write(project, target, moved.text())
    assert inputs(target, images, renderer).key != found.key
    for other in (
        dataclasses.replace(target, system_packages=("git",)),
        dataclasses.replace(target, base=dataclasses.replace(target.base, image="debian@sha256:0")),
        dataclasses.replace(target, system_date=Day(2026, 11, 21)),
    ):
        assert system.stale(images / target.folder, other) == "stale"
    plain = dataclasses.replace(target, system_date=None)
    assert system.stale(images / target.folder, plain) == ""
    assert "system.lock" not in inputs(plain, images, renderer).files


def test_steps_install_what_is_locked(target: Target) -> None:
    files = Renderer().files(target)
    dockerfile = files["Dockerfile"].decode()
    assert "apt-get update" not in dockerfile.partition("FROM ${BASE} AS java")[2]
    for step in ("java", "python"):
        assert f"source=/tools/system/{step},target=/media/system" in dockerfile
    assert "    cp /mnt/system.lock /opt/dlc/\n" in dockerfile
    assert files["system.sh"].startswith(b"#!/bin/sh\n")
    plain = Renderer().files(dataclasses.replace(target, system_date=None))
    assert "system.sh" not in plain
    assert b"/media/system" not in plain["Dockerfile"]


def test_lock_check_tells(project: Path, target: Target, lock: SystemLock, dlc: Dlc) -> None:
    matrix = project / "matrix.yaml"
    run = dlc("--matrix", matrix, "lock", "--check", INFERENCE)
    assert run.code == 16
    assert run.out.startswith(f"{target.name}: system.lock missing\n")
    write(project, target, lock.text())
    assert dlc("--matrix", matrix, "lock", "--check", INFERENCE).code == 0
    matrix.write_text(matrix.read_text("utf-8").replace("2026-11-20", "2026-11-21"), "utf-8")
    run = dlc("--matrix", matrix, "lock", "--check", INFERENCE, "--format", "json")
    assert run.code == 16
    assert json.loads(run.out)["targets"][0]["stale"] == {"system": "stale"}


def test_moving_a_date_that_is_not_there(project: Path, dlc: Dlc) -> None:
    run = dlc("--matrix", project / "matrix.yaml", "lock", "--system", "*training*")
    assert run.code == 2
    assert run.err.startswith("dlc: none of these targets has a `system_date`; give one to the row")
    run = dlc("--matrix", project / "matrix.yaml", "lock", "--system", "--check")
    assert (run.code, run.out) == (2, "")


def test_a_day_to_come(target: Target) -> None:
    resolver = SystemResolver(mirrors=NO_MIRRORS, today=datetime.date(2026, 11, 19), say=print)
    with pytest.raises(LockError, match="2026-11-20 is still to come"):
        resolver.lock(target)


def test_a_day_that_is_past_and_no_snapshot_service(target: Target) -> None:
    archive = Archive(main="http://m", security="http://s")
    for mirrors in (NO_MIRRORS, Mirrors(archives={"debian12": archive})):
        resolver = SystemResolver(mirrors=mirrors, today=datetime.date(2026, 11, 21), say=print)
        with pytest.raises(LockError, match="no snapshot service is named for debian12"):
            resolver.lock(target)


def test_what_is_locked_from_the_same_is_asked_once(
    project: Path, target: Target, lock: SystemLock
) -> None:
    resolver = SystemResolver(mirrors=NO_MIRRORS, today=datetime.date(2026, 11, 20), say=print)
    resolver.know(project / "images", [target])
    write(project, target, lock.text())
    resolver.know(project / "images", [target])
    assert resolver.lock(target) == lock, "without an engine"


def test_what_the_image_has_in_the_end_is_of_its_last_step(lock: SystemLock) -> None:
    compiler = dataclasses.replace(lock.packages[0], name="g++", steps=("toolchain", "system"))
    git = dataclasses.replace(lock.packages[0], name="git", steps=("system",))
    assert [*dataclasses.replace(lock, packages=(compiler, git)).final] == ["g++", "git"]
    assert [*dataclasses.replace(lock, packages=(*lock.packages, git)).final] == ["git"]


def test_what_changes(lock: SystemLock) -> None:
    newer = dataclasses.replace(lock.packages[1], version="2.37")
    [first, _, third, _] = lock.packages
    after = dataclasses.replace(lock, packages=(newer, third))
    assert changes(lock, after) == [
        f"{first.name} 2+1 -> gone",
        "libc6 2.36 -> 2.37",
        "python3.11 3.11.2-6 -> gone",
    ]
    assert changes(lock, lock) == []


def test_an_image_is_held_to_it(lock: SystemLock) -> None:
    def differences(**versions: str) -> tuple[str, ...]:
        there = {"ca-certificates": "2+1", "libc6": "2.36", "python3.11": "3.11.2-6", **versions}
        packages: Sequence[Package] = [
            Package(kind="system", name=name.replace("_", "-"), version=version)
            for name, version in there.items()
            if version
        ]
        return compare(packages, {"system": lock.text()}, "/opt/venv")[1]

    assert differences() == ()
    assert differences(libc6="2.37") == ("libc6 is 2.37, and system.lock has 2.36",)
    assert differences(libc6="") == ("libc6 2.36 of system.lock is missing",)
    assert differences(more="1") == ("more 1 is not in system.lock",)
    assert compare([], {"system": "x"}, "/opt/venv")[1] == (
        "system.lock in the image is not a lock",
    )


def test_where_not_all_packages_can_be_locked(tmp_path: Path) -> None:
    row = "origin: own, components: [openmpi-4.1.4], system_date: 2026-11-20}"
    with pytest.raises(MatrixError, match="has components, so the distribution's packages cannot"):
        write_part(tmp_path / "n", "4.57.1", change=("origin: own}", row))


@pytest.mark.parametrize(
    ("device", "framework", "kind"), [("gpu", "tensorflow", "CUDA"), ("neuron", "", "NEURON")]
)
def test_packages_of_an_accelerator(
    device: str, framework: str, kind: str, part: Path, target: Target
) -> None:
    """Each with its version, of a repository that needs a key to be asked, and none to install."""
    row = next(
        each
        for each in load_targets(part / "matrix.yaml")
        if each.device == device and each.accelerator_packages and framework in each.framework
    )
    dated = dataclasses.replace(row, system_date=target.system_date)
    [*wanted] = (each for each in row.accelerator_packages)
    assert {*wanted} < {*steps(dated)["accelerator"]}
    text = Renderer().files(dated)["Dockerfile"].decode()
    assert "AS keyring" not in text
    assert f'REPOSITORY="${{{kind}_PACKAGES:-https://' in text
    assert f"        {wanted[0].partition('=')[0]}" in text
    assert wanted[0] not in text, "the version is the lock's"
    asked = Renderer().resolver(dated)
    assert "FROM tools AS keyring" in asked
    assert f'REPOSITORY="{kind.lower()} ${{{kind}_PACKAGES:-https://' in asked
    assert "keyring" not in Renderer().resolver(target)


def test_answer_of_an_accelerators_repository(target: Target) -> None:
    row = dataclasses.replace(target, accelerator_packages=("aws-x=1.*",))
    more = (
        "archive neuron http://n.example\nstep accelerator\n"
        f"'http://n.example/pool/aws-x_1.1_amd64.deb' aws-x_1.1_amd64.deb 9 SHA256:{SHA}\n"
        + ANSWER.partition("step python\n")[2]
    )
    lock = parse_answer(ANSWER + more, row)
    assert "aws-x=1.1 amd64 neuron pool/aws-x_1.1_amd64.deb" in lock.text()
    assert lock.final["aws-x"] == "1.1"
    assert lock.final["libc6"] == "2.36"
    with pytest.raises(LockError, match=r"does not say where aws-x would come from"):
        parse_answer(ANSWER + more.replace("aws-x_1", "aws-y_1"), row)


def test_a_site_has_a_snapshot_service_of_its_own() -> None:
    def told(snapshot: str) -> str:
        archive = Archive(main="http://m", security="http://s", snapshot=snapshot)
        return script(Mirrors(archives={"debian12": archive}))

    assert "    debian12) main=http://m security=http://s snapshot=http://p ;;\n" in told(
        "http://p"
    )
    assert "    debian12) main=http://m security=http://s ;;\n" in told("")
