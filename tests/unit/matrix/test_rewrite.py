"""A matrix is rewritten with all that follows from it, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import MatrixError, WriteError
from builder.matrix.edit import MatrixText
from builder.matrix.rewrite import Edit, Original
from builder.util.atomic import File
from tests.unit.corpus import SMALL

NEW = "sha256:" + "1" * 64


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    path = tmp_path / "matrix.yaml"
    path.write_bytes(SMALL.encode())
    return path


@pytest.fixture
def edit(matrix: Path) -> Edit:
    original = Original(matrix)
    base = original.matrix.bases["debian12"]
    return original.edited(original.text.pin_base("debian12", base.image.partition("@")[2], NEW))


def test_nothing_is_written_before_it_is_saved(edit: Edit, matrix: Path) -> None:
    assert edit.before == matrix.read_bytes() == SMALL.encode()
    assert edit.matrix.bases["debian12"].image.endswith(NEW)
    assert len(edit.targets) > 1
    assert [*matrix.parent.iterdir()] == [matrix]


def test_it_is_saved_with_what_follows(edit: Edit, matrix: Path) -> None:
    matrix.chmod(0o640)
    lock = matrix.parent / "images" / "a.lock"
    edit.save([File(path=lock, content=b"lock")])
    assert (matrix.read_bytes(), lock.read_bytes()) == (edit.after, b"lock")
    assert matrix.stat().st_mode & 0o777 == 0o640


def test_or_none_of_it(edit: Edit, matrix: Path) -> None:
    first, second = matrix.parent / "images" / "a.lock", matrix.parent / "file" / "b.lock"
    (matrix.parent / "file").write_text("in the way")
    with pytest.raises(WriteError, match=f"^{second} cannot be written: "):
        edit.save([File(path=path, content=b"lock") for path in (first, second)])
    assert matrix.read_bytes() == edit.before
    assert {path.name for path in matrix.parent.iterdir()} == {"matrix.yaml", "file"}


def test_what_others_changed_meanwhile_stays(edit: Edit, matrix: Path) -> None:
    matrix.write_text("theirs")
    with pytest.raises(WriteError) as caught:
        edit.save([File(path=matrix.parent / "a.lock", content=b"lock")])
    assert str(caught.value) == (
        f"{matrix} was changed meanwhile; nothing was written; run the command again"
    )
    assert matrix.read_text() == "theirs"
    assert [*matrix.parent.iterdir()] == [matrix]


def test_what_would_not_be_sound(matrix: Path) -> None:
    original = Original(matrix)
    text = MatrixText(SMALL.replace("ubuntu18.04", "ubuntu19.04", 1), str(matrix))
    with pytest.raises(MatrixError) as caught:
        original.edited(text)
    assert str(caught.value).startswith(f"{matrix} would not be sound with it:\n{matrix}:")
    assert matrix.read_bytes() == SMALL.encode()
