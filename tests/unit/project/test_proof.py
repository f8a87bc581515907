"""The committed proof is of the matrix and the locks as they are committed."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from builder.locks.freshness import LAYERS
from builder.matrix.target import Target
from builder.util.check import Check
from tests.unit.matrix.test_matrix import OWN
from tools.prove import sizes
from tools.prove.result import Row, load, not_tried, picture, save, table, unproven
from tools.prove.targets import locks_digest

GOOD = Check(name="python", passed=True, detail="3.8, and the tag says 3.8")
BAD = Check(name="python", passed=False, detail="3.9, and the tag says 3.8")


def digests(targets: Mapping[str, Target], images: Path) -> dict[str, str]:
    """The digest of each target's locks."""
    return {name: locks_digest(images / target.folder) for name, target in targets.items()}


@pytest.fixture(scope="module")
def named(targets: tuple[Target, ...]) -> dict[str, Target]:
    """The targets of the real matrix by name."""
    return {target.name: target for target in targets}


def test_the_tables_and_our_own_are_proven_and_nothing_is_stale(
    named: dict[str, Target], root: Path
) -> None:
    """Rows after these may lack a proof, which the page then says; none may be outdated."""
    tables = (root / "tests" / "data" / "official_targets.txt").read_text("utf-8").splitlines()
    must = {line.split()[0] for line in tables if line.startswith("huggingface-")}
    assert len(must) == 45
    must |= OWN
    rows = load(root / "docs" / "proof.json")
    now = digests(named, root / "images")
    wrong = unproven(rows, {name: now[name] for name in named if name in must or name in rows})
    assert not wrong, "\n".join(wrong)


def test_rows_are_in_the_order_of_the_matrix(named: dict[str, Target], root: Path) -> None:
    rows = load(root / "docs" / "proof.json")
    assert list(rows) == [name for name in named if name in rows]


def test_every_target_without_a_proof_is_on_the_page(named: dict[str, Target], root: Path) -> None:
    text = (root / "docs" / "proof.md").read_text("utf-8")
    _, _, text = text.partition("## What is not proven")
    rows = load(root / "docs" / "proof.json")
    missing = not_tried(named.values(), root / "images", rows)
    assert missing.keys() == named.keys() - rows.keys()
    counted = re.findall(r"^- (\d+) of `([\w-]+)`: no SHA-256 of ", text, re.MULTILINE)
    blocked = Counter(name.partition(":")[0] for name, lacks in missing.items() if lacks)
    assert {repository: int(number) for number, repository in counted} == blocked
    for name in named:
        untried = name in missing and not missing[name]
        assert (f"- `{name}`: it was not built yet" in text) == untried


def test_one_framework_is_one_layer(named: dict[str, Target], root: Path) -> None:
    """Same framework, version, build, Python and base: the same layer, the same digest."""
    found: dict[tuple[str, ...], set[str]] = {}
    for row in load(root / "docs" / "proof.json").values():
        target = named[row.image]
        key = (
            *(target.framework, target.framework_version, target.build.name),
            # A variant may lack the compiler, which is below the framework.
            *(target.python, target.base.name, target.variant),
        )
        digests = found.setdefault(key, set())
        digests |= {
            each["digest"]
            for each in row.layers
            if each["step"].endswith("/opt/dlc/framework.lock")
        }
    assert len(found) >= 21
    assert [key for key, digests in found.items() if len(digests) != 1] == []


def test_page_is_that_of_the_rows(named: dict[str, Target], root: Path) -> None:
    rows = load(root / "docs" / "proof.json")
    assert rows
    page = (root / "docs" / "proof.md").read_text("utf-8")
    missing = not_tried(named.values(), root / "images", rows)
    assert page == table(list(rows.values()), missing), "run `make pages` and commit its page"
    drawn = (root / "docs" / "layers.svg").read_text("utf-8")
    assert drawn == picture(rows.values()), "run `make prove` and commit its picture"
    told = (root / "docs" / "size.md").read_text("utf-8")
    assert told == sizes.page(list(rows.values()), list(named.values())), "run `make prove`"


def test_no_image_is_over_its_budget(root: Path) -> None:
    rows = load(root / "docs" / "proof.json").values()
    assert [row.image for row in rows if not 0 < row.size <= row.limit] == []


# The same with a small matrix, proven here


@pytest.fixture
def images(small: dict[str, Target], tmp_path: Path) -> Path:
    """A lock of each layer for each target of the small matrix."""
    for target in small.values():
        folder = tmp_path / "images" / target.folder
        folder.mkdir(parents=True)
        for layer in LAYERS:
            (folder / f"{layer}.lock").write_text(f"{layer} of {target.name}\n", "utf-8")
    return tmp_path / "images"


@pytest.fixture
def rows(small: dict[str, Target], images: Path, tmp_path: Path) -> dict[str, Row]:
    """What was proven with these locks, written and read."""
    made = {
        name: Row(
            image=name,
            base=target.base.name,
            stand_in="",
            gaps=(),
            locked=target.locked.isoformat(),
            date=target.date.isoformat(),
            locks=locks_digest(images / target.folder),
            key="",
            proven="2026-11-21",
            checks=(GOOD,),
        )
        for name, target in small.items()
    }
    save(tmp_path / "proof.json", made, small.values())
    return load(tmp_path / "proof.json")


def test_digest_is_of_all_locks(small: dict[str, Target], images: Path) -> None:
    folder = images / next(iter(small.values())).folder
    content = b"".join((folder / f"{layer}.lock").read_bytes() for layer in LAYERS)
    assert locks_digest(folder) == hashlib.sha256(content).hexdigest()


def test_proven(rows: dict[str, Row], small: dict[str, Target], images: Path) -> None:
    assert len(rows) == len(small)
    assert unproven(rows, digests(small, images)) == []


@pytest.mark.parametrize("layer", LAYERS)
def test_a_changed_lock_demands_a_new_proof(
    layer: str, rows: dict[str, Row], small: dict[str, Target], images: Path
) -> None:
    name, target = list(small.items())[3]
    with (images / target.folder / f"{layer}.lock").open("a") as file:
        file.write("six==1.16.0\n")
    assert unproven(rows, digests(small, images)) == [
        f"{name} was proven with other locks: run `make prove ROWS={name}`"
    ]


def test_what_is_not_proven(rows: dict[str, Row], small: dict[str, Target], images: Path) -> None:
    first, second, third, *_ = small
    del rows[first]
    rows[second] = replace(rows[second], checks=(GOOD, BAD))
    rows[third] = replace(rows[third], checks=(), error="it broke off")
    rows["of:another-matrix"] = replace(rows[third], image="of:another-matrix")
    assert unproven(rows, digests(small, images)) == [
        f"{first} has no row: run `make prove ROWS={first}`",
        f"{second} did not pass: run `make prove ROWS={second}`",
        f"{third} did not pass: run `make prove ROWS={third}`",
        "of:another-matrix is no target: run `make prove`",
    ]
