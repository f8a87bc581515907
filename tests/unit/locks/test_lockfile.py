"""Locks: reading them, what makes them stale, the committed ones."""

from __future__ import annotations

import dataclasses
import datetime
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement

from builder.dockerfile.render import LOCK_NAMES
from builder.errors import WriteError
from builder.locks.freshness import inputs_digest, state
from builder.locks.lockfile import CRLF, Lock, load, parse, pinned, read, write
from builder.matrix.requirements import normalise
from builder.matrix.target import Target
from tests.conftest import ROOT

OWN = "huggingface-pytorch-inference:2.13.0-transformers4.57.1-cpu-py311-debian12"
NEURON = (
    "huggingface-pytorch-inference-neuron:"
    "1.9.1-transformers4.12.3-neuron-py37-sdk1.17.1-ubuntu18.04"
)
CPU = "huggingface-pytorch-inference:1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04"

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True).filter(
    lambda name: "--" not in name
)
HASHES = st.lists(st.integers(0, 16**64 - 1).map("{:064x}".format), min_size=1, max_size=3)
WHAT = st.sampled_from(
    [
        "==1.2.3",
        "==1.9.1+cpu ; python_version >= '3.8'",
        "[extra,other]==0.1rc1",
        " @ ${PYTORCH_WHEELS}/cpu/x-1%2Bcpu-py3-none-any.whl",
    ]
)


def entry(name: str, what: str, hashes: list[str]) -> str:
    """A requirement as uv writes it."""
    return " \\\n".join([name + what, *(f"    --hash=sha256:{each}" for each in hashes)]) + "\n"


@given(st.dictionaries(NAMES, st.tuples(WHAT, HASHES)), st.sampled_from(["", "# a comment\n\n"]))
def test_parse_gives_back_what_was_written(
    wanted: dict[str, tuple[str, list[str]]], between: str
) -> None:
    entries = {name: entry(name, what, hashes) for name, (what, hashes) in wanted.items()}
    assert parse(between + between.join(entries.values()) + between) == entries
    lock = Lock(layer="framework", python="3.8", date="2021-11-03", inputs="0", entries=entries)
    assert parse(lock.text()) == entries
    assert lock.pins() == [
        name + what.replace("[extra,other]", "").partition(" ;")[0]
        for name, (what, _) in wanted.items()
        if not what.startswith(" @")
    ]


def test_names_are_normalised() -> None:
    text = "Foo_Bar.baz==1 --hash=sha256:00\nQ @ https://host/q.whl --hash=sha256:11\n"
    assert list(parse(text)) == ["foo-bar-baz", "q"]


# The committed locks


def test_committed_locks_are_fresh(targets: tuple[Target, ...], root: Path) -> None:
    for target in targets:
        assert not state(root / "images" / target.folder, target).stale, (
            f"run dlc lock {target.name}"
        )


def test_every_committed_requirement_has_a_hash_or_says_why_not(
    targets: tuple[Target, ...], root: Path
) -> None:
    unhashed: dict[str, list[str]] = {}
    for target in targets:
        folder = root / "images" / target.folder
        for path in (folder / name for name in LOCK_NAMES):
            text = path.read_text("utf-8")
            entries = parse(text)
            assert entries
            for name, lines in entries.items():
                first, *hashes = lines.splitlines()
                assert re.fullmatch(r"[a-z0-9.-]+(==\S+| @ \$\{[A-Z_]+\}/\S+\.whl)( \\)?", first), (
                    name
                )
                assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", h) for h in hashes)
                if not hashes:
                    unhashed.setdefault(target.name, []).append(first)
            # Where it was resolved is nobody's business: an index is the user's own choice.
            assert "://" not in text
            assert [line for line in text.splitlines() if line.startswith("-")] == []
        found = state(folder, target).unhashed
        assert list(found) == [text.split(" @")[0] for text in unhashed.get(target.name, [])]
    # Neuron's index is not public everywhere; its packages are in no other image.
    neuron = {target.name for target in targets if target.device.startswith("neuron")}
    assert unhashed.keys() == neuron
    assert unhashed[NEURON] == ["torch-neuron==1.9.1.2.1.7.0"]


def test_targets_that_share_a_framework_share_its_lock(
    targets: tuple[Target, ...], root: Path
) -> None:
    found: dict[tuple[str, ...], set[bytes]] = {}
    for target in targets:
        built = (target.framework, target.framework_version, target.build.name)
        key = (*built, target.python, target.platform)
        folder = root / "images" / target.folder
        lock = (folder / "framework.lock").read_bytes() + (folder / "build.lock").read_bytes()
        found.setdefault(key, set()).add(lock)
    assert len(found) >= 52
    assert {len(locks) for locks in found.values()} == {1}


