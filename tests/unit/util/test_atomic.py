"""Files are replaced whole, through links, and keep their mode."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from builder.util import atomic
from tests.conftest import ROOT


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("content", ["Ä\r\n", b"\xff\0\n"], ids=["text", "bytes"])
def test_a_new_file_has_the_usual_mode(content: bytes | str, tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    atomic.write(tmp_path / "new", content)
    written = content.encode() if isinstance(content, str) else content
    assert (tmp_path / "new").read_bytes() == written
    assert mode(tmp_path / "new") == mode(tmp_path / "usual")
    assert {path.name for path in tmp_path.iterdir()} == {"usual", "new"}


@pytest.mark.parametrize("said", [0o600, 0o640, 0o755])
def test_a_mode_is_kept(said: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(said)
    atomic.write(path, "new")
    assert (path.read_text(), mode(path)) == ("new", said)
    atomic.write(path, "newer", mode=0o644)
    assert mode(path) == 0o644


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real, link = tmp_path / "elsewhere" / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to("elsewhere/real")
    atomic.write(link, "new")
    assert link.is_symlink()
    assert (real.read_text(), mode(real)) == ("new", 0o640)
    assert [*real.parent.iterdir()] == [real]


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        atomic.write(path, "new")
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]


def test_nothing_else_replaces_files() -> None:
    """Whoever renames a file over another does it here: links and modes are easily forgotten."""
    # What they move is no file of the user's: a program that was fetched, a wheel.
    others = {"buildx.py", "wheelhouse.py"}
    found = set()
    builder = ROOT / "builder"
    for path in {*builder.rglob("*.py")} - {*builder.glob("files/*"), builder / "util/atomic.py"}:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            # A text's own `replace` takes two arguments, a path's takes one.
            if isinstance(called, ast.Attribute) and called.attr in ("replace", "rename"):
                assert isinstance(node, ast.Call)
                if called.attr == "rename" or (len(node.args) == 1 and not node.keywords):
                    found.add(path.name)
    assert found == others
