"""Files are replaced whole, through links, and keep their mode; several of them all or none."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.errors import WriteError
from builder.util import atomic
from builder.util.atomic import File
from tests.conftest import ROOT

# Who else writes, and what: nothing that a user or another run reads half.
ELSEWHERE = {
    "build/contexts.py": "a lock that says whose it is, in place",
    "cli/ci.py": "adds to GITHUB_OUTPUT, as GitHub has it",
    "cli/progress.py": "the terminal, by another number",
    "engine/apt.py": "a list of sources in a temporary folder",
    "engine/buildx.py": "a program that was tried first",
    "engine/private.py": "the private engine's settings and log, under its lock",
    "locks/sdist/build.py": "a folder that one build has to itself",
    "locks/sdist/hooks.py": "runs alone, in a sandbox",
    "locks/sdist/needs.py": "an archive in a temporary folder",
    "locks/sdist/source.py": "an archive in a temporary folder",
    "locks/uv/compile.py": "files in a temporary folder",
    "locks/uv/environment.py": "a helper in a temporary folder",
    "locks/uv/process.py": "files in a temporary folder",
    "locks/wheelhouse.py": "copies a wheel of a gigabyte, beside where it goes",
    "matrix/rewrite.py": "the matrix as it would be, in a temporary folder",
    "release/layer_store.py": "a layer beside where it goes, and an empty file to lock",
    "release/signing.py": "a statement in a temporary file",
    "util/http.py": "what is downloaded, in a temporary folder",
    "util/memory.py": "files in memory",
    "util/scratch.py": "whose a temporary folder is",
    "util/state.py": "an empty file to lock",
}
# Programs and tests that run beside or in images.
APART = ("files/", "contract/")
_WRITING = re.compile("[rwax]?[bt]?[wax+][bt]?")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, and what is in them."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_file_stays_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    os.chown(path, 1234, 4321)
    path.chmod(0o2644)
    atomic.write(path, "new")
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (1234, 4321, 0o2644)


def test_a_secret_is_never_readable_by_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    chmod = Path.chmod

    def noted(path: Path, said: int) -> None:
        seen.append(mode(path))
        chmod(path, said)

    monkeypatch.setattr(Path, "chmod", noted)
    atomic.write(tmp_path / "secret", "s", mode=0o600)
    assert seen == [0o600]


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


def test_of_a_link_the_link_goes(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("kept")
    (tmp_path / "link").symlink_to("real")
    atomic.write_all([File(path=tmp_path / "link", content=None)])
    assert contents(tmp_path) == {"real": b"kept"}


def test_a_pipe_gets_what_a_file_would(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        atomic.write(path, "text")
        assert os.read(reader, 99) == b"text"
    finally:
        os.close(reader)
    assert path.is_fifo()


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(WriteError, match=rf"^{path} cannot be written: no space left on device; "):
        atomic.write(path, "new")
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("missing/file", "no such file or directory"),
        ("text/file", "not a directory"),
        ("folder", "is a directory"),
        ("x" * 300, "file name too long"),
    ],
)
def test_the_error_names_the_file(name: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("t")
    with pytest.raises(WriteError) as caught:
        atomic.write(tmp_path / name, "new")
    assert caught.value.message == f"{tmp_path / name} cannot be written: {why}"
    assert caught.value.exit_code == 1
    assert contents(tmp_path) == {"text": b"t"}


def test_a_full_disk_is_named() -> None:
    with pytest.raises(WriteError, match=r"^/dev/full cannot be written: no space left on device"):
        atomic.write(Path("/dev/full"), "new")


@pytest.fixture
def some(tmp_path: Path) -> Iterator[tuple[Path, list[File]]]:
    """A folder, and changes of every kind to it, in folders that are there and that are not."""
    (tmp_path / "old" / "deep").mkdir(parents=True)
    (tmp_path / "a").write_text("a")
    (tmp_path / "a").chmod(0o600)
    (tmp_path / "old" / "deep" / "b").write_text("b")
    (tmp_path / "old" / "deep" / "c").write_text("c")
    yield (
        tmp_path,
        [
            File(path=tmp_path / "a", content=b"A"),
            File(path=tmp_path / "new" / "deep" / "d", content=b"D", mode=0o755),
            File(path=tmp_path / "old" / "deep" / "b", content=None, below=2),
            File(path=tmp_path / "old" / "deep" / "c", content=None, below=2),
            File(path=tmp_path / "e", content=b"E"),
        ],
    )


def test_several_are_written(some: tuple[Path, list[File]]) -> None:
    folder, files = some
    atomic.write_all(files)
    assert contents(folder) == {"a": b"A", "new/deep/d": b"D", "e": b"E"}
    assert (mode(folder / "a"), mode(folder / "new/deep/d")) == (0o600, 0o755)
    assert not (folder / "old").exists()


@pytest.mark.parametrize("how", ["replace", "open", "interrupt"])
@pytest.mark.parametrize("after", range(5))
@pytest.mark.parametrize("links", [True, False])
def test_several_are_written_or_none(
    how: str,
    after: int,
    links: bool,
    some: tuple[Path, list[File]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, files = some
    before, folders = contents(folder), {path for path in folder.rglob("*") if path.is_dir()}
    if not links:
        monkeypatch.delattr(Path, "hardlink_to")
        monkeypatch.setattr(Path, "hardlink_to", refuse, raising=False)
    calls = 0
    name = "replace" if how != "open" else "prepare"
    where = Path if how != "open" else atomic._Staged
    real = getattr(where, name)

    def fails(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == after + 1:
            if how == "interrupt":
                raise KeyboardInterrupt
            raise OSError(28, "No space left on device")
        return real(*arguments, **options)

    monkeypatch.setattr(where, name, fails)
    with pytest.raises(KeyboardInterrupt if how == "interrupt" else WriteError) as caught:
        atomic.write_all(files)
    if how != "interrupt":
        assert str(files[after].path) in str(caught.value)
    assert contents(folder) == before
    assert {path for path in folder.rglob("*") if path.is_dir()} == folders
    assert mode(folder / "a") == 0o600


def refuse(*_: object) -> None:
    raise OSError(1, "Operation not permitted")


def writes(source: str) -> bool:
    """Whether a module opens files to write, or moves or copies files."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        owner = called.value if isinstance(called, ast.Attribute) else None
        of = owner.id if isinstance(owner, ast.Name) else ""
        if name in {"write_text", "write_bytes", "rename", "mkstemp", "NamedTemporaryFile"}:
            if name == "NamedTemporaryFile" and not node.args and node.keywords:
                continue  # only to see whether it can be made
            return True
        # A text's own `replace` takes two arguments, a path's takes one.
        if name == "replace" and (of == "os" or (len(node.args) == 1 and not node.keywords)):
            return True
        if of == "shutil" and name in {"copy", "copy2", "copyfile", "move", "copyfileobj"}:
            return True
        if name in {"open", "fdopen"} and of not in {"tarfile", "wave", "gzip", "zipfile"}:
            modes = [*node.args, *(each.value for each in node.keywords if each.arg == "mode")]
            texts = [each.value for each in modes if isinstance(each, ast.Constant)]
            if any(isinstance(text, str) and _WRITING.fullmatch(text) for text in texts):
                return True
    return False


def test_writers_are_known_by_how_they_write() -> None:
    for source in (
        "p.write_text('x')",
        "open(p, 'wb')",
        "p.open('a')",
        "p.open(mode='x')",
        "os.replace(a, b)",
        "a.replace(b)",
        "shutil.copyfile(a, b)",
    ):
        assert writes(source), source
    for source in ("open(p)", "p.open('rb')", "text.replace('a', 'b')", "p.read_text('utf-8')"):
        assert not writes(source), source


def test_nothing_else_writes_files() -> None:
    """Whoever writes a file does it by `atomic`: modes, links, full disks are easily forgotten."""
    builder = ROOT / "builder"
    paths = {path.relative_to(builder).as_posix(): path for path in builder.rglob("*.py")}
    others = [name for name in paths if not name.startswith((*APART, "util/atomic.py"))]
    found = {name for name in others if writes(paths[name].read_text("utf-8"))}
    assert found - {*ELSEWHERE} == set()
    assert {*ELSEWHERE} - found == set(), "these write no more"