def test_direct_wheels_have_the_hash_of_the_matrix(targets: tuple[Target, ...], root: Path) -> None:
    for target in targets:
        lock = parse((root / "images" / target.folder / "framework.lock").read_text("utf-8"))
        for wheel in target.build.wheels:
            name = wheel.filename.split("-")[0]
            known = f" \\\n    --hash=sha256:{wheel.sha256}" if wheel.sha256 else ""
            assert lock[name] == f"{name} @ {wheel.url}{known}\n"


def test_committed_locks_meet_the_requirements(targets: tuple[Target, ...], root: Path) -> None:
    for target in targets:
        folder = root / "images" / target.folder
        framework = parse((folder / "framework.lock").read_text("utf-8"))
        libraries = parse((folder / "libraries.lock").read_text("utf-8"))
        assert not framework.keys() & libraries.keys()
        assert list(parse((folder / "tools.lock").read_text("utf-8"))) == ["uv"]
        assert {"setuptools", "wheel"} <= parse((folder / "build.lock").read_text("utf-8")).keys()
        held = {name: pinned(entry)[1] for name, entry in {**libraries, **framework}.items()}
        for text in (
            *target.framework_requirements,
            *target.library_requirements,
            *target.constraints,
        ):
            wanted = Requirement(text)
            version = held[normalise(wanted.name)]
            assert wanted.specifier.contains(version), f"{target.name}: {text}"


# Fresh and stale


@pytest.fixture
def locked(targets: tuple[Target, ...], root: Path, tmp_path: Path) -> tuple[Path, Target]:
    """A copy of one target's locks."""
    target = next(target for target in targets if target.name == OWN)
    shutil.copytree(root / "images" / target.folder, tmp_path / "locks")
    return tmp_path / "locks", target


Edit = Callable[[Target], Target]


@pytest.mark.parametrize(
    "edit",
    [
        lambda t: dataclasses.replace(t, date=t.date + datetime.timedelta(days=1)),
        lambda t: dataclasses.replace(t, locked=t.locked - datetime.timedelta(days=1)),
        lambda t: dataclasses.replace(t, python="3.12"),
        lambda t: dataclasses.replace(t, library_requirements=t.library_requirements[:-1]),
        lambda t: dataclasses.replace(t, framework_requirements=("numpy<3",)),
        lambda t: dataclasses.replace(t, constraints=t.constraints[:1]),
        lambda t: dataclasses.replace(t, uv="0.13.9"),
        lambda t: dataclasses.replace(t, build_requirements=("setuptools",)),
        lambda t: dataclasses.replace(t, build=dataclasses.replace(t.build, wheels=())),
        lambda t: dataclasses.replace(
            t,
            build=dataclasses.replace(
                t.build, wheels=(dataclasses.replace(t.build.wheels[0], sha256="0" * 64),)
            ),
        ),
    ],
    ids=[
        "date",
        "locked",
        "python",
        "libraries",
        "framework",
        "constraint",
        "uv",
        "build",
        "wheel",
        "hash",
    ],
)
def test_what_makes_locks_stale(edit: Edit, locked: tuple[Path, Target]) -> None:
    folder, target = locked
    assert not state(folder, target).stale
    assert state(folder, edit(target)).stale


def test_what_does_not(locked: tuple[Path, Target]) -> None:
    folder, target = locked
    other = dataclasses.replace(target, origin="official", system_packages=())
    assert not state(folder, other).stale


@pytest.mark.parametrize("name", LOCK_NAMES)
def test_a_lock_edited_by_hand_is_not_fresh(name: str, locked: tuple[Path, Target]) -> None:
    folder, target = locked
    path = folder / name
    path.write_text(path.read_text("utf-8") + entry("numpy", "==1.0", ["0" * 64]), "utf-8")
    assert state(folder, target).stale


COMMITTED = {
    path.name.removesuffix(".lock"): path.read_bytes()
    for path in (ROOT / "images" / OWN.replace(":", "/")).glob("*.lock")
}


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, bytes]:
    """A committed lock's layer, and its bytes after one edit of the kinds that people make."""
    layer = draw(st.sampled_from(sorted(COMMITTED)))
    lines = COMMITTED[layer].splitlines(keepends=True)
    at = draw(st.integers(0, len(lines)))
    upto = draw(st.integers(at, min(at + 4, len(lines))))
    how = draw(st.sampled_from(["insert", "delete", "double", "swap", "byte", "end", "whole"]))
    more = draw(
        st.sampled_from(
            [
                *(b"\n", b"# why\n", b"numpy==1.0\n", b"--index-url http://x/\n", b"-r x\n"),
                *(b"\r", b"\0", b"\xef\xbb\xbf", b"\xff", b" ", b"\t\n", b"\x0c\n"),
                *[each for each in lines if each.startswith((b"#", b"    --hash"))][:4],
            ]
        )
    )
    if how == "insert":
        return layer, b"".join([*lines[:at], more, *lines[at:]])
    if how == "delete":
        return layer, b"".join([*lines[:at], *lines[upto:]])
    if how == "double":
        return layer, b"".join([*lines[:upto], *lines[at:]])
    if how == "swap":
        return layer, b"".join([*lines[:at], *reversed(lines[at:upto]), *lines[upto:]])
    if how == "byte":
        place = draw(st.integers(0, len(COMMITTED[layer])))
        return layer, COMMITTED[layer][:place] + more + COMMITTED[layer][place:]
    if how == "end":
        return layer, COMMITTED[layer].removesuffix(b"\n")
    return layer, COMMITTED[layer] * draw(st.integers(2, 3))


