"""`dlc test`'s way of running pytest: what it makes of passing, failing and skipped tests."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from builder.contract.run import Collector, Result
from builder.contract.run import __file__ as run_file
from builder.contract.subject import parse
from builder.errors import TagError
from builder.matrix.target import Target
from tools.prove.contract import Row, load, serving, summary, table, wrong

TESTS = """
import pytest

def test_good(record_property):
    record_property("detail", "3 of 3")

@pytest.mark.parametrize("task", ["fill-mask"])
def test_bad(task):
    assert task == "summarization", "the task"

def test_left_out():
    pytest.skip("its toolkit is too old")

@pytest.fixture
def broken():
    raise RuntimeError("no engine")

def test_broken(broken): pass
"""


def collected(folder: Path) -> dict[str, Result]:
    """The results of the tests above, from a pytest of their own."""
    (folder / "test_some.py").write_text(TESTS, "utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", "utf-8")
    program = (
        "import pytest, dataclasses, json\n"
        "from builder.contract.run import Collector\n"
        "c = Collector(on_result=lambda _: None)\n"
        "pytest.main(['-p', 'no:cacheprovider', '.'], plugins=[c])\n"
        "print(json.dumps([dataclasses.asdict(r) for r in c.results]))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True
    )
    return {row["test"]: Result(**row) for row in json.loads(run.stdout.splitlines()[-1])}


@pytest.mark.integration
def test_results(tmp_path: Path) -> None:
    found = collected(tmp_path)
    assert {name: result.outcome for name, result in found.items()} == {
        "some::good": "passed",
        "some::bad[fill-mask]": "failed",
        "some::left_out": "skipped",
        "some::broken": "failed",
    }
    assert found["some::good"].detail == "3 of 3"
    assert found["some::bad[fill-mask]"].detail == "AssertionError: the task"
    assert "assert 'fill-mask' == 'summarization'" in found["some::bad[fill-mask]"].output
    assert found["some::left_out"].detail == "its toolkit is too old"
    assert found["some::broken"].detail == "RuntimeError: no engine"


INTERRUPTED = """
import socket

def test_a_request():
    request = [socket.socket()]
    request.append(request)
    raise KeyboardInterrupt
"""


@pytest.mark.integration
def test_an_interruption_in_a_request_gives_no_traceback(tmp_path: Path) -> None:
    """Its connection is left to the garbage collector, which warns."""
    (tmp_path / "test_some.py").write_text(INTERRUPTED, "utf-8")
    (tmp_path / "pytest.ini").write_bytes((Path(run_file).parent / "pytest.ini").read_bytes())
    program = "import pytest; raise SystemExit(pytest.main(['.']))"
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (pytest.ExitCode.INTERRUPTED, "")


def test_every_result_is_told() -> None:
    told: list[Result] = []
    collector = Collector(on_result=told.append)
    report = pytest.TestReport(
        nodeid="test_first.py::test_answers",
        location=("test_first.py", 1, "test_answers"),
        keywords={},
        outcome="passed",
        longrepr=None,
        when="call",
        user_properties=[("detail", "POSITIVE")],
        duration=1.26,
    )
    collector.pytest_runtest_logreport(report)
    assert [(each.test, each.outcome, each.seconds, each.detail) for each in told] == [
        ("first::answers", "passed", 1.3, "POSITIVE")
    ]


EXPRESSIONS = (
    (
        "a b (",
        "ArgumentError: --only 'a b (' is not an expression: at column 3: expected end of input; "
        "got identifier; name tests, parts of names, or several with and, or, not and parentheses",
    ),
    (
        "nosuch",
        "SelectionError: no contract test matches 'nosuch' for huggingface-pytorch-training:"
        "1.9.1-transformers4.12.3-gpu-py38-cu111-ubuntu20.04; fix --only, or leave it out",
    ),
)


@pytest.mark.slow
@pytest.mark.parametrize(("only", "told"), EXPRESSIONS)
def test_what_picks_no_test_is_refused_in_one_message(only: str, told: str) -> None:
    program = "import sys; from builder.contract.run import run; run(sys.argv[1], only=sys.argv[2])"
    name = "huggingface-pytorch-training:1.9.1-transformers4.12.3-gpu-py38-cu111-ubuntu20.04"
    command = [sys.executable, "-c", program, name, only]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stderr.splitlines()[-1] == f"builder.errors.{told}"
    assert result.stderr.count("expected") == told.count("expected")


@pytest.mark.parametrize("prefix", ["", "stand-in/", "1.dkr.ecr.eu-west-1.amazonaws.com/a/"])
def test_an_image_is_known_by_its_name(prefix: str) -> None:
    name = "huggingface-pytorch-inference:1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04"
    repository, tag = parse(prefix + name)
    assert (repository.framework, repository.mode) == ("pytorch", "inference")
    assert (tag.transformers, tag.python) == ("4.12.3", "3.8")


def test_an_image_without_a_tag_is_refused() -> None:
    with pytest.raises(TagError, match="name the image as repository:tag"):
        parse("huggingface-pytorch-inference")


# What `make contract` writes down


@pytest.fixture
def row(small: dict[str, Target]) -> Row:
    """One image's row: a part that passed, one with a skipped test, one that failed."""
    results = [
        Result(test="fuzz::requests", outcome="passed", seconds=7.4),
        Result(test="loading::id", outcome="passed", seconds=9.0),
        Result(test="loading::redirects", outcome="skipped", seconds=0.0, detail="hub 0.8"),
        Result(test="batch::csv", outcome="failed", seconds=1.2, detail="no answer"),
    ]
    target = next(target for target in small.values() if target.mode == "inference")
    return summary(target, dataclasses.replace(target, stand_in="ubuntu18.04"), "key", results)


