"""The components of our own matrix: where they fit, what they render to, and what the docs say."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sysconfig
from collections.abc import Iterable
from pathlib import Path

import pytest

from builder.dockerfile.render import Renderer
from builder.matrix.components import KINDS
from builder.matrix.expand import Expansion
from builder.matrix.format import Component, Entry, Matrix, Release
from builder.matrix.read import read
from builder.matrix.target import Target
from builder.matrix.yaml_nodes import Report, Text
from tests.conftest import ROOT

# The columns of the table in docs/components.md that are components.
COLUMNS = {
    "Open MPI": "openmpi",
    "EFA": "efa",
    "mpi4py": "mpi4py",
    "Horovod": "horovod",
    "data parallel": "smdistributed-dataparallel",
    "model parallel": "smdistributed-modelparallel",
}
# What AWS released and the matrix has no row of.
ELSEWHERE = {"TensorFlow 2.4.3 (4.10.2)"}


def load() -> Matrix:
    matrix = read(ROOT / "matrix.yaml", Report(), name="matrix.yaml")
    assert matrix is not None
    return matrix


Row = tuple[Release, Entry]
MATRIX = load()
ROWS: tuple[Row, ...] = tuple(
    (release, entry)
    for release in MATRIX.releases
    for entry in release.entries
    if entry.mode == "training"
)


def put(row: Row, components: Iterable[Component]) -> list[Target]:
    """A row's targets with components; none if it cannot have them."""
    release, entry = row
    texts = tuple(Text(each.name, entry.version.at) for each in components)
    report = Report()
    entry = dataclasses.replace(entry, components=texts)
    targets = Expansion(MATRIX, report, release, entry).targets()
    return [] if report.problems else targets


def of_kind(kind: str, version: str = "") -> list[Component]:
    """The components of a kind, and of a version."""
    found = (each for each in MATRIX.components.values() if each.kind == kind)
    return [each for each in found if version in ("", each.version)]


def fitting(component: Component, rows: Iterable[Row] = ROWS) -> list[Target]:
    """The targets that a component can be in, with the first of each kind that it needs."""
    needed = [of_kind(need)[0] for need in component.needs]
    return [target for row in rows for target in put(row, [component, *needed])]


def table() -> dict[str, dict[str, str]]:
    """The versions of the official images in docs/components.md, by row and column."""
    text = (ROOT / "docs" / "components.md").read_text("utf-8")
    lines = text.partition("## Versions of the official images")[2].splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:1] == "|"]
    (_, *columns), _, *rows = cells
    found = {}
    for name, *versions in rows:
        framework, _, others = name.partition(" ")
        for version in others.split(", "):
            found[f"{framework} {version}"] = dict(zip(columns, versions, strict=True))
    return found


TABLE = table()


def official(name: str) -> list[Target]:
    """The targets of a row of that table with all it names; none if that is not one of each."""
    named = re.fullmatch(r"(\w+) ([\d.]+)(?: \(([\d.]+)\))?", name)
    assert named, name
    framework, version, transformers = named.groups()
    cells = {kind: TABLE[name][column].split(",")[0] for column, kind in COLUMNS.items()}
    found = []
    for row in ROWS:
        release, entry = row
        if (entry.framework, entry.version) != (framework.lower(), version):
            continue
        if transformers not in (None, release.transformers) or entry.devices:
            continue
        choices = [of_kind(kind, wanted) for kind, wanted in cells.items() if wanted]
        chosen = [[each for each in these if fitting(each, [row])] for these in choices]
        if all(len(these) == 1 for these in chosen):
            found += put(row, [these[0] for these in chosen])
    return found


@pytest.fixture(scope="module")
def placed() -> dict[str, Target]:
    """A target with each component, by its name, and one with all of each official row."""
    found = {name: fitting(component) for name, component in MATRIX.components.items()}
    found |= {name: official(name) for name in TABLE}
    return {name: targets[0] for name, targets in found.items() if targets}


@pytest.fixture(scope="module")
def dockerfiles(placed: dict[str, Target]) -> dict[str, str]:
    """What each of them renders to."""
    renderer = Renderer()
    return {name: renderer.files(row)["Dockerfile"].decode() for name, row in placed.items()}