@settings(max_examples=100)
@given(edits())
def test_nothing_in_a_lock_is_outside_what_is_digested(edit: tuple[str, bytes]) -> None:
    layer, content = edit
    found = read(layer, content.decode("utf-8", "surrogateescape"))
    assert isinstance(found, Lock) == (content == COMMITTED[layer])


@pytest.mark.parametrize("layer", sorted(COMMITTED))
def test_nor_beside_any_of_its_lines(layer: str, locked: tuple[Path, Target]) -> None:
    """Each place of a file, by the command's own way to look at it."""
    folder, target = locked
    path = folder / f"{layer}.lock"
    lines = COMMITTED[layer].splitlines(keepends=True)
    # All of the head, and of the rest what is near its ends: there every line is like the others.
    for at in sorted({*range(6), *range(len(lines) - 3, len(lines) + 1)}):
        for more in (b"# why\n", b"numpy==1.0\n", b"\n"):
            path.write_bytes(b"".join([*lines[:at], more, *lines[at:]]))
            assert layer in state(folder, target).stale, (at, more)
    path.write_bytes(COMMITTED[layer] * 2)
    assert layer in state(folder, target).stale
    path.write_bytes(COMMITTED[layer])
    assert not state(folder, target).stale


def test_a_title_is_that_of_the_target(locked: tuple[Path, Target]) -> None:
    folder, target = locked
    path = folder / "libraries.lock"
    path.write_bytes(path.read_bytes().replace(str(target.date).encode(), b"2020-02-02", 1))
    assert state(folder, target).stale == {"libraries": "stale"}


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [(b"\n", b"\r\n", CRLF), (b"--hash", b"\xff-hash", "edited")],
    ids=["line ends", "not UTF-8"],
)
def test_a_lock_is_compared_byte_by_byte(
    old: bytes, new: bytes, what: str, locked: tuple[Path, Target]
) -> None:
    folder, target = locked
    path = folder / "libraries.lock"
    path.write_bytes(path.read_bytes().replace(old, new))
    assert state(folder, target).stale == {"libraries": what}


@pytest.mark.parametrize("name", LOCK_NAMES)
def test_a_missing_lock_is_not_fresh(name: str, locked: tuple[Path, Target]) -> None:
    folder, target = locked
    (folder / name).unlink()
    assert state(folder, target).stale


def test_targets_on_one_framework_have_one_framework_layer(small: dict[str, Target]) -> None:
    cpu = small[CPU]
    gpu = small[CPU.replace("cpu-py38", "gpu-py38-cu111")]
    training = dataclasses.replace(cpu, mode="training", library_requirements=("datasets",))
    assert inputs_digest("framework", cpu) == inputs_digest("framework", training)
    assert inputs_digest("framework", cpu) != inputs_digest("framework", gpu)
    assert inputs_digest("libraries", cpu, "x") != inputs_digest("libraries", training, "x")
    assert inputs_digest("tools", cpu) == inputs_digest("tools", gpu)


def test_written_locks_are_fresh(tmp_path: Path, small: dict[str, Target]) -> None:
    target = small[CPU]
    framework = Lock(
        layer="framework",
        python="3.8",
        date=target.locked.isoformat(),
        inputs=inputs_digest("framework", target),
        entries={"torch": entry("torch", "==1.9.1", ["0" * 64])},
    )
    libraries = dataclasses.replace(
        framework,
        layer="libraries",
        date=target.date.isoformat(),
        inputs=inputs_digest("libraries", target, framework.text()),
    )
    tools = dataclasses.replace(
        framework,
        layer="tools",
        python="",
        date="any day",
        inputs=inputs_digest("tools", target),
    )
    build = dataclasses.replace(framework, layer="build", inputs=inputs_digest("build", target))
    write(tmp_path / "new", [build, framework, libraries, tools])
    assert not state(tmp_path / "new", target).stale
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(LOCK_NAMES)


def test_locks_are_not_written_through_links(locked: tuple[Path, Target], tmp_path: Path) -> None:
    """A committed one would have a file elsewhere replaced."""
    lock = load(locked[0], "libraries")
    assert isinstance(lock, Lock)
    folder = tmp_path / "images" / "repository" / "tag"
    folder.mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.write_text("theirs\n", "utf-8")
    (folder / "libraries.lock").symlink_to(outside)
    with pytest.raises(WriteError, match=r"libraries\.lock is a link.*; remove the link"):
        write(folder, [lock])
    assert outside.read_text("utf-8") == "theirs\n"
