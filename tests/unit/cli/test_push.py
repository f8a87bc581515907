"""What `dlc push` refuses before it does anything, and how it tells of bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from builder.cli.progress import Progress, Pushes
from builder.engine.connection import Engine
from builder.engine.image import TargetImage
from builder.matrix.target import Target
from builder.release.compare import Prepared
from builder.release.progress import Bytes
from builder.release.push import Pusher
from builder.release.record import Released, check_writable
from tests.conftest import Dlc

PUSH = ("push", "*inference:2.13.0-transformers4.57.1*", "--registry", "registry.example.com/team")


@pytest.mark.parametrize("revision", ["1", "1.0.0", "v1.0", "1.\u0660", "x", "01.0", "1.00"])
def test_release_is_two_numbers(dlc: Dlc, revision: str) -> None:
    told = dlc(*PUSH, "--release", revision)
    assert told.code == 2
    assert "write a release as two numbers, like 1.0" in told.err


@pytest.mark.parametrize("revision", ["0.0", "3.1", "11.0"])
def test_release_is_of_the_major_one_of_each_target(dlc: Dlc, revision: str) -> None:
    """Before the engine is looked for, and for all targets at once."""
    selectors = (
        "*inference:2.13.0-transformers4.57.1*",
        "*-inference:2.6.0-transformers4.51.3-cpu-*",
    )
    told = dlc("push", *selectors, *PUSH[2:], "--release", revision)
    assert (told.code, told.out) == (14, "")
    assert told.err == (
        f"dlc: {revision} does not match the major release of these targets:\n"
        "  huggingface-pytorch-inference:2.6.0-transformers4.51.3-cpu-py312-ubuntu22.04: 2.Y\n"
        "  huggingface-pytorch-inference:2.13.0-transformers4.57.1-cpu-py311-debian12: 1.Y\n"
        " ; push each major release by itself, or say another `major` in the matrix\n"
    )


def test_release_of_the_right_major_one_is_taken(
    dlc: Dlc, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("builder.engine.connection.find", lambda: None)
    assert dlc(*PUSH, "--releases", tmp_path, "--release", "1.7").code == 10


@pytest.mark.parametrize("date", ["2026-13-01", "yesterday", "2026-11-21/x"])
def test_date_is_one(dlc: Dlc, date: str) -> None:
    assert dlc(*PUSH, "--date", date).code == 2


def test_address_is_no_registry(dlc: Dlc) -> None:
    told = dlc("push", "*", "--registry", "https://example.com/team")
    assert told.code == 2
    assert "without https://" in told.err


def test_file_that_could_not_be_written_to_is_told_first(dlc: Dlc, tmp_path: Path) -> None:
    (tmp_path / "2026-11-21.json").write_text("mine")
    told = dlc(*PUSH, "--releases", tmp_path, "--date", "2026-11-21")
    assert told.code == 14
    assert "2026-11-21.json is not a release record; fix it" in told.err


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/nope", "/proc/nope/below"])
def test_folder_that_cannot_be_written_to_is_told_before_anything_is_pushed(
    dlc: Dlc, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    monkeypatch.setattr(
        "builder.engine.connection.find", lambda: pytest.fail("it asked for an engine")
    )
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    told = dlc(*PUSH, "--releases", where)
    assert told.code == (2 if where == "file" else 14)
    if where != "file":
        assert told.err.startswith("dlc: ")
        assert told.err.count("\n") == 1
        assert where in told.err
        assert "; fix that, or " in told.err


def test_record_that_fails_stops_no_other_push(
    dlc: Dlc, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, closed_port: int
) -> None:
    folder, names = tmp_path / "releases", list[str]()

    def prepare(_: Pusher, target: Target) -> Prepared:
        local = TargetImage(target=target, id="", labels={}, layers=())
        return Prepared(local=local, repository=target.repository, there=None)

    def push(_: Pusher, prepared: Prepared) -> Released:
        """As if it were pushed; after the first, nothing can be written."""
        target = prepared.local.target
        if not names:
            folder.write_text("in the way")
        names.append(target.name)
        return Released(
            image=f"h/{target.repository}",
            tag=target.tag,
            tags=(),
            digest=f"sha256:{'0' * 64}",
            size=1,
            key="k",
            profile="sagemaker",
        )

    engine = Engine(host=f"tcp://127.0.0.1:{closed_port}", version="20.10", private=False)
    monkeypatch.setattr("builder.engine.connection.find", lambda: engine)
    monkeypatch.setattr("builder.release.push.Pusher.prepare", prepare)
    monkeypatch.setattr("builder.release.push.Pusher.push", push)
    told = dlc("push", "*4.12.3*", *PUSH[2:], "--releases", folder)
    assert told.code == 14
    assert len(names) > 1
    for name in names:
        assert f"dlc: h/{name}@sha256:{'0' * 64} was pushed, but not recorded: {folder}" in told.err
    assert told.err.count("; fix that, and push again") == len(names)


def test_asking_whether_it_can_be_written_leaves_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    check_writable(tmp_path / "a")
    assert list((tmp_path / "a").iterdir()) == []


def test_patience_is_a_number(dlc: Dlc) -> None:
    told = dlc(*PUSH, "--patience", "nan")
    assert told.code == 2
    assert "nan is no number of seconds" in told.err


def test_no_engine(dlc: Dlc, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("builder.engine.connection.find", lambda: None)
    told = dlc(*PUSH, "--releases", tmp_path)
    assert told.code == 10
    assert "no Docker Engine is running" in told.err


def test_engine_that_went_away(
    dlc: Dlc, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, closed_port: int
) -> None:
    gone = Engine(host=f"tcp://127.0.0.1:{closed_port}", version="20.10", private=False)
    monkeypatch.setattr("builder.engine.connection.find", lambda: gone)
    one = dlc(*PUSH, "--releases", tmp_path)
    assert one.code == 10
    assert ": the engine failed: " in one.err
    assert one.err.endswith("; see `dlc engine status`\n")
    many = dlc("push", "*4.12.3*", *PUSH[2:], "--releases", tmp_path)
    assert many.code == 14
    assert many.err.count(": the engine failed: ") > 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
def test_help_loads_neither_docker_nor_boto3() -> None:
    code = (
        "import sys; sys.argv[1:] = ['push', '--help']\n"
        "from builder.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'docker', 'requests', 'boto3', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.endswith("[]\n")


def test_lines_are_few(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    monkeypatch.setattr("builder.cli.progress.time.monotonic", lambda: now[0])
    lines = Pushes(Progress())
    for step in range(100):
        now[0] = step / 4
        done = Bytes(done=step * 10**6, total=10**8, layers=step // 50, of_layers=2)
        lines.moved("huggingface-pytorch-training:x", done)
    assert capsys.readouterr().err.splitlines() == [
        "pytorch-training:x: 40 MB of 100 MB, 0 of 2 layers",
        "pytorch-training:x: 50 MB of 100 MB, 1 of 2 layers",
        "pytorch-training:x: 90 MB of 100 MB, 1 of 2 layers",
    ]
