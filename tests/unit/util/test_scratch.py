"""What a task needs for its time is gone afterwards, or after a kill with the next run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from builder.util import scratch as scratches
from builder.util.memory import memory_files
from builder.util.scratch import scratch

LEAVES = """
import os, signal
from builder.util.memory import memory_files
from builder.util.scratch import scratch
with scratch("a task") as folder, memory_files() as files:
    (folder / "file").write_text("no secret")
    files.add("secret", "hush")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    scratches._remove_left.cache_clear()
    return tmp_path


def test_nothing_is_left(temporary: Path) -> None:
    with scratch("a-task") as folder:
        assert list(folder.iterdir()) == []
        assert folder.is_relative_to(temporary)
        (folder / "file").touch()
    assert list(temporary.iterdir()) == []


@pytest.mark.integration
def test_what_a_kill_left_is_removed_by_the_next_run(temporary: Path) -> None:
    subprocess.run([sys.executable, "-c", LEAVES], check=False)
    [left] = temporary.iterdir()
    assert not [path for path in left.rglob("*") if path.is_file() and b"hush" in path.read_bytes()]
    with scratch("another"):
        assert not left.exists()


@pytest.mark.parametrize("said", ["", "other-boot/1/999999/1"])
def test_what_may_be_in_use_stays(temporary: Path, said: str) -> None:
    for name in ("dlc-a-1", "dlc-b-1"):
        (temporary / name).mkdir()
    (temporary / "dlc-a-1" / "owner").write_text(said)
    with scratch("another"):
        assert (temporary / "dlc-a-1").is_dir()
        assert (temporary / "dlc-b-1").is_dir()


@pytest.mark.integration
@pytest.mark.parametrize("old", [False, True])
def test_a_program_reads_files_in_memory_by_name(
    old: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As often as it likes, and so do its children; a Python for old C libraries, too."""
    if old:
        monkeypatch.delattr("os.memfd_create")
    with memory_files() as files:
        path = files.add("x", "a secret")
        assert path.read_text("utf-8") == path.read_text("utf-8") == "a secret"
        told = subprocess.run(
            ["sh", "-c", f"cat {path}; sh -c 'cat {path}'"],
            capture_output=True,
            check=True,
            pass_fds=files.descriptors,
        )
    assert told.stdout == b"a secret" * 2
    assert not path.exists()
