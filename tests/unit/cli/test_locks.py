"""The command `dlc lock` where it asks no index: what it checks, and what it refuses."""

from __future__ import annotations

import datetime
import json
import re
import shutil
from pathlib import Path

import pytest

from builder.dockerfile.render import LOCK_NAMES
from builder.matrix.format import Upgrade
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from builder.matrix.yaml_nodes import Position, Text
from tests.conftest import Dlc, Run
from tests.unit.corpus import SMALL, with_upgrade

NEURON = (
    "huggingface-pytorch-inference-neuron:"
    "1.9.1-transformers4.12.3-neuron-py37-sdk1.17.1-ubuntu18.04"
)
OWN = "huggingface-pytorch-inference:2.13.0-transformers4.57.1-cpu-py311-debian12"
UNHASHED = "NEURON_WHEELS could not be reached when this was locked; `dlc lock` adds it."


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No way to any host: proxies stand where no machine may."""
    monkeypatch.setenv("UV_OFFLINE", "1")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://192.0.2.1:9")
        monkeypatch.setenv(name.lower(), "http://192.0.2.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)


@pytest.fixture
def own(targets: tuple[Target, ...], root: Path, tmp_path: Path) -> Path:
    """A copy of one target's locks, below tmp_path; the others have none there."""
    target = next(target for target in targets if target.name == OWN)
    folder = tmp_path / target.folder
    folder.mkdir(parents=True)
    for name in LOCK_NAMES:
        shutil.copy(root / "images" / target.folder / name, folder)
    return folder


def requirements(folder: Path) -> int:
    """How many requirements the locks of a folder have: lines at the margin."""
    lines = [line for name in LOCK_NAMES for line in (folder / name).read_text("utf-8").split("\n")]
    return sum(1 for line in lines if re.match(r"[a-z0-9]", line))


# What is committed


@pytest.mark.usefixtures("offline")
def test_committed_locks(targets: tuple[Target, ...], root: Path, dlc: Dlc) -> None:
    run = dlc("--matrix", root / "matrix.yaml", "lock", "--check")
    assert run.code == 0, run.out
    total = sum(requirements(root / "images" / target.folder) for target in targets)
    *unhashed, summary = run.out.splitlines()
    assert f"{NEURON}: no SHA-256 of torch-neuron==1.9.1.2.1.7.0: {UNHASHED}" in unhashed
    assert all("-neuron" in line and ": no SHA-256 of " in line for line in unhashed)
    assert summary == (
        f"{len(targets)} targets, {total} requirements, {len(unhashed)} without a SHA-256"
    )


@pytest.mark.usefixtures("offline")
def test_committed_locks_for_programs(targets: tuple[Target, ...], root: Path, dlc: Dlc) -> None:
    run = dlc("--matrix", root / "matrix.yaml", "lock", "--check", "--format", "json")
    assert run.code == 0
    found = json.loads(run.out)
    assert list(found) == ["targets", "upgrades"]
    assert [row["image"] for row in found["targets"]] == [target.name for target in targets]
    for row, target in zip(found["targets"], targets, strict=True):
        assert list(row) == [
            "image",
            "stale",
            "requirements",
            "unhashed",
            "upgraded",
            "not_upgraded",
        ]
        assert row["stale"] == {}
        assert row["requirements"] == requirements(root / "images" / target.folder)
        assert bool(row["unhashed"]) == target.device.startswith("neuron")
        if target.name == NEURON:
            assert row["unhashed"] == {"torch-neuron==1.9.1.2.1.7.0": UNHASHED}


def test_some_of_them(root: Path, dlc: Dlc, own: Path) -> None:
    run = dlc("--matrix", root / "matrix.yaml", "--images", own.parents[1], "lock", "--check", OWN)
    assert (run.code, run.out, run.err) == (
        0,
        f"1 target, {requirements(own)} requirements, 0 without a SHA-256\n",
        "",
    )


# What is not fresh


def check(dlc: Dlc, root: Path, own: Path, *arguments: str) -> Run:
    return dlc(
        *("--matrix", root / "matrix.yaml", "--images", own.parents[1]),
        *("lock", "--check", *(arguments or [OWN])),
    )


def broken(folder: Path, name: str, how: str) -> None:
    """Make a lock other than it was resolved."""
    path = folder / name
    text = path.read_text("utf-8")
    if how == "missing":
        path.unlink()
    elif how == "not a lock":
        path.write_text("numpy==1.0\n")
    elif how == "edited":
        path.write_text(text + "numpy==1.0\n")
    else:
        path.write_text(re.sub("inputs: sha256:[0-9a-f]{64}", f"inputs: sha256:{'0' * 64}", text))


