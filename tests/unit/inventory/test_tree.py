"""The files of two images: what is the same file, and what is not."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.inventory.tree import Entry, FileChange, differences, read

ENTRIES = st.dictionaries(
    st.text("ab/", max_size=4).map(lambda text: f"/{text}"),
    st.builds(
        Entry,
        kind=st.sampled_from(["file", "folder"]),
        mode=st.sampled_from(["rw-------", "rwxr-xr-x"]),
        owner=st.just("0:0"),
        content=st.sampled_from(["", "x"]),
    ),
    max_size=5,
)


def member(name: str, **fields: object) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(found, key, value)
    return found


def tree(change: Callable[[tarfile.TarInfo], None] = lambda _: None) -> dict[str, Entry]:
    """A small tree, each of whose entries may be changed first."""
    stream = io.BytesIO()
    parts = [
        (member("etc", type=tarfile.DIRTYPE, mode=0o755), b""),
        (member("./etc/a", mode=0o644), b"text"),
        (member("etc/also", type=tarfile.LNKTYPE, linkname="etc/a"), b""),
        (member("etc/b", type=tarfile.SYMTYPE, linkname="a"), b""),
        (member("bin/run", mode=0o4755, uid=3, gid=4), b"code"),
    ]
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for info, content in parts:
            change(info)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    stream.seek(0)
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        return read(tar)


def test_read() -> None:
    found = tree()
    assert [*found] == ["/etc", "/etc/a", "/etc/also", "/etc/b", "/bin/run"]
    assert found["/etc/also"] == found["/etc/a"], "a hard link is the file that it is"
    assert found["/etc/b"] == Entry(kind="link", mode="rw-r--r--", owner="0:0", content="a")
    assert (found["/bin/run"].mode, found["/bin/run"].owner) == ("rwsr-xr-x", "3:4")


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("mode", 0o600, "mode"),
        ("uid", 7, "owner"),
        ("mtime", 1_000_000, "time"),
    ],
)
def test_what_differs(field: str, value: int, what: str) -> None:
    def change(info: tarfile.TarInfo) -> None:
        if info.name == "bin/run":
            setattr(info, field, value)

    assert differences(tree(), tree(change)) == [FileChange(path="/bin/run", what=what)]


def test_a_tar_that_breaks_off_is_no_tree() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = member("a", size=2000)
        tar.addfile(info, io.BytesIO(b"x" * 2000))
    with (
        tarfile.open(fileobj=io.BytesIO(stream.getvalue()[:1000]), mode="r|") as broken,
        pytest.raises(tarfile.TarError),
    ):
        read(broken)


@given(ENTRIES, ENTRIES)
def test_nothing_that_differs_is_left_out(
    before: dict[str, Entry], after: dict[str, Entry]
) -> None:
    changed = {each.path for each in differences(before, after)}
    same = {path for path in {*before, *after} if before.get(path) == after.get(path)}
    assert changed == {*before, *after} - same
    assert differences(before, before) == []
