"""Training that fails is a failure, whatever can be written of it: the real file and a toolkit."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

FILES = Path(__file__).parents[3] / "runtime"

# As versions 3 to 5 of the real one.
TRAINER = """
    import os, sys
    from sagemaker_training import files
    def _exit_processes(code):
        END(code)
    def train():
        code = 0
        try:
            how = os.environ["HOW"]
            if how == "fails":
                raise ValueError("the loss is not a number")
            if how == "exits":
                sys.exit(int(os.environ["CODE"]))
            files.write_success_file()
        except Exception as error:
            files.write_failure_file("the reason: %s" % error)
            code = 3
        finally:
            _exit_processes(code)
"""
WRITER = """
    import os
    def write_failure_file(reason):
        with open(os.path.join(os.environ["OUTPUT"], "failure"), "w") as file:
            file.write(reason)
    def write_success_file():
        open(os.path.join(os.environ["OUTPUT"], "success"), "w").close()
"""


def train(
    folder: Path, output: Path, how: str, end: str = "sys.exit", code: int = 0
) -> tuple[int, str]:
    package = folder / "sagemaker_training"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "trainer.py").write_text(textwrap.dedent(TRAINER).replace("END", end))
    (package / "files.py").write_text(textwrap.dedent(WRITER))
    environment = {**os.environ, "PYTHONPATH": str(folder), "OUTPUT": str(output)}
    environment |= {"HOW": how, "CODE": str(code)}
    command = [sys.executable, str(FILES / "dockerd-entrypoint.py"), "train"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return run.returncode, run.stderr


@pytest.mark.parametrize("end", ["sys.exit", "os._exit"])
def test_failure_that_cannot_be_written(tmp_path: Path, end: str) -> None:
    code, errors = train(tmp_path, tmp_path / "nothing", "fails", end)
    assert code == 3
    assert "dlc: the file that reports the training's failure cannot be written: " in errors
    assert "the reason: the loss is not a number" in errors


def test_failure_that_can(tmp_path: Path) -> None:
    assert train(tmp_path, tmp_path, "fails") == (3, "")
    assert (tmp_path / "failure").read_text() == "the reason: the loss is not a number"


def test_success_that_cannot_be_written(tmp_path: Path) -> None:
    code, errors = train(tmp_path, tmp_path / "nothing", "succeeds")
    assert code == 0
    assert "training's success cannot be written" in errors


@pytest.mark.parametrize(("asked", "code"), [(0, 0), (5, 1)])
def test_exit_that_nobody_caught(tmp_path: Path, asked: int, code: int) -> None:
    found, errors = train(tmp_path, tmp_path, "exits", "os._exit", asked)
    assert found == code
    assert ("dlc: the training ended with SystemExit(5)" in errors) == bool(code)
