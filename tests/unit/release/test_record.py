"""What was pushed, recorded by day."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from builder.errors import PushError
from builder.release.record import Released, read, record
from tests.conftest import Dlc

DAY = "2026-11-21"


def released(tag: str, digest: str = "1", release: str = "1.0") -> Released:
    return Released(
        image="r.example/x",
        tag=tag,
        tags=(tag, f"{tag}-v{release}"),
        digest=f"sha256:{digest * 64}",
        size=5,
        key="k",
        profile="sagemaker",
    )


def test_results_are_sorted_and_added(tmp_path: Path) -> None:
    folder = tmp_path / "releases"
    again = [released("b", "2", "1.10"), released("b", "3", "1.9")]
    for each in (released("b"), released("a"), *again, released("b")):
        record(folder, DAY, each)
    rows = read(folder / f"{DAY}.json")
    assert [(row["tag"], row["digest"][-1], row["tags"][-1]) for row in rows] == [
        ("a", "1", "a-v1.0"),
        ("b", "1", "b-v1.0"),
        ("b", "3", "b-v1.9"),
        ("b", "2", "b-v1.10"),
    ]
    assert [path.name for path in folder.iterdir()] == [f"{DAY}.json"]
    assert read(folder / "2026-11-22.json") == []
    assert released("a").reference == f"r.example/x:a@sha256:{'1' * 64}"


def test_one_image_under_another_release_is_one_row(tmp_path: Path) -> None:
    record(tmp_path, DAY, released("a"))
    record(tmp_path, DAY, released("a", release="2.0"))
    [row] = read(tmp_path / f"{DAY}.json")
    assert row["tags"] == ["a", "a-v1.0", "a-v2.0"]


def test_files_of_several_machines_are_merged(dlc: Dlc, tmp_path: Path) -> None:
    """As those of the jobs of one run: one name, other images, and some of the same."""
    jobs = [tmp_path / "jobs" / name for name in ("releases-0-1", "releases-1-1", "releases-1-2")]
    for job, each in zip(jobs, ("a", "b", "c"), strict=True):
        record(job, DAY, released(each))
        record(job, DAY, released("shared"))
    record(jobs[2], "2026-11-22", released("d"))
    here = tmp_path / "releases"
    record(here, DAY, released("before"))
    shutil.copytree(here, tmp_path / "backwards")
    run = dlc("releases", "merge", tmp_path / "jobs", "--releases", here)
    assert run.code == 0, run.err
    assert run.out.splitlines() == [str(here / f"{DAY}.json"), str(here / "2026-11-22.json")]
    assert [row["tag"] for row in read(here / f"{DAY}.json")] == [
        *("a", "b", "before", "c", "shared")
    ]
    files = [job / f"{DAY}.json" for job in reversed(jobs)]
    files.append(jobs[2] / "2026-11-22.json")
    assert dlc("releases", "merge", *files, "--releases", tmp_path / "backwards").code == 0
    for path in here.iterdir():
        assert path.read_bytes() == (tmp_path / "backwards" / path.name).read_bytes()


def test_what_cannot_be_merged_leaves_all_as_it_was(dlc: Dlc, tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    run = dlc("releases", "merge", tmp_path / "jobs", "--releases", tmp_path / "here")
    assert (run.code, run.out, run.err) == (0, "", "0 files merged\n")
    record(tmp_path / "jobs", DAY, released("a"))
    (tmp_path / "jobs" / "other.json").write_text('{"date": "../x", "images": []}')
    run = dlc("releases", "merge", tmp_path / "jobs", "--releases", tmp_path / "here")
    assert run.code == 14
    assert "other.json is not a release record" in run.err
    assert not (tmp_path / "here").exists()
    (tmp_path / "jobs" / "other.json").write_bytes(b"\xff")
    assert dlc("releases", "merge", tmp_path / "jobs").code == 14
    (tmp_path / "jobs" / "other.json").unlink()
    (tmp_path / "in the way").write_text("")
    run = dlc("releases", "merge", tmp_path / "jobs", "--releases", tmp_path / "in the way" / "x")
    assert run.code == 14
    assert run.err.count("\n") == 1
    assert "cannot be" in run.err
    assert "not a directory; " in run.err


def test_many_record_at_once(tmp_path: Path) -> None:
    tags = [f"t{number}" for number in range(20)]
    threads = [
        threading.Thread(target=record, args=(tmp_path, "2026-11-21", released(tag)))
        for tag in tags
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row["tag"] for row in read(tmp_path / "2026-11-21.json")] == sorted(tags)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": [{"digest": "x"}]}', "[" * 100_000])
def test_file_that_is_not_ours_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "2026-11-21.json"
    path.write_text(text)
    with pytest.raises(PushError, match=r"2026-11-21\.json is not a release record"):
        record(tmp_path, "2026-11-21", released("a"))
    assert path.read_text() == text
