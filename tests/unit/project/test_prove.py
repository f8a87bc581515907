"""Stand-ins without an engine: what they change of a target and what not, and their results."""

from __future__ import annotations

import datetime
import itertools
import json
import random
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.dockerfile.render import Renderer
from builder.errors import BaseImageError, LockError
from builder.locks.freshness import LAYERS, state
from builder.locks.lockfile import parse
from builder.matrix.format import Base
from builder.matrix.target import Target
from builder.util.check import Check
from tests.unit.locks.test_resolve import empty_wheel
from tools.prove.bases import default_interpreters, interpreters
from tools.prove.prove import in_groups
from tools.prove.result import Row, load, passed, save, table
from tools.prove.targets import lock, requirements, stand_in

DEBIAN = "huggingface-pytorch-inference:2.13.0-transformers5.23.0-cpu-py311-debian12"
CPU = "huggingface-pytorch-inference:1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04"
THREE_WHEELS = "huggingface-pytorch-training:1.13.1-transformers4.26.0-gpu-py39-cu117-ubuntu20.04"
CUDA_PACKAGES = "huggingface-pytorch-training:2.6.0-transformers4.51.3-gpu-py312-cu126-ubuntu22.04"
OF_DEBIANS_PYTHON = (
    "huggingface-pytorch-training:2.3.0-transformers4.46.1-gpu-py311-cu121-ubuntu20.04"
)
TENSORFLOW = "huggingface-tensorflow-training:2.6.3-transformers4.17.0-gpu-py38-cu112-ubuntu20.04"
NEURON = (
    "huggingface-pytorch-inference-neuron:"
    "1.9.1-transformers4.12.3-neuron-py37-sdk1.17.1-ubuntu18.04"
)


@pytest.fixture(scope="module")
def real(targets: tuple[Target, ...]) -> dict[str, Target]:
    """The targets of the real matrix by name."""
    return {target.name: target for target in targets}


@pytest.fixture(scope="module")
def kinds(targets: tuple[Target, ...]) -> tuple[Target, ...]:
    """One target of each kind: another version changes no instruction (`make prove` has all)."""
    found = {(each.repository, each.device, each.base.name): each for each in targets}
    return tuple(found.values())


def other_base(target: Target) -> Base:
    """A base as tools.prove.bases.make describes what it built."""
    return replace(
        target.base,
        image=f"stand-in/{target.base.name}@sha256:{'0' * 64}",
        jdk=target.tools_base.jdk,
        pythons={target.python: ()},
        bootstrap=None,
    )


# Interpreters


def prefix(folder: Path, name: str, python: str) -> None:
    """A folder as an installed CPython has it."""
    (folder / name / "bin").mkdir(parents=True)
    (folder / name / "bin" / f"python{python}").write_text("")


def test_the_newest_patch_of_each_python(tmp_path: Path) -> None:
    for version in ("3.8.9", "3.8.18", "3.8.2", "3.6.15", "3.10.1"):
        prefix(tmp_path, version, version.rpartition(".")[0])
    found = interpreters(tmp_path)
    assert {python: (each.version, each.prefix) for python, each in found.items()} == {
        "3.6": ("3.6.15", tmp_path / "3.6.15"),
        "3.8": ("3.8.18", tmp_path / "3.8.18"),
        "3.10": ("3.10.1", tmp_path / "3.10.1"),
    }


def test_what_is_no_interpreter(tmp_path: Path) -> None:
    for name in ("pypy3.8-7.3.11", "3.8-dev", "3.8", "3.8.1.2", "system", "3.8.x"):
        prefix(tmp_path, name, "3.8")
    prefix(tmp_path, "3.9.20", "3.8")
    (tmp_path / "3.8.20").mkdir()
    (tmp_path / "3.8.21").write_text("")
    assert interpreters(tmp_path) == {}
    prefix(tmp_path, "3.8.1", "3.8")
    assert interpreters(tmp_path).keys() == {"3.8"}


def test_no_folder_has_no_interpreters(tmp_path: Path) -> None:
    assert interpreters(tmp_path / "none") == {}


