"""Insertions into a matrix: what was there stays, byte for byte, and what comes is in its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.version import Version

from builder.errors import MatrixError
from builder.matrix.edit import MatrixText
from builder.matrix.format import Matrix
from builder.matrix.read import read
from builder.matrix.yaml_nodes import Report
from tests.compare import assert_same
from tests.conftest import ROOT
from tests.unit.corpus import SMALL

REAL = (ROOT / "matrix.yaml").read_text("utf-8")
RELEASE = ["date: 2099-01-01", "inference: {libraries: serving-5, pytorch: [2.6.0]}"]
VERSIONS = st.tuples(st.integers(0, 12), st.integers(0, 60), st.integers(0, 9)).map(
    lambda parts: ".".join(map(str, parts))
)


def release(version: str) -> list[str]:
    return [f"transformers: {version}", "datasets: 9.9.9", *RELEASE]


def framework(python: str = "3.12") -> list[str]:
    return [
        *("locked: 2099-01-01", f"python: {python}", "base: ubuntu22.04"),
        *("builds:", "  cpu: {requires: [torch]}"),
    ]


def added(before: str, after: str) -> list[str]:
    """The lines that are new; AssertionError if anything else changed."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    start = next((i for i, line in enumerate(old) if new[i] != line), len(old))
    end = start + len(new) - len(old)
    assert_same(new[:start] + new[end:], old, "what was there")
    return new[start:end]


def reading(text: str, tmp_path: Path) -> Matrix:
    path = tmp_path / "matrix.yaml"
    path.write_bytes(text.encode())
    report = Report()
    matrix = read(path, report)
    report.raise_if_any()
    assert matrix is not None
    return matrix


@example(text=REAL, version="0.0.1")
@example(text=REAL, version="4.13.0")
@given(text=st.just(SMALL), version=VERSIONS)
def test_a_release_changes_no_line(text: str, version: str) -> None:
    after = MatrixText(text, "m").add_release(version, release(version)).text
    lines = [line.strip() for line in added(text, after) if line.strip()]
    assert lines == [f"- transformers: {version}", "datasets: 9.9.9", *RELEASE]


@example(text=REAL, version="1.9.2")
@example(text=REAL, version="99.0.0")
@given(text=st.just(SMALL), version=VERSIONS)
def test_a_framework_version_changes_no_line(text: str, version: str) -> None:
    after = MatrixText(text, "m").add_framework("pytorch", version, framework()).text
    assert [line.strip() for line in added(text, after)] == [
        *(f"{version}:", "locked: 2099-01-01", "python: 3.12", "base: ubuntu22.04"),
        *("builds:", "cpu: {requires: [torch]}"),
    ]


@given(version=VERSIONS, newline=st.sampled_from(["\n", "\r\n"]), ending=st.booleans())
def test_ends_of_lines_stay(version: str, newline: str, ending: bool) -> None:
    text = "\ufeff" + SMALL.replace("\n", newline)
    text = text if ending else text.removesuffix(newline)
    after = MatrixText(text, "m").add_release(version, release(version)).text
    assert after.endswith(newline)
    assert set(re.findall(r"\r?\n", after)) == {newline}
    added(text if ending else text + newline, after)


@pytest.mark.parametrize("version", ["0.0.1", "4.46.0", "4.57.1", "99.0.0"])
def test_releases_stay_in_order(version: str, tmp_path: Path) -> None:
    text = MatrixText(REAL, "m").add_release(version, release(version)).text
    before = [each.transformers for each in reading(REAL, tmp_path).releases]
    after = [each.transformers for each in reading(text, tmp_path).releases]
    assert sorted(after, key=Version) == after
    assert sorted([*before, version], key=Version) == after


def test_comments_stay_with_what_they_are_of() -> None:
    text = MatrixText(REAL, "m").add_release("4.57.0", release("4.57.0")).text
    above = text.index("  - transformers: 4.57.0")
    own = text.index("  # Our own: built, served and tested")
    assert above < own < text.index("  - transformers: 4.57.1\n")
    assert text[above:own].endswith("pytorch: [2.6.0]}\n\n")


def test_a_framework_is_before_newer_ones(tmp_path: Path) -> None:
    text = MatrixText(REAL, "m").add_framework("pytorch", "2.4.0", framework()).text
    found = list(reading(text, tmp_path).versions("pytorch"))
    assert found == sorted(found, key=Version)
    text = MatrixText(REAL, "m").add_framework("tensorflow", "2.99.0", framework()).text
    assert text.index("    2.99.0:\n") < text.index("\n# Requirements of the libraries layer")


@pytest.mark.parametrize(
    ("transformers", "mode", "framework", "wanted"),
    [
        ("4.46.1", "training", "pytorch", "training-6, pytorch: [2.3.0, 2.5.1]}"),
        (
            "4.11.0",
            "inference",
            "tensorflow",
            "tensorflow: [2.5.1, {version: 2.5.1, libraries: x}]",
        ),
        ("4.10.2", "training", "tensorflow", "        - 2.5.1\n        - 2.5.1\n"),
        ("4.37.0", "training", "pytorch", "    training: {libraries: x, pytorch: [2.5.1]}\n"),
        ("4.37.0", "inference", "tensorflow", "pytorch: [2.1.0], tensorflow: [2.5.1]}\n"),
        (
            "4.57.1",
            "training",
            "tensorflow",
            "      tensorflow: [{version: 2.5.1, libraries: x}]\n",
        ),
    ],
    ids=["in a list", "other libraries", "in a block", "no mode", "no framework", "after a block"],
)
def test_an_entry(transformers: str, mode: str, framework: str, wanted: str) -> None:
    matrix = MatrixText(REAL, "m")
    if ("libraries: x" not in wanted) and "training-6" in wanted:
        libraries = "training-6"
    elif "- 2.5.1" in wanted:
        libraries = "training-2"
    elif "pytorch: [2.1.0]" in wanted:
        libraries = "serving-5"
    else:
        libraries = "x"
    after = matrix.add_entry(transformers, mode, framework, libraries, {"version": "2.5.1"}).text
    at = after.index(f"- transformers: {transformers}\n")
    assert (
        wanted
        in after[at : after.index("\n  - transformers", at) if "57" not in transformers else None]
    )
    assert len(after) > len(REAL)
    # Taken out again, it leaves the file as it was.
    start = next(i for i, letter in enumerate(REAL) if after[i] != letter)
    assert after[:start] + after[start + len(after) - len(REAL) :] == REAL


def test_a_list_in_brackets_is_refused() -> None:
    text = SMALL.partition("releases:\n")[0] + "releases: [{transformers: 4.6.1}]\n"
    with pytest.raises(MatrixError, match="a list in brackets cannot be added to here"):
        MatrixText(text, "m").add_release("4.7.0", release("4.7.0"))
