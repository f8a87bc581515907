"""The folder of the site: written whole, again without a change, and nothing of others touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import WriteError
from builder.site.folder import MANIFEST, write
from builder.util import atomic

FILES = {"index.html": b"one", "images/a/b.html": b"two"}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }


def test_new_empty_and_again(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "new" / "site", tmp_path / "empty"):
        assert write(folder, FILES) == 2
        assert contents(folder) == FILES
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        assert write(folder, FILES) == 0
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_what_is_gone_goes_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, {**FILES, "images/old/page.html": b"old"})
    (tmp_path / "images/a/mine.txt").write_text("mine", "utf-8")
    (tmp_path / "CNAME").write_text("example.org", "utf-8")
    assert write(tmp_path, {"index.html": b"new"}) == 3
    mine = {"images/a/mine.txt": b"mine", "CNAME": b"example.org"}
    assert contents(tmp_path) == {"index.html": b"new", **mine}
    assert not (tmp_path / "images/old").exists()


@pytest.mark.parametrize(
    "manifest",
    [None, "{", "[]", '{"written_by": "x", "files": []}', '{"written_by": "dlc site"}'],
)
def test_a_folder_of_something_else_is_refused(manifest: str | None, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine", "utf-8")
    if manifest is not None:
        (tmp_path / MANIFEST).write_text(manifest, "utf-8")
    with pytest.raises(WriteError, match="no site of ours; name an empty folder"):
        write(tmp_path, FILES)
    assert contents(tmp_path) == {"index.html": b"mine"}


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"index.html": b"one"})
    (tmp_path / "images/a").mkdir(parents=True)
    (tmp_path / "images/a/b.html").write_text("mine", "utf-8")
    with pytest.raises(WriteError, match=r"b\.html is not ours"):
        write(tmp_path, FILES)
    assert contents(tmp_path) == {"index.html": b"one", "images/a/b.html": b"mine"}


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    site = tmp_path / "site"
    write(site, {"index.html": b"one"})
    (site / "images").symlink_to(elsewhere)
    with pytest.raises(WriteError, match="leads elsewhere"):
        write(site, FILES)
    assert not any(elsewhere.iterdir())


def test_names_that_lead_out_are_never_removed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine", "utf-8")
    site = tmp_path / "site"
    site.mkdir()
    listed = '{"written_by": "dlc site", "files": ["../victim", "/etc/hostname", "", 5]}'
    (site / MANIFEST).write_text(listed, "utf-8")
    write(site, FILES)
    assert (tmp_path / "victim").read_text("utf-8") == "mine"


def test_a_run_that_was_killed_half_way_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was written when it ended, the next run takes none of it for somebody else's."""
    write(tmp_path, {"index.html": b"old", "gone.html": b"gone"})

    def killed(*_: object) -> None:
        (tmp_path / "images/a").mkdir(parents=True)
        (tmp_path / "images/a/b.html").write_bytes(b"two")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(atomic, "write_all", killed)
        with pytest.raises(KeyboardInterrupt):
            # The list is written with write(), which goes by write_all too: only the pages fail.
            patched.setattr(atomic, "write", lambda path, text, **_: path.write_text(text))
            write(tmp_path, FILES)
    write(tmp_path, FILES)
    assert contents(tmp_path) == FILES


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"index.html": b"old"})
    real = atomic._Staged.prepare

    def full(staged: atomic._Staged, *, keep: bool) -> None:
        if staged.path.name == "index.html":
            raise OSError(28, "No space left on device")
        real(staged, keep=keep)

    monkeypatch.setattr(atomic._Staged, "prepare", full)
    with pytest.raises(WriteError, match="no space left"):
        write(tmp_path, FILES)
    assert contents(tmp_path) == {"index.html": b"old"}