def test_where_interpreters_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "versions").mkdir()
    (tmp_path / "own").mkdir()
    monkeypatch.delenv("DLC_INTERPRETERS", raising=False)
    monkeypatch.delenv("PYENV_ROOT", raising=False)
    assert default_interpreters() is None
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert default_interpreters() == tmp_path / "versions"
    monkeypatch.setenv("DLC_INTERPRETERS", str(tmp_path / "own"))
    assert default_interpreters() == tmp_path / "own"
    monkeypatch.setenv("DLC_INTERPRETERS", str(tmp_path / "none"))
    with pytest.raises(BaseImageError, match="none, which is no folder"):
        default_interpreters()


# Targets


def test_what_can_be_had_is_the_real_target(real: dict[str, Target]) -> None:
    for target in real.values():
        found = stand_in(target, base=None, wheels=False)
        assert found.target is target
        assert found.gaps == ()
    # Without direct wheels there is nothing that wheels could stand in for.
    assert stand_in(real[TENSORFLOW], base=None, wheels=True).target is real[TENSORFLOW]


def test_wheels_alone(real: dict[str, Target]) -> None:
    target = real[DEBIAN]
    found = stand_in(target, base=None, wheels=True)
    assert found.gaps == ()
    assert found.target.base is target.base
    assert found.target.labels()["dlc.stand-in"] == (
        "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl"
    )


def test_base_alone(real: dict[str, Target]) -> None:
    target = real[CPU]
    base = other_base(target)
    found = stand_in(target, base=base, wheels=False).target
    assert found.base is base
    assert found.build is target.build
    assert found.framework_requirements == target.framework_requirements
    assert found.labels()["dlc.stand-in"] == "ubuntu20.04"


def test_names_and_labels(real: dict[str, Target]) -> None:
    target = real[CPU]
    base = other_base(target)
    found = stand_in(target, base=base, wheels=True)
    assert found.gaps == ()
    assert found.target.base is base
    assert found.target.name == f"stand-in/{CPU}"
    assert found.target.tag == target.tag
    labels = found.target.labels()
    assert labels.pop("dlc.stand-in") == "ubuntu20.04 torch-1.9.1+cpu-cp38-cp38-linux_x86_64.whl"
    before = target.labels()
    assert "dlc.stand-in" not in before
    assert {name: value for name, value in labels.items() if value != before.get(name)} == {
        "org.opencontainers.image.base.name": "stand-in/ubuntu20.04",
        "org.opencontainers.image.title": "stand-in/huggingface-pytorch-inference",
    }
    assert labels.keys() == before.keys()


def test_every_direct_wheel_has_the_same_version_on_the_index(real: dict[str, Target]) -> None:
    target = real[THREE_WHEELS]
    found = stand_in(target, base=None, wheels=True).target
    assert (found.build.wheels, found.build.indexes) == ((), {})
    assert found.framework_requirements == (
        *target.framework_requirements,
        *("torch==1.13.1", "torchvision==0.14.1", "torchaudio==0.13.1"),
    )


def test_each_cuda_package_that_is_left_out_is_named(real: dict[str, Target]) -> None:
    target = real[TENSORFLOW]
    found = stand_in(target, base=other_base(target), wheels=False)
    assert found.target.accelerator_packages == ()
    assert found.target.accelerator is target.accelerator
    assert found.gaps == (
        "without cuda-cudart-11-2=11.2.146-1",
        "without libcublas-11-2=11.4.1.1026-1",
        "without libcufft-11-2=10.4.0.135-1",
        "without libcurand-11-2=10.2.3.135-1",
        "without libcusolver-11-2=11.1.0.135-1",
        "without libcusparse-11-2=11.4.0.135-1",
        "without libcudnn8=8.1.0.77-1+cuda11.2",
    )


def test_what_neuron_lacks(real: dict[str, Target]) -> None:
    target = real[NEURON]
    found = stand_in(target, base=other_base(target), wheels=True)
    assert found.gaps == ("without aws-neuron-tools=2.0.623.0", "without torch-neuron")
    assert found.target.labels()["dlc.stand-in"] == (
        "ubuntu18.04 torch-1.9.1+cpu-cp37-cp37m-linux_x86_64.whl"
    )


