"""Inventories and notes beside the records of releases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import InventoryError
from builder.inventory.model import Package
from builder.release import inventories, notes
from builder.release.record import Released, record
from tests.conftest import Dlc
from tests.unit.inventory.trees import inventory

ONE = Released(
    image="r.example/team/a",
    tag="1-x",
    tags=("1-x", "1-x-v1.0"),
    digest="sha256:" + "1" * 64,
    size=1,
    key="k",
    profile="sagemaker",
)
TWO = replace(ONE, tags=("1-x", "1-x-v1.1"), digest="sha256:" + "2" * 64)


def release(folder: Path, day: str, released: Released, version: str) -> Path | None:
    package = Package(kind="python", name="urllib3", version=version)
    inventories.keep(folder, released.digest, inventory(package))
    record(folder, day, released)
    return notes.write(folder, released)


def test_the_second_release_has_notes(tmp_path: Path) -> None:
    assert release(tmp_path, "2026-11-21", ONE, "1.26.4") is None
    written = release(tmp_path, "2026-11-28", TWO, "1.26.5")
    assert written == notes.file_of(tmp_path, TWO.digest)
    page = written.read_text("utf-8")
    assert "| `urllib3` | upgraded | `1.26.4` | `1.26.5` |" in page
    assert ONE.digest in page
    # Once more, it is compared with nothing else.
    assert notes.write(tmp_path, TWO) is None


def test_another_tag_or_profile_is_no_former_release(tmp_path: Path) -> None:
    release(tmp_path, "2026-11-21", replace(ONE, tag="2-x"), "1")
    release(tmp_path, "2026-11-21", replace(ONE, profile="oci", digest="sha256:" + "3" * 64), "1")
    assert release(tmp_path, "2026-11-28", TWO, "2") is None


def test_the_newest_former_one_with_an_inventory_counts(tmp_path: Path) -> None:
    release(tmp_path, "2026-11-21", ONE, "1")
    record(tmp_path, "2026-11-22", replace(ONE, digest="sha256:" + "4" * 64))
    written = release(tmp_path, "2026-11-28", TWO, "2")
    assert written
    assert ONE.digest in written.read_text("utf-8")


def test_a_damaged_inventory_is_told(tmp_path: Path) -> None:
    release(tmp_path, "2026-11-21", ONE, "1")
    inventories.file_of(tmp_path, ONE.digest).write_text("{")
    with pytest.raises(InventoryError, match="not JSON"):
        release(tmp_path, "2026-11-28", TWO, "2")


def test_they_come_along_when_records_are_merged(tmp_path: Path, dlc: Dlc) -> None:
    other, here = tmp_path / "other", tmp_path / "here"
    release(other, "2026-11-21", ONE, "1")
    release(other, "2026-11-28", TWO, "2")
    run = dlc("releases", "merge", str(tmp_path / "other"), "--releases", str(here))
    assert run.code == 0, run.err
    assert "2 files merged" in run.err
    assert inventories.file_of(here, TWO.digest).is_file()
    assert notes.file_of(here, TWO.digest).is_file()
