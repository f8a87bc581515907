"""The command `dlc site`."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import GOLDEN, ROOT, Dlc


def test_it_writes_a_site(tmp_path: Path, dlc: Dlc) -> None:
    options = ("--matrix", GOLDEN / "matrix.yaml", "site", "--output", tmp_path / "site")
    told = dlc(*options)
    assert told.code == 0, told.err
    assert (tmp_path / "site/index.html").is_file()
    assert ", 0 changed" not in told.err
    again = dlc(*options)
    assert again.code == 0
    assert " 0 changed" in again.err


def test_a_team_has_its_own_templates_and_ours(tmp_path: Path, dlc: Dlc) -> None:
    own = tmp_path / "templates" / "stages"
    own.mkdir(parents=True)
    (own / "env.j2").write_text("ENV OURS=1\n", "utf-8")
    told = dlc(
        *("--matrix", GOLDEN / "matrix.yaml", "--templates", tmp_path / "templates"),
        *("site", "--output", tmp_path / "site"),
    )
    assert told.code == 0, told.err
    assert "OURS=1" in (tmp_path / "site/templates/stages/env.html").read_text("utf-8")
    assert (tmp_path / "site/templates/dlc/stages/env.html").is_file()


def test_a_folder_that_is_none_of_ours_is_refused(tmp_path: Path, dlc: Dlc) -> None:
    (tmp_path / "notes.txt").write_text("mine", "utf-8")
    told = dlc("--matrix", GOLDEN / "matrix.yaml", "site", "--output", tmp_path)
    assert (told.code, told.out) == (1, "")
    assert f"dlc: {tmp_path} holds something that is no site of ours; name" in told.err
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]


def test_advisories_that_are_none_are_told(tmp_path: Path, dlc: Dlc) -> None:
    told = dlc(
        *("--matrix", GOLDEN / "matrix.yaml", "site", "--output", tmp_path / "site"),
        *("--advisories", ROOT / "README.md"),
    )
    assert told.code == 18
    assert not (tmp_path / "site").exists()
