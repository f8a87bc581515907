"""The engine's events added up, and who waits for whose layers."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import Interrupted, PushError
from builder.release.record import Released, read, record
from builder.release.upload_engine import Bytes, Turns, Upload
from tests.conftest import Dlc

STATUSES = ("Waiting", "Pushed", "Layer already exists", "Mounted from a/b", "Retrying in 5 s")
EVENTS = st.one_of(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from("abc"),
            "status": st.just("Pushing"),
            "progressDetail": st.fixed_dictionaries(
                {}, optional={"current": st.integers(0, 99), "total": st.integers(0, 50)}
            ),
        }
    ),
    st.fixed_dictionaries(
        {
            "id": st.sampled_from("abc"),
            "status": st.sampled_from(STATUSES),
        }
    ),
    st.just({"status": "The push refers to repository [x]"}),
    st.just({"progressDetail": {}, "aux": {"Tag": "t", "Digest": "sha256:1", "Size": 1}}),
)


@given(events=st.lists(EVENTS))
def test_whatever_comes_the_sums_are_sane(events: list[dict[str, object]]) -> None:
    upload = Upload(layers=3)
    ended = [layer for event in events if (layer := upload.feed(event))]
    found = upload.bytes
    assert 0 <= found.done <= found.total
    assert found.layers == len(ended) == len(set(ended)) <= found.of_layers


def test_events_of_a_push() -> None:
    upload = Upload(layers=3)
    events: list[dict[str, object]] = [
        {"id": "a", "status": "Preparing"},
        {"id": "b", "status": "Layer already exists"},
        {"id": "c", "status": "Mounted from team/x"},
        {"id": "a", "status": "Pushing", "progressDetail": {"current": 5, "total": 10}},
        {"id": "a", "status": "Retrying in 5 seconds", "progressDetail": {}},
        {"id": "a", "status": "Pushing", "progressDetail": {"current": 12}},
        {"id": "a", "status": "Pushed", "progressDetail": {}},
        {"progressDetail": {}, "aux": {"Digest": "sha256:1"}},
    ]
    assert [upload.feed(event) for event in events] == ["", "b", "c", "", "", "", "a", ""]
    assert upload.bytes == Bytes(done=10, total=10, layers=3, of_layers=3)
    assert upload.digest == "sha256:1"
    with pytest.raises(PushError, match="denied"):
        upload.feed({"error": "denied: no\n", "errorDetail": {"message": "denied: no"}})


def test_digest_in_the_last_line_of_an_engine_with_containerds_store() -> None:
    upload = Upload(layers=1)
    digest = f"sha256:{'ab' * 32}"
    for status in ("The push refers to repository [a/b]", f"key-1: digest: {digest} size: 528"):
        assert upload.feed({"status": status}) == ""
    assert upload.digest == digest


def test_second_repository_waits_for_shared_layers_only() -> None:
    turns, stop, told = Turns(), threading.Event(), threading.Event()

    def other() -> None:
        with turns.taken("b", ["shared", "own"], stop):
            told.set()

    with turns.taken("a", ["shared", "more"], stop) as done:
        with turns.taken("a", ["shared"], stop):
            pass  # the engine itself lets one repository's pushes share
        thread = threading.Thread(target=other)
        thread.start()
        assert not told.wait(0.3)
        done("shared")
        assert told.wait(60)
        thread.join()
    with turns.taken("c", ["shared", "more", "own"], stop):
        pass


def test_waiting_can_be_interrupted() -> None:
    turns, stop = Turns(), threading.Event()
    with turns.taken("a", ["shared"], stop):
        stop.set()
        with pytest.raises(Interrupted), turns.taken("b", ["shared"], stop):
            pass


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
    assert "other.json is not a list of what was pushed" in run.err
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
    with pytest.raises(PushError, match=r"2026-11-21\.json is not a list of what was pushed"):
        record(tmp_path, "2026-11-21", released("a"))
    assert path.read_text() == text