def test_cuda_packages_go_with_the_wheel(real: dict[str, Target]) -> None:
    """The index's wheel asks for those of its own CUDA, which may be another."""
    target = real[CUDA_PACKAGES]
    assert "nvidia-cublas-cu12==12.6.4.1" in target.framework_requirements
    found = stand_in(target, base=None, wheels=True).target
    assert not any(text.startswith("nvidia-") for text in found.framework_requirements)
    assert found.framework_requirements[-1] == "torch==2.6.0"
    assert set(found.framework_requirements[:-1]) < set(target.framework_requirements)


def test_a_stand_in_brings_its_python_itself(real: dict[str, Target]) -> None:
    target = real[CUDA_PACKAGES]
    assert target.standalone_python.startswith("3.12.")
    found = stand_in(target, base=other_base(target), wheels=False).target
    assert found.standalone_python == ""
    assert found.toolchain_packages == ("g++",)


def test_debians_own_python_gets_its_headers(real: dict[str, Target]) -> None:
    """A standalone one has them; Debian's has them in a package."""
    target = real[OF_DEBIANS_PYTHON]
    assert target.standalone_python.startswith("3.11.")
    debian = target.tools_base
    base = replace(debian, name=target.base.name)
    assert base.pythons[target.python]
    found = stand_in(target, base=base, wheels=False).target
    assert found.toolchain_packages == ("g++", "libpython3.11-dev")


# Dockerfiles


RENDERER = Renderer()


def instructions(target: Target) -> list[list[str]]:
    """A rendered Dockerfile's instructions, each in words; comments and line breaks are gone."""
    text = RENDERER.files(target)["Dockerfile"].decode()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [line.split() for line in "\n".join(lines).replace("\\\n", " ").splitlines()]


def split_labels(found: list[list[str]]) -> tuple[list[list[str]], dict[str, str]]:
    """The instructions but for the last two, and the labels, which the first of these is."""
    *others, (verb, *words), last = found
    assert (verb, last) == ("LABEL", ["SHELL", '["/bin/sh",', '"-c"]'])
    assert not any(each[0] == "LABEL" for each in others)
    pairs = (word.partition("=") for word in shlex.split(" ".join(words)))
    return others, {name: value for name, _, value in pairs}


# How a distribution's own Python is put into the virtual environment.
OWN_PYTHON = (
    *("--mount=type=bind,from=tools,source=/tools,target=/mnt", "/mnt/bin/uv"),
    *("venv", "--no-cache", "--python"),
)


def expected(target: Target, *, base: Base | None, wheels: bool) -> list[list[str]]:
    """The real target's instructions, with all that a stand-in may change of them."""
    others, _ = split_labels(instructions(target))
    pythons = target.base.pythons.get(target.python, ())
    addresses = {
        *(f"{wheel.source}={target.sources[wheel.source]}" for wheel in target.build.wheels),
        *(f"UV_INDEX={target.sources[source]}" for source in target.build.indexes),
    }
    found, stage = [], ""
    for words in others:
        stage = words[-1] if words[0] == "FROM" else stage
        if base and (stage == "keyring" or any("from=keyring" in word for word in words)):
            continue
        left_out: set[str] = set()
        instead: dict[str, str] = {}
        if base and "--install-dir" in words:  # a stand-in base brings that Python itself
            found.append(["RUN", *OWN_PYTHON, f"/usr/bin/python{target.python}", "/opt/venv"])
            continue
        if base and words[0] == "ARG":
            instead = {f"BASE={target.base.image}": f"BASE={base.image}"}
        elif base and stage in ("python", "java") and "apt-get" in words:
            headers = {f"{prefix}python{target.python}-dev" for prefix in ("", "lib")}
            left_out = {*pythons, *headers}
            instead = {target.base.jdk: base.jdk}
        elif wheels and words[-1] == "/opt/dlc/framework.lock":
            left_out = addresses
        found.append([instead.get(word, word) for word in words if word not in left_out])
    return found