@pytest.mark.parametrize("how", ["missing", "not a lock", "edited", "stale"])
@pytest.mark.parametrize("name", LOCK_NAMES)
def test_a_lock_that_is_not_fresh(how: str, name: str, root: Path, dlc: Dlc, own: Path) -> None:
    broken(own, name, how)
    run = check(dlc, root, own)
    assert run.code == 16
    named, total = run.out.splitlines()
    # What is below the libraries is a part of what they were resolved from.
    above = ", libraries.lock stale" if name == "framework.lock" else ""
    assert named == f"{OWN}: {name} {how}{above}"
    assert total.startswith("1 target, ")
    assert run.err == (f"dlc: the locks of 1 of 1 target are not fresh; run `dlc lock {OWN}`\n")


def test_locks_that_are_not_fresh_for_programs(root: Path, dlc: Dlc, own: Path) -> None:
    broken(own, "tools.lock", "edited")
    broken(own, "build.lock", "missing")
    run = check(dlc, root, own, OWN, "--format", "json")
    assert run.code == 16
    [row] = json.loads(run.out)["targets"]
    assert row["stale"] == {"build": "missing", "tools": "edited"}


def test_several_targets_that_are_not_fresh(
    targets: tuple[Target, ...], root: Path, dlc: Dlc, own: Path
) -> None:
    run = check(dlc, root, own, "2.13.0-transformers4.57.1-*", NEURON)
    training = OWN.replace("inference", "training")
    assert run.code == 16
    *named, total = run.out.splitlines()
    assert sorted(named) == sorted([f"{training}: missing", f"{NEURON}: missing"])
    assert total == f"3 targets, {requirements(own)} requirements, 0 without a SHA-256"
    assert run.err == "dlc: the locks of 2 of 3 targets are not fresh; run `dlc lock`\n"
    assert len(targets) > 3


# Upgrades to look at again

EXPIRED = Upgrade(
    package=Text("no-such-package", Position(file="m", line=1, column=1)),
    version="1.0.1",
    date=datetime.date(2021, 1, 1),
    reason="CVE-2021-0001",
    until=datetime.date(2021, 6, 30),
)


@pytest.fixture
def expired(part: Path, tmp_path: Path) -> Path:
    """A part of the real matrix with an upgrade that has expired and lifts nothing."""
    path = tmp_path / "matrix.yaml"
    path.write_text(with_upgrade((part / "matrix.yaml").read_text("utf-8"), EXPIRED), "utf-8")
    return path


def test_an_upgrade_that_expired(expired: Path, part: Path, dlc: Dlc) -> None:
    """It is told, and is no reason to fail: locks are what the matrix says."""
    at = load_targets(expired)[0].upgrades[-1].at
    told = [
        f"{at}: the upgrade of no-such-package (CVE-2021-0001) expired on 2021-06-30; "
        "extend it or remove it",
        f"{at}: the upgrade of no-such-package no longer changes a lock; remove it",
    ]
    run = dlc("--matrix", expired, "--images", part / "images", "lock", "--check")
    assert (run.code, run.err.splitlines()[-2:]) == (0, told)
    assert run.out.splitlines()[-1].endswith(" without a SHA-256")

    arguments = ("lock", "--check", "--format", "json")
    run = dlc("--matrix", expired, "--images", part / "images", *arguments)
    assert (run.code, run.err.splitlines()[-2:]) == (0, told)
    assert json.loads(run.out)["upgrades"][-2:] == told


def test_some_targets_tell_nothing_of_upgrades(expired: Path, root: Path, dlc: Dlc) -> None:
    """Others may need them."""
    run = dlc("--matrix", expired, "--images", root / "images", "lock", "--check", OWN)
    assert (run.code, run.err) == (0, "")


# What is refused

