"""The reference tables from the matrix, and the page of all images."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.errors import ArgumentError
from builder.matrix.target import Target
from builder.report.catalog import markdown, page, proof, tables
from tests.conftest import GOLDEN, Dlc, Run

# What both editions of the reference page say, cell for cell.
REFERENCE: dict[str, Any] = json.loads(
    Path(__file__).parents[2].joinpath("data", "reference_tables.json").read_text("utf-8")
)
NEURON = (
    "huggingface-pytorch-inference-neuron:"
    "1.9.1-transformers4.12.3-neuron-py37-sdk1.17.1-ubuntu18.04"
)


def parse(text: str) -> list[tuple[str, list[list[str]]]]:
    """The headings of a page, each with its table's cells; the line of dashes left out."""
    found: list[tuple[str, list[list[str]]]] = [("", [])]
    for line in text.splitlines():
        if line.startswith("## "):
            found.append((line.removeprefix("## "), []))
        if line.startswith("|") and not line.startswith("| -"):
            found[-1][1].append([cell.strip() for cell in line.strip("|").split("|")])
    return found


@pytest.mark.parametrize("mode", ["training", "inference"])
def test_row_for_row_in_the_order_of_the_reference(mode: str, root: Path, dlc: Dlc) -> None:
    told = dlc("--matrix", root / "matrix.yaml", "table", "--mode", mode)
    assert (told.code, told.err) == (0, "")
    found = dict(parse(told.out))
    [titles, *rows] = found[mode.title()]
    assert titles == REFERENCE[mode]["titles"]
    assert rows == REFERENCE[mode]["rows"]
    assert len(rows) == {"training": 18, "inference": 27}[mode]


def test_what_came_after(targets: tuple[Target, ...], root: Path, dlc: Dlc) -> None:
    told = dlc("--matrix", root / "matrix.yaml", "table", "--format", "json")
    rows = json.loads(told.out)
    assert sorted(row["image"] for row in rows) == sorted(target.name for target in targets)
    later = [row["image"] for row in rows if row["table"] is None]
    assert later == [target.name for target in targets if target.name in later]
    assert all(target.origin != "own" or target.name in later for target in targets)
    assert [row["image"] for row in rows if row["device"] == "Inferentia"][:1] == [NEURON]


def test_every_edition_has_the_same_width(targets: tuple[Target, ...]) -> None:
    """The line of the titles is as the page has it, emoji and all."""
    lines = markdown(tables(targets)).splitlines()
    assert lines[2] == (
        "| 🤗 Transformers version | 🤗 Datasets version | PyTorch/TensorFlow version | type     "
        "| device | Python Version |"
    )
    assert lines[3] == (
        "| ----------------------- | ------------------- | -------------------------- | -------- "
        "| ------ | -------------- |"
    )


def test_a_target_of_the_same_versions_comes_after(targets: tuple[Target, ...]) -> None:
    first = targets[0]
    other = replace(first, python="3.7")
    found = tables([first, other])
    assert [table.heading for table in found] == ["Training", "After the tables"]
    assert [[row.target for row in table.rows] for table in found] == [[first], [other]]


def test_a_matrix_of_ones_own(small: dict[str, Target]) -> None:
    own = [replace(target, transformers="9.9.9") for target in small.values()]
    [table] = tables(own)
    assert (table.name, table.heading) == ("", "Images")
    assert [row.target for row in table.rows] == own
    assert markdown([table]).startswith("| 🤗 Transformers version |")


def test_as_a_table_for_people(root: Path, dlc: Dlc) -> None:
    told = dlc("--matrix", root / "matrix.yaml", "table", "--format", "table", "*neuron*4.12.3*")
    assert told.out.splitlines() == [
        "transformers  datasets  framework      type       device      python",
        "4.12.3        -         PyTorch 1.9.1  inference  Inferentia  3.7",
    ]


def test_committed_page_is_current(root: Path, dlc: Dlc) -> None:
    file = root / "docs" / "images.md"
    run = dlc("--matrix", root / "matrix.yaml", "table", "--write", file, "--check")
    assert run == Run(code=0, out="", err="")


def test_committed_page_says_what_is_proven(targets: tuple[Target, ...], root: Path) -> None:
    found = parse((root / "docs" / "images.md").read_text("utf-8"))
    rows = json.loads((root / "docs" / "proof.json").read_text("utf-8"))["rows"]
    real = {row["image"] for row in rows if not row["stand_in"]}
    *listed, (heading, [titles, *summed]) = found[1:]
    told = {row[-2].strip("`"): row[-1] for _, [_titles, *lines] in listed for row in lines}
    assert len(told) == 45
    assert {name for name, cell in told.items() if cell == "yes"} == real & told.keys()
    # What came after them, by repository and device.
    assert (heading, titles[2], titles[-1]) == ("After the tables", "number", "proven")
    later = [target for target in targets if target.name not in told]
    assert sum(int(row[2]) for row in summed) == len(later)
    assert len(summed) == len({(target.repository, target.device) for target in later})
    counts = [part.split(" ", 1) for row in summed for part in row[-1].split("; ")]
    assert sum(int(number) for number, _ in counts) == len(later)
    assert sum(int(number) for number, text in counts if text == "yes") == len(real - told.keys())