@pytest.mark.parametrize(
    ("with_base", "wheels"),
    [(True, True), (True, False), (False, True)],
    ids=["base and wheels", "base", "wheels"],
)
def test_nothing_else_of_the_dockerfile_changes(
    with_base: bool, wheels: bool, kinds: tuple[Target, ...]
) -> None:
    for target in kinds:
        base = other_base(target) if with_base else None
        made = stand_in(target, base=base, wheels=wheels).target
        others, labels = split_labels(instructions(made))
        assert others == expected(target, base=base, wheels=wheels), target.name
        assert labels == made.labels(), target.name
        files = [RENDERER.files(each) for each in (target, made)]
        for name in files[0].keys() - {"Dockerfile"}:
            assert files[0][name] == files[1][name]


def test_each_difference_is_there(real: dict[str, Target]) -> None:
    """What the comparison above takes out is in the real Dockerfiles, and only there."""
    for name, marks in {
        CPU: ("python3-distutils", "openjdk-11-jdk-headless", "PYTORCH_WHEELS="),
        TENSORFLOW: (" AS keyring", "from=keyring", "developer.download.nvidia.com", "libcudnn8="),
        NEURON: (" AS keyring", "apt.repos.neuron", "pip.repos.neuron", "aws-neuron-tools="),
    }.items():
        target = real[name]
        made = stand_in(target, base=other_base(target), wheels=True).target
        before, after = (
            "\n".join(" ".join(words) for words in instructions(each)) for each in (target, made)
        )
        for mark in marks:
            assert mark in before, f"{name}: {mark}"
            assert mark not in after, f"{name}: {mark}"


def test_no_stand_in_asks_another_repository(kinds: tuple[Target, ...]) -> None:
    for target in kinds:
        made = stand_in(target, base=other_base(target), wheels=True).target
        text = RENDERER.files(made)["Dockerfile"].decode()
        for mark in ("keyring", "nvidia.com", "repos.neuron", "://"):
            assert mark not in text, f"{made.name}: {mark}"


# Locks


def entries(folder: Path) -> dict[str, dict[str, str]]:
    """What each lock of a folder has."""
    return {layer: parse((folder / f"{layer}.lock").read_text("utf-8")) for layer in LAYERS}


def test_locks_of_a_stand_in_are_the_committed_ones(
    kinds: tuple[Target, ...], root: Path, tmp_path: Path
) -> None:
    for target in kinds:
        made = stand_in(target, base=other_base(target), wheels=False).target
        lock(target, made, root / "images", tmp_path)
        folder, committed = tmp_path / made.folder, root / "images" / target.folder
        assert state(folder, made).text == "fresh", target.name
        found = entries(folder)
        assert found == entries(committed), target.name
        assert requirements(folder) == [
            *found["framework"].values(),
            *found["libraries"].values(),
        ]


def test_stale_locks_are_refused(real: dict[str, Target], root: Path, tmp_path: Path) -> None:
    target = real[TENSORFLOW]
    copy = tmp_path / "images" / target.folder
    shutil.copytree(root / "images" / target.folder, copy)
    with (copy / "libraries.lock").open("a") as file:
        file.write("six==1.0 --hash=sha256:00\n")
    made = stand_in(target, base=other_base(target), wheels=False).target
    with pytest.raises(LockError, match=r"are not fresh: libraries\.lock edited; run `dlc lock"):
        lock(target, made, tmp_path / "images", tmp_path / "made")
    assert not (tmp_path / "made").exists()


