"""A tar is unpacked below its folder alone, also by Debian 12's own Python."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import pytest

from builder.util.tar import unpack
from tests.conftest import ROOT


def packed(*members: tarfile.TarInfo) -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for member in members:
            member.size = 1 if member.isfile() else 0
            tar.addfile(member, io.BytesIO(b"x"))
    file.seek(0)
    return file


def link(name: str, to: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, to
    return member


@pytest.fixture(params=["own", "without filters"])
def python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's tarfile as it is, and as it is in 3.11.2."""
    if request.param != "own":
        if sys.version_info >= (3, 12):
            pytest.skip("has filters, so that no other tarfile is installed")
        monkeypatch.delattr(tarfile, "data_filter", raising=False)


@pytest.mark.usefixtures("python")
def test_files_land_below_the_folder(tmp_path: Path) -> None:
    unpack(packed(tarfile.TarInfo("a/file"), link("a/link", "file")), tmp_path)
    assert (tmp_path / "a/file").read_text() == (tmp_path / "a/link").read_text() == "x"


@pytest.mark.usefixtures("python")
def test_only_what_is_wanted(tmp_path: Path) -> None:
    tar = packed(tarfile.TarInfo("file"), link("out", "/etc"))
    unpack(tar, tmp_path, wanted=tarfile.TarInfo.isfile)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.usefixtures("python")
@pytest.mark.parametrize(
    "member", [tarfile.TarInfo("../file"), link("link", "/etc"), link("link", "../..")]
)
def test_nothing_lands_elsewhere(member: tarfile.TarInfo, tmp_path: Path) -> None:
    folder = tmp_path / "below"
    with pytest.raises(Exception, match=r"outside|absolute"):
        unpack(packed(member), folder)
    assert not (tmp_path / "file").exists()
    assert not (folder / "link").is_symlink()


def test_nothing_else_unpacks_tars() -> None:
    sources = [path for name in ("builder", "tools") for path in (ROOT / name).rglob("*.py")]
    found = {
        path.relative_to(ROOT).as_posix()
        for path in sources
        if ".extract(" in (text := path.read_text("utf-8")) or ".extractall(" in text
    }
    assert found == {"builder/util/tar.py"}
