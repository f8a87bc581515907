"""The wheelhouse: found by name, believed by hash, staged whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from builder.errors import LockError
from builder.locks.wheelhouse import directories, find, stage
from builder.matrix.format import Wheel
from builder.matrix.yaml_nodes import Position, Text

CONTENT = b"a wheel, as far as a hash can tell"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
AT = Position(file="matrix.yaml", line=57, column=20)


def wheel(
    name: str = "torch-1.9.1%2Bcpu-cp38-cp38-linux_x86_64.whl", sha256: str | None = DIGEST
) -> Wheel:
    return Wheel(url=Text(f"${{PYTORCH_WHEELS}}/cpu/{name}", AT), sha256=sha256)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A folder with one wheel; its name is not quoted, unlike in addresses."""
    folder = tmp_path / "house"
    folder.mkdir()
    (folder / "torch-1.9.1+cpu-cp38-cp38-linux_x86_64.whl").write_bytes(CONTENT)
    return folder


def test_names_of_a_wheel() -> None:
    assert wheel().filename == "torch-1.9.1+cpu-cp38-cp38-linux_x86_64.whl"
    assert wheel().source == "PYTORCH_WHEELS"


def test_find(house: Path, tmp_path: Path) -> None:
    found = house / "torch-1.9.1+cpu-cp38-cp38-linux_x86_64.whl"
    assert find(wheel(), [tmp_path, house]) == found
    assert find(wheel(sha256=None), [house]) == found
    assert find(wheel("torch-1.9.0-cp38-cp38-linux_x86_64.whl"), [house]) is None
    assert find(wheel(), []) is None


def test_a_wrong_hash_is_an_error(house: Path) -> None:
    with pytest.raises(LockError) as caught:
        find(wheel(sha256="0" * 64), [house])
    assert str(caught.value) == (
        f"{house}/torch-1.9.1+cpu-cp38-cp38-linux_x86_64.whl has SHA-256 {DIGEST}, but "
        f"matrix.yaml:57:20 says {'0' * 64}; "
        "remove the file, or correct the matrix if the wheel is the right one"
    )


def test_stage(house: Path, tmp_path: Path) -> None:
    context = tmp_path / "context"
    assert stage([wheel()], [house], context)
    inside = "wheelhouse/PYTORCH_WHEELS/cpu/torch-1.9.1+cpu-cp38-cp38-linux_x86_64.whl"
    assert (context / inside).read_bytes() == CONTENT
    assert stage([wheel()], [house], context)
    files = [path for path in context.rglob("*") if path.is_file()]
    assert files == [context / inside]


def test_stage_is_all_or_nothing(house: Path, tmp_path: Path) -> None:
    context = tmp_path / "context"
    other = wheel("torchvision-0.10.1%2Bcpu-cp38-cp38-linux_x86_64.whl")
    stage([wheel()], [house], context)
    assert not stage([wheel(), other], [house], context)
    assert list(context.iterdir()) == []
    (house / other.filename).write_bytes(CONTENT)
    assert stage([wheel(), other], [house], context)
    assert len(list((context / "wheelhouse/PYTORCH_WHEELS/cpu").iterdir())) == 2
    assert not stage([], [house], context)
    assert list(context.iterdir()) == []


def test_stage_copies_where_it_cannot_link(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    assert stage([wheel()], [house], tmp_path / "context")
    [path] = (path for path in (tmp_path / "context").rglob("*") if path.is_file())
    assert path.read_bytes() == CONTENT
    assert path.name == wheel().filename


def test_directories(house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLC_WHEELHOUSE", f"{house}:{tmp_path}")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert directories() == (house, tmp_path)
    monkeypatch.setenv("DLC_WHEELHOUSE", "")
    assert directories() == ()
    monkeypatch.delenv("DLC_WHEELHOUSE")
    monkeypatch.setenv("PIP_FIND_LINKS", f"https://wheels.example/ file://{house} {tmp_path}")
    assert directories() == (house, tmp_path)


def test_a_directory_of_our_own_variable_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLC_WHEELHOUSE", str(tmp_path / "missing"))
    with pytest.raises(LockError, match=r"missing, which is no folder; fix or unset it$"):
        directories()


@pytest.mark.integration
def test_directories_of_pip(house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DLC_WHEELHOUSE", raising=False)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    (tmp_path / "pip.conf").write_text(
        f"[global]\nfind-links =\n  {house}\n  {tmp_path}\n", "utf-8"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    assert directories() == (house, tmp_path)