def test_a_row_counts_by_part(row: Row) -> None:
    assert row.parts == {
        "batch": {"failed": 1},
        "fuzz": {"passed": 1},
        "loading": {"passed": 1, "skipped": 1},
    }
    assert row.skipped == ["loading::redirects: hub 0.8"]
    assert row.seconds == 18
    assert wrong(row) == ["batch"]


def test_the_page_has_a_line_for_each_image(row: Row) -> None:
    page = table([row])
    assert "| image | batch | fuzz | loading | seconds |\n|---|---|---|---|---|\n" in page
    assert f"| `{row.image}` | 0 of 1 | 1 of 1 | 1 of 1 | 18 |\n" in page
    assert f"`{row.image}`, with a stand-in for ubuntu18.04, on {row.date}:\n\n- loading" in page


def test_the_page_has_what_training_jobs_did(small: dict[str, Target]) -> None:
    results = [
        Result(test="training_text::metrics", outcome="passed", seconds=9.0, detail="loss 0.7"),
        Result(test="training_text::resume", outcome="skipped", seconds=0.0, detail="no time"),
        Result(test="lean::pip_is_there_once", outcome="passed", seconds=1.0, detail="23.0"),
        Result(test="training_end::exit_code", outcome="passed", seconds=1.0),
    ]
    target = next(target for target in small.values() if target.mode == "training")
    row = summary(target, target, "key", results)
    assert row.told == {"training_text::metrics": "loss 0.7"}
    assert f"`{row.image}`:\n\n- training_text::metrics: loss 0.7\n\n" in table([row])


@pytest.mark.parametrize(
    ("training", "inference"),
    [
        (
            "huggingface-tensorflow-training:2.5.1-transformers4.12.3-gpu-py37-cu112-ubuntu18.04",
            "huggingface-tensorflow-inference:2.5.1-transformers4.12.3-cpu-py37-ubuntu18.04",
        ),
        (
            "huggingface-pytorch-training:2.5.1-transformers4.49.0-gpu-py311-cu124-ubuntu22.04",
            "huggingface-pytorch-inference:2.6.0-transformers4.49.0-cpu-py312-ubuntu22.04",
        ),
        (
            "huggingface-pytorch-training:2.9.0-transformers5.3.0-gpu-py312-cu130-ubuntu22.04",
            None,
        ),
    ],
)
def test_the_image_that_serves_what_is_trained(
    training: str, inference: str | None, targets: tuple[Target, ...]
) -> None:
    target = next(target for target in targets if target.name == training)
    found = serving(target, targets)
    assert (found.name if found else None) == inference


def test_recorded_contracts_are_kept(root: Path, targets: tuple[Target, ...]) -> None:
    """The page is that of the rows, and no image broke its contract."""
    rows = load(root / "docs" / "contract.json")
    assert rows.keys() <= {target.name for target in targets}
    assert len(rows) >= 3
    assert (root / "docs" / "contract.md").read_text("utf-8") == table(list(rows.values()))
    assert [row.image for row in rows.values() if wrong(row)] == []
