"""The files in a target's folder: which there are, and whether they are as rendered."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.dockerfile.committed import Committed
from builder.dockerfile.render import Renderer, apply, changes
from builder.errors import RenderError
from builder.matrix.target import Target


def test_names_are_those_of_files_below_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "target"
    for name in ("Dockerfile", "certs/a.pem", "certs/more/b.pem"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "empty").mkdir()
    found = Committed.of(folder)
    assert found.names == {"Dockerfile", "certs/a.pem", "certs/more/b.pem"}
    assert not found.has_links
    assert found.read("certs/a.pem") == b"certs/a.pem"
    assert found.read("empty") is None
    assert not found.has("empty", b"")


@pytest.mark.parametrize("there", [None, "a file"])
def test_a_folder_that_is_none_is_empty(there: str | None, tmp_path: Path) -> None:
    if there:
        (tmp_path / "target").write_text(there)
    found = Committed.of(tmp_path / "target")
    assert (found.names, found.has_links, found.read("Dockerfile")) == (frozenset(), False, None)


def test_links_are_told_and_those_to_folders_are_not_followed(tmp_path: Path) -> None:
    other, folder = tmp_path / "other", tmp_path / "target"
    other.mkdir()
    folder.mkdir()
    (other / "a.py").write_text("a")
    (folder / "linked").symlink_to(other)
    (folder / "nowhere").symlink_to(tmp_path / "gone")
    assert Committed.of(folder) == Committed(folder=str(folder), names=frozenset(), has_links=True)
    (folder / "b.py").symlink_to(other / "a.py")
    assert Committed.of(folder).names == {"b.py"}
    assert Committed.of(folder).has("b.py", b"a")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(there=st.binary(max_size=6), wanted=st.binary(max_size=6))
def test_a_file_has_a_content_if_it_is_equal(there: bytes, wanted: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(there)
    assert Committed.of(tmp_path).has("file", wanted) == (there == wanted)


def test_a_read_that_stops_early_is_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some file systems do: what is left is asked for."""
    (tmp_path / "file").write_bytes(b"rendered and more")
    read = os.read
    monkeypatch.setattr(os, "read", lambda handle, count: read(handle, min(count, 8)))
    assert not Committed.of(tmp_path).has("file", b"rendered")
    (tmp_path / "file").write_bytes(b"rendered")
    assert Committed.of(tmp_path).has("file", b"rendered")


@pytest.fixture
def images(tmp_path: Path, small: dict[str, Target]) -> Path:
    """The rendered folders of two targets that take different files."""
    apply(changes(tmp_path, some(small), Renderer(), prune=True))
    return tmp_path


def some(small: dict[str, Target]) -> list[Target]:
    modes = {target.mode: target for target in small.values()}
    assert len(modes) == 2
    return list(modes.values())


def drift(images: Path, small: dict[str, Target]) -> list[tuple[str, bool]]:
    """The files that are not as rendered, and whether each is to be there."""
    found = changes(images, some(small), Renderer(), prune=True)
    return [(str(each.path.relative_to(images)), each.after is not None) for each in found]


@pytest.mark.parametrize("how", ["longer", "shorter", "other", "CRLF", "gone"])
def test_no_drift_of_any_file_is_missed(how: str, images: Path, small: dict[str, Target]) -> None:
    assert drift(images, small) == []
    paths = [each for each in images.rglob("*") if each.is_file()]
    for path in paths:
        content = path.read_bytes()
        changed = {
            "longer": content + b"\n",
            "shorter": content[:-1],
            "other": content[:-1] + b"\0",
            "CRLF": content.replace(b"\n", b"\r\n"),
        }
        path.unlink()
        if how != "gone":
            path.write_bytes(changed[how])
    assert sorted(drift(images, small)) == sorted(
        (str(path.relative_to(images)), True) for path in paths
    )


def test_files_that_only_the_former_dockerfile_takes(
    images: Path, small: dict[str, Target]
) -> None:
    target = some(small)[0]
    dockerfile = images / target.folder / "Dockerfile"
    (dockerfile.parent / "old").mkdir()
    for name in ("old/a.py", "mine.txt"):
        (dockerfile.parent / name).write_text("x")
    assert drift(images, small) == []
    dockerfile.write_text(dockerfile.read_text("utf-8") + "COPY old /\n", "utf-8")
    assert drift(images, small) == [
        (f"{target.folder}/old/a.py", False),
        (f"{target.folder}/Dockerfile", True),
    ]


@pytest.mark.parametrize("name", ["Dockerfile", "install.sh", ".", ".."])
def test_a_link_that_leads_out_is_refused_even_to_the_same_bytes(
    name: str, images: Path, small: dict[str, Target], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = (images / some(small)[0].folder / name).resolve()
    outside = tmp_path_factory.mktemp("outside") / "moved"
    path.rename(outside)
    path.symlink_to(outside)
    with pytest.raises(RenderError, match="leads out"):
        drift(images, small)