UNTIL = "2099-12-31"
WHY = ("--reason", "CVE-2022-45198", "--until", UNTIL)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--check", "--upgrade", "pillow", *WHY),
            "--check and --upgrade are different things: give one.",
        ),
        (("--check", "--upgrade", ""), "--check and --upgrade are different things: give one."),
        (("--upgrade", "pillow"), "--upgrade, --reason and --until go together."),
        (("--upgrade", "pillow", *WHY[:2]), "--upgrade, --reason and --until go together."),
        (("--upgrade", "pillow", *WHY[2:]), "--upgrade, --reason and --until go together."),
        (WHY, "--upgrade, --reason and --until go together."),
        (("--check", *WHY), "--upgrade, --reason and --until go together."),
        # As of a variable that is not set.
        (("--upgrade", ""), "--upgrade, --reason and --until go together."),
        (
            (NEURON, "--upgrade", "pillow", *WHY),
            "--upgrade is for all targets: leave the selection out.",
        ),
        (
            ("--device", "cpu", "--upgrade", "pillow", *WHY),
            "--upgrade is for all targets: leave the selection out.",
        ),
        (
            ("--upgrade", "pillow", *WHY[:3], "31.12.2099"),
            "'31.12.2099' does not match the format '%Y-%m-%d'.",
        ),
        (("--check", "--format", "yaml"), "'yaml' is not one of 'table', 'json'."),
    ],
)
def test_misuse(arguments: tuple[str, ...], message: str, tmp_path: Path, dlc: Dlc) -> None:
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text(SMALL, "utf-8")
    run = dlc("--matrix", matrix, "lock", *arguments)
    assert (run.code, run.out) == (2, "")
    assert run.err.splitlines()[-1].endswith(message)
    assert [path.name for path in tmp_path.iterdir()] == ["matrix.yaml"]


@pytest.mark.parametrize(
    ("package", "reason", "until", "message"),
    [
        ("pillow>=9.3.0", "CVE-1", UNTIL, "'pillow>=9.3.0' is not PACKAGE[==VERSION]"),
        ("", "CVE-1", UNTIL, "'' is not PACKAGE[==VERSION]"),
        ("pillow", "", UNTIL, "--reason is not one line of text"),
        ("pillow", "CVE-1", "2022-11-01", "--until 2022-11-01 is not in the future"),
    ],
)
def test_what_is_no_upgrade(
    package: str, reason: str, until: str, message: str, tmp_path: Path, dlc: Dlc
) -> None:
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text(SMALL, "utf-8")
    options = ("--upgrade", package, "--reason", reason, "--until", until)
    run = dlc("--matrix", matrix, "lock", *options)
    assert run.code == 2
    assert run.err.startswith(f"dlc: {message}; ")
    assert matrix.read_text("utf-8") == SMALL


FIELDS = "date: 2022-07-01, reason: a buffer overflow, until: 2023-07-01"


@pytest.mark.parametrize("package", ["numpy", "pillow"])
@pytest.mark.parametrize("layout", ["[{}]", "[\n  {}\n]"])
def test_a_matrix_that_cannot_be_added_to(
    package: str, layout: str, tmp_path: Path, dlc: Dlc
) -> None:
    """Nothing is written but what we can be sure of."""
    upgrades = "upgrades: " + layout.format(f"{{package: {package}, {FIELDS}}}") + "\n"
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text(SMALL + upgrades, "utf-8")
    run = dlc("--matrix", matrix, "lock", "--upgrade", "pillow==9.3.0", *WHY)
    assert run.code == 9, run.err
    assert run.err.startswith(
        f"dlc: {matrix} is written in a way that the upgrade cannot be added to: "
        "a list in brackets cannot be added to here; "
    )
    assert run.err.endswith("; write its `upgrades` as a block, an item on each line\n")
    assert matrix.read_text("utf-8") == SMALL + upgrades
    assert [path.name for path in tmp_path.iterdir()] == ["matrix.yaml"]


@pytest.mark.parametrize("words", [("lock", "--check"), ("lock",)])
def test_a_checkout_with_other_line_ends(
    words: tuple[str, ...], root: Path, dlc: Dlc, own: Path
) -> None:
    """Resolving anew would lose what is locked; the checkout is what is to be mended."""
    before = {}
    for name in LOCK_NAMES:
        path = own / name
        before[name] = path.read_bytes().replace(b"\n", b"\r\n")
        path.write_bytes(before[name])
    run = dlc("--matrix", root / "matrix.yaml", "--images", own.parents[1], *words, OWN)
    assert run.code == (16 if "--check" in words else 9)
    assert "has lines that end with CRLF" in run.out + run.err
    assert "write `* text=auto eol=lf` to .gitattributes" in run.err
    assert "run `dlc lock" not in run.err
    assert {name: (own / name).read_bytes() for name in LOCK_NAMES} == before