@pytest.mark.integration
def test_the_wheels_of_the_index_and_what_they_alone_need(
    real: dict[str, Target], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = real[CPU]
    committed = entries(root / "images" / target.folder)
    version = committed["framework"]["typing-extensions"].partition("==")[2].split()[0]
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    needs = ("typing-extensions", "cuda-of-its-own")
    empty_wheel(shelf, "torch", "1.9.1", *needs, tag="cp38-cp38-manylinux1_x86_64")
    empty_wheel(shelf, "torch", "1.9.2", tag="cp38-cp38-manylinux1_x86_64")
    empty_wheel(shelf, "typing-extensions", version)
    empty_wheel(shelf, "typing-extensions", "99.0")
    empty_wheel(shelf, "cuda-of-its-own", "11.1")
    # Not with what is locked.
    empty_wheel(shelf, "cuda-of-its-own", "11.2", "typing-extensions>=99")
    for name, value in {
        "UV_OFFLINE": "1",
        "UV_CACHE_DIR": tmp_path / "cache",
        "UV_FIND_LINKS": shelf,
    }.items():
        monkeypatch.setenv(name, str(value))

    made = stand_in(target, base=None, wheels=True).target
    lock(target, made, root / "images", tmp_path / "made")
    assert state(tmp_path / "made" / made.folder, made).text == "fresh"
    found = entries(tmp_path / "made" / made.folder)
    added = {name: found["framework"].pop(name) for name in ("torch", "cuda-of-its-own")}
    assert added["torch"].startswith("torch==1.9.1 \\\n")
    assert added["cuda-of-its-own"].startswith("cuda-of-its-own==11.1 \\\n")
    assert committed["framework"].pop("torch").startswith("torch @ ${PYTORCH_WHEELS}/")
    assert found == committed


# The order


def framework_layer(target: Target, images: Path) -> tuple[Any, ...]:
    """All that determines a target's layers up to the framework's."""
    found, stage = [], ""
    for words in instructions(target):
        stage = words[-1] if words[0] == "FROM" else stage
        if stage not in ("java", "programs"):  # stages of their own, on no other's way
            found.append(words)
    [until] = [
        at
        for at, words in enumerate(found, 1)
        if words[-2:] == ["/mnt/install.sh", "/opt/dlc/framework.lock"]
    ]
    locked = [(images / target.folder / f"{name}.lock").read_bytes() for name in LAYERS[:2]]
    return (*map(tuple, found[:until]), *locked)


def test_targets_with_one_framework_layer_follow_each_other(
    targets: tuple[Target, ...], root: Path
) -> None:
    layers = {target.name: framework_layer(target, root / "images") for target in targets}
    assert 1 < len(set(layers.values())) < len(targets)
    shuffled = list(targets)
    random.Random(0).shuffle(shuffled)  # noqa: S311 - no secret
    for given in (targets, targets[::-1], shuffled):
        ordered = in_groups(given)
        assert sorted(each.name for each in ordered) == sorted(each.name for each in targets)
        runs = [layer for layer, _ in itertools.groupby(layers[each.name] for each in ordered)]
        assert len(runs) == len(set(runs))


def test_pythons_follow_each_other_whatever_their_base(real: dict[str, Target]) -> None:
    given = [
        replace(real[CPU], base=real[name].base, python=python)
        for name in (CPU, NEURON, DEBIAN)
        for python in ("3.8", "3.6", "3.7")
    ]
    assert [each.python for each in in_groups(given)] == [*["3.6"] * 3, *["3.7"] * 3, *["3.8"] * 3]


# Results

GOOD = Check(name="python", passed=True, detail="3.8, and the tag says 3.8")
BAD = Check(name="pip check", passed=False, detail="a|b is missing")
ANSWER = Check(name="answer", passed=True, detail="POSITIVE 0.84 after 6.5 s")


def row(image: str = "repository:tag", **values: Any) -> Row:
    """A row that passed, but for the values."""
    return Row(
        **{
            "image": image,
            "base": "debian12 for ubuntu20.04",
            "stand_in": "ubuntu20.04",
            "gaps": (),
            "locked": "2021-11-03",
            "date": "2021-11-03",
            "locks": "1" * 64,
            "key": "2" * 64,
            "proven": "2026-11-21",
            "seconds": 31.4,
            "size": 2_180_000_000,
            "checks": (GOOD, ANSWER),
            "layers": ({"digest": f"sha256:{0:064x}", "size": 1, "step": "base"},),
            **values,
        }
    )


@pytest.mark.parametrize(
    ("values", "right"),
    [
        ({}, True),
        ({"checks": ()}, False),
        ({"checks": (GOOD, BAD, ANSWER)}, False),
        ({"error": "it broke off"}, False),
        ({"checks": (), "error": "it broke off"}, False),
    ],
)
def test_what_passed(values: dict[str, Any], right: bool) -> None:
    assert row(**values).passed is right
    assert passed([row(), row(**values), row(error="x")]) == 1 + right


def test_rows_are_kept_in_the_order_of_the_matrix(small: dict[str, Target], tmp_path: Path) -> None:
    targets = list(small.values())
    written = [row(targets[number].name, seconds=float(number)) for number in (4, 0, 2)]
    written[1] = replace(written[1], gaps=("without a", "without b"), checks=(GOOD, BAD))
    rows = {each.image: each for each in [*written, row("of:another-matrix")]}
    path = tmp_path / "proof.json"
    path.write_text("what was there")
    save(path, rows, targets)
    assert list(load(path).values()) == [written[1], written[2], written[0]]
    assert [each.name for each in tmp_path.iterdir()] == ["proof.json"]
    before = path.read_bytes()
    save(path, load(path), targets)
    assert path.read_bytes() == before
    assert before.endswith(b"\n}\n")
    assert list(json.loads(before)) == ["rows"]


def test_without_a_file_there_are_no_rows(tmp_path: Path) -> None:
    assert load(tmp_path / "proof.json") == {}


def page(rows: list[Row], missing: dict[str, tuple[str, ...]] | None = None) -> list[str]:
    """The page after its introduction, line by line."""
    missing = missing or {}
    total = len(rows) + len(missing)
    text = table(rows, missing)
    assert text.startswith("# Which rows build\n\n")
    assert text.endswith("\n")
    lines = text.splitlines()
    heads = [line for line in lines if line.startswith(f"{passed(rows)} of {total} targets are ")]
    return lines[lines.index(heads[0]) :]


def test_page() -> None:
    later = row("b:2", date=str(datetime.date(2022, 2, 18)), base="debian12", size=940_000_000)
    missing: dict[str, tuple[str, ...]] = {"a:2": ("torch", "cc"), "a:3": ("torch",), "c:3": ()}
    assert page([row("a:1"), later], missing) == [
        "2 of 5 targets are proven. What they share: 2 images: 2 B in all, 1 B unique, ratio 2.0.",
        "",
        "| images | proven | on the real parts | on stand-ins | in part | built in | sizes |",
        "|---|---|---|---|---|---|---|",
        "| `a` | 1 of 3 | 0 | 1 | 0 | 31 s | 2.18 GB |",
        "| `b` | 1 of 1 | 0 | 1 | 0 | 31 s | 940 MB |",
        "| `c` | 0 of 1 | 0 | 0 | 0 | - | - |",
        "",
        "## What is not proven",
        "",
        "- 2 of `a`: no SHA-256 of cc, torch is known",
        "- `c:3`: it was not built yet",
    ]


def test_page_names_what_failed_and_what_was_left_out() -> None:
    rows = [
        row("a:1", gaps=("without cuda", "without neuron")),
        row("b:2", checks=(GOOD, BAD, ANSWER), gaps=("without neuron",)),
        row("c:3", checks=(), error="no base | none\nlong story", size=0, seconds=0.0),
        row("d:4", gaps=("without neuron",)),
    ]
    found = page(rows)
    assert found[0].startswith("2 of 4 targets are proven. What they share: ")
    lines = [line for line in found if line.startswith("| `")]
    assert [line.split(" | ")[1:5] for line in lines] == [
        ["1 of 1", "0", "0", "1"],
        ["0 of 1", "0", "0", "0"],
        ["0 of 1", "0", "0", "0"],
        ["1 of 1", "0", "0", "1"],
    ]
    assert found[found.index(lines[3]) + 1 :] == [
        "",
        "## What failed",
        "",
        "- `b:2`: pip check: a|b is missing",
        "- `c:3`: no base | none",
        "",
        "## What was left out",
        "",
        "- 1 of `a`: without cuda, without neuron",
        "- 1 of `b`, 1 of `d`: without neuron",
    ]