@pytest.mark.slow
def test_hadolint(dockerfiles: dict[str, str], tmp_path: Path) -> None:
    """It is asked about one of each kind in test_components.py, and here about all."""
    paths = {name: tmp_path / f"{number}.Dockerfile" for number, name in enumerate(dockerfiles)}
    for name, path in paths.items():
        path.write_text(dockerfiles[name], "utf-8")
    # It is to see that the last one is wrong, or it has looked at nothing.
    wrong = tmp_path / "wrong.Dockerfile"
    wrong.write_text("FROM debian\n", "utf-8")
    hadolint = Path(sysconfig.get_path("scripts"), "hadolint")
    config = ROOT / ".hadolint.yaml"
    run = subprocess.run(
        [hadolint, "--no-color", "--config", config, *paths.values(), wrong],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stderr == ""
    lines = run.stdout.splitlines()
    assert [line for line in lines if line.startswith(str(wrong))]
    assert {
        name: found
        for name, path in paths.items()
        if (found := [line for line in lines if line.startswith(f"{path}:")])
    } == {}


@pytest.mark.parametrize("name", MATRIX.components)
def test_a_component_is_right_somewhere(
    name: str, placed: dict[str, Target], dockerfiles: dict[str, str]
) -> None:
    """It fits a row of ours, and what that renders to has it."""
    component = MATRIX.components[name]
    assert name in placed, "it fits no row"
    assert f"{component.kind}={component.version}" in placed[name].labels()["dlc.components"]
    if component.source:
        assert f'{component.source.partition("}")[2]}"' in dockerfiles[name]
    elif KINDS[component.kind].replaces:
        assert placed[name].build.wheels == component.wheels
    else:
        assert f"/opt/dlc/component.sh /opt/dlc/{component.kind}.lock" in dockerfiles[name]


@pytest.mark.parametrize("name", sorted(TABLE.keys() - ELSEWHERE))
def test_an_official_row_can_have_what_aws_had(name: str, placed: dict[str, Target]) -> None:
    """All that the table names goes together, and Horovod finds the NCCL that it says."""
    assert name in placed, "the matrix does not have it all, or more than one of a kind"
    accelerator = placed[name].accelerator
    assert accelerator is not None
    nccl = f"libnccl2={TABLE[name]['NCCL']}-1+cuda{'.'.join(accelerator.version.split('.')[:2])}"
    assert nccl in list(accelerator.develop)


def test_only_rows_of_ours_can_be_tried() -> None:
    versions = {f"{entry.framework} {entry.version}" for _, entry in ROWS}
    names = {name: " ".join(name.lower().split()[:2]) for name in TABLE}
    assert {name for name, version in names.items() if version not in versions} == ELSEWHERE


@pytest.mark.parametrize(
    "name", [name for name, each in MATRIX.components.items() if KINDS[each.kind].tied]
)
def test_what_is_tied_fits_no_other_version(name: str) -> None:
    component = MATRIX.components[name]
    found = {(target.framework, target.framework_version) for target in fitting(component)}
    assert found == {
        (key, text) for key in component.frameworks for text in component.frameworks[key]
    }


@pytest.mark.parametrize(
    ("name", "framework", "version"),
    [
        ("training-compiler-pytorch1.10.2", "tensorflow", "2.6.3"),
        ("training-compiler-pytorch1.9.0", "pytorch", "1.9.1"),
        ("training-compiler-pytorch1.10.2", "pytorch", "1.9.1"),
        ("smdataparallel-1.2.1-tensorflow2.6", "pytorch", "1.9.1"),
        ("smdataparallel-1.4.0-pytorch1.10", "pytorch", "1.9.1"),
    ],
)
def test_a_wheel_for_the_right_python_is_not_enough(
    name: str, framework: str, version: str
) -> None:
    component = MATRIX.components[name]
    [row] = [
        (release, entry)
        for release, entry in ROWS
        if (entry.framework, entry.version) == (framework, version)
    ]
    [target] = put(row, [])
    assert {wheel.python for wheel in component.wheels} == {target.python.replace("3.", "cp3")}
    assert put(row, [component, *of_kind("openmpi")[:1]]) == []