def test_what_came_after_is_summed_up(targets: tuple[Target, ...]) -> None:
    first = targets[0]
    later = [replace(first, python="3.8"), replace(first, python="3.10", transformers="4.10.0")]
    text = page(tables([first, *later]), {later[0].name: "yes"}, site="it is elsewhere")
    assert "`dlc table` prints them, and it is elsewhere." in text
    [_, listed, (_, [titles, line])] = parse(text)
    assert listed[1][1][-1] == "no"
    assert titles[:3] == ["images", "device", "number"]
    assert line[2:4] == ["2", f"{first.transformers} to 4.10.0"]
    assert line[-2:] == ["3.8 to 3.10", "1 yes; 1 no"]
    assert "proven" not in page(tables([first, *later]), None)


def row(name: str, **other: Any) -> dict[str, Any]:
    return {
        "image": name,
        "error": "",
        "checks": [{"passed": True}],
        "stand_in": "",
        "gaps": [],
        **other,
    }


def test_what_a_proof_says() -> None:
    rows = [
        row("real"),
        row("ubuntu", stand_in="ubuntu18.04"),
        row("tensorflow", stand_in="ubuntu18.04", gaps=["without libcudnn8"]),
        row("broken", error="no wheel"),
        row("wrong", checks=[{"passed": True}, {"passed": False}]),
        row("unchecked", checks=[]),
    ]
    assert proof(json.dumps({"rows": rows})) == {
        "real": "yes",
        "ubuntu": "on a stand-in",
        "tensorflow": "on a stand-in, in part",
        "broken": "no",
        "wrong": "no",
        "unchecked": "no",
    }
    with pytest.raises(ArgumentError, match="the proof is not a proof"):
        proof('{"rows": [{"image": "a"}]}')


def test_page_of_a_team(tmp_path: Path, small: dict[str, Target], dlc: Dlc) -> None:
    shutil.copy(GOLDEN / "matrix.yaml", tmp_path)
    file, command = tmp_path / "IMAGES.md", ["--matrix", tmp_path / "matrix.yaml", "table"]
    assert dlc(*command, "--write", file).err == f"wrote {file}\n"
    assert file.read_text("utf-8") == page(tables(small.values()), None)
    assert "proven" not in file.read_text("utf-8")
    assert dlc(*command, "--write", file).err == f"left {file}\n"

    first = next(iter(small))
    (tmp_path / "proof.json").write_text(json.dumps({"rows": [row(first)]}))
    stale = dlc(*command, "--write", file, "--check")
    assert stale.code == 7
    assert stale.out.startswith(f"--- {file} (committed)\n+++ {file} (from the matrix)\n")
    assert stale.err == (f"dlc: {file} is not as the matrix says; run `dlc table --write {file}`\n")
    dlc(*command, "--write", file)
    told = [line for line in file.read_text("utf-8").splitlines() if "huggingface-" in line]
    assert [line.rsplit("|", 2)[1].strip() for line in told if f"`{first}`" in line] == ["yes"]
    assert sum(line.rstrip(" |").endswith(" no") for line in told) == len(small) - 1


def test_files_that_are_no_text_are_told_of(dlc: Dlc, root: Path, tmp_path: Path) -> None:
    file = tmp_path / "images.md"
    table = ("--matrix", root / "matrix.yaml", "table", "--write", file)
    file.write_bytes(b"# \xff\xfe images\n")
    run = dlc(*table, "--check")
    assert run.code == 7
    assert run.err.startswith(f"dlc: {file} is not as the matrix says; ")
    assert "-# \ufffd\ufffd images\n" in run.out
    assert file.read_bytes() == b"# \xff\xfe images\n"
    for content in (b"\xff\xfe{", b"[" * 100_000):
        (tmp_path / "proof").write_bytes(content)
        run = dlc(*table, "--proof", tmp_path / "proof")
        assert run.code == 2
        assert run.err.startswith(f"dlc: {tmp_path / 'proof'} is not a proof: ")
        assert run.err.endswith("; run `make prove`, or name another file with --proof\n")
    assert dlc(*table).code == 0
    assert dlc(*table, "--check").code == 0


@pytest.mark.parametrize("option", ["--check", "--proof=matrix.yaml"])
def test_options_of_the_page(option: str, dlc: Dlc) -> None:
    run = dlc("--matrix", GOLDEN / "matrix.yaml", "table", option)
    assert run.code == 2
    assert "name it with --write" in run.err
