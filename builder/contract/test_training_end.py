"""How a job ends: what its requirements install, how it fails, and how it is stopped."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from builder.contract.index import wheel
from builder.contract.subject import Subject
from builder.contract.training_job import ML, Job, Train, program
from builder.matrix.requirements import normalise

Record = Callable[[str, object], None]

pytestmark = pytest.mark.training

# The first toolkit that writes the script's exit code into the reason of a failure.
TELLS_EXIT_CODE = (4,)

WHEEL = {
    f"wheels/{name}": content for name, content in wheel("added_part", "1.2", "VALUE = 12").items()
}
# A job that writes down what is installed, as pip tells it.
PACKAGES = b"""
import json, os, subprocess, sys
pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "list", "--format", "json"]
listed = json.loads(subprocess.check_output(pip).decode().splitlines()[-1])
with open(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], "report.json"), "w") as file:
    json.dump({row["name"]: row["version"] for row in listed}, file)
"""
# Folders in which an installed package describes itself.
INSTALLED = (".dist-info", ".egg-info")
REQUIREMENTS = b"--no-index\n--find-links wheels\nadded-part==1.2\n"


def test_requirements_are_installed(train: Train) -> None:
    """Those of code/requirements.txt, before the script starts."""
    code = {
        "train.py": program("training_report.py"),
        "requirements.txt": REQUIREMENTS,
        **WHEEL,
    }
    run = train(Job(code=code, hyperparameters={"import": "added_part"})).done()
    assert run.report()["imported"]["added_part"].endswith("site-packages/added_part.py")


def test_failure_that_cannot_be_written(train: Train) -> None:
    """The job fails all the same, and its log has the reason."""
    code = (
        b"import shutil\n"
        b"shutil.rmtree('/opt/ml/output')\n"
        b"open('/opt/ml/output', 'w').close()\n"
        b"raise ValueError('the loss is not a number')\n"
    )
    run = train(Job(code={"train.py": code}))
    assert run.wait() != 0
    assert "the loss is not a number" in run.log()
    assert "training's failure cannot be written" in run.log()


def test_requirements_that_nobody_has(train: Train) -> None:
    """The job fails before the script starts, and says which requirement it was."""
    code = {
        "train.py": program("training_report.py"),
        "requirements.txt": REQUIREMENTS.replace(b"1.2", b"1.3"),
        **WHEEL,
    }
    run = train(Job(code=code))
    assert run.wait() != 0
    assert "No matching distribution found for added-part==1.3" in run.log()
    assert "InstallRequirementsError" in run.files(f"{ML}/output")["failure"].decode()
    assert "the report is written" not in run.log()


def test_an_exception_fails_the_job(train: Train, record_property: Record) -> None:
    """With an exit code, the traceback in the log, and the reason where SageMaker looks for it."""
    script = b'def work():\n    raise ValueError("the tenth record has no label")\n\n\nwork()\n'
    run = train(Job(code={"train.py": script}))
    code = run.wait()
    assert code == 1
    log = run.log()
    assert "Traceback (most recent call last)" in log
    assert "line 2, in work" in log
    failure = run.files(f"{ML}/output")["failure"].decode()
    record_property("detail", failure.splitlines()[0])
    # SageMaker's DescribeTrainingJob shows the first 1024 characters.
    assert "ExecuteUserScriptError" in failure[:1024]
    assert "the tenth record has no label" in failure[:1024]


def test_the_script_s_own_exit_code(train: Train, subject: Subject) -> None:
    """The container's only says that the job failed; the reason tells the script's."""
    run = train(Job(code={"train.py": b"import sys\nsys.exit(42)\n"}))
    assert run.wait() != 0
    failure = run.files(f"{ML}/output")["failure"].decode()
    assert "ExecuteUserScriptError" in failure
    assert ("ExitCode 42" in failure) == (subject.version("sagemaker-training") >= TELLS_EXIT_CODE)


def test_what_failed_before_the_script(train: Train) -> None:
    """An entry point that is not there."""
    run = train(Job(code={"other.py": b""}))
    assert run.wait() != 0
    assert "train.py" in run.files(f"{ML}/output")["failure"].decode()


def test_success_leaves_no_failure(train: Train) -> None:
    """And the file that says so."""
    run = train(Job(code={"train.py": b'print("done")\n'})).done()
    files = run.files(f"{ML}/output")
    assert "success" in files
    assert "failure" not in files


def test_sigterm_ends_the_job(train: Train) -> None:
    """Long before it would be killed."""
    script = b'import time\nprint("at work", flush=True)\ntime.sleep(600)\n'
    run = train(Job(code={"train.py": script}))
    run.wait_for("at work")
    code = run.stop()
    assert code not in {0, 137}, f"exit code {code}"


def test_sigterm_reaches_the_script(train: Train) -> None:
    """It may save what it has, and how it ends is how the job ends."""
    script = b"""
import signal, sys, time
def stop(number, frame):
    open("/opt/ml/model/saved", "w").close()
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("at work", flush=True)
time.sleep(600)
"""
    run = train(Job(code={"train.py": script}))
    run.wait_for("at work")
    assert run.stop() == 0
    assert "saved" in run.files(f"{ML}/model")
    assert "success" in run.files(f"{ML}/output")


def test_the_toolkit_leaves_the_image_as_it_is(train: Train, subject: Subject) -> None:
    """A job without requirements installs nothing."""
    run = train(Job(code={"train.py": PACKAGES})).done()
    found = {normalise(name): version for name, version in run.report().items()}
    assert found == subject.packages
    changed = [str(each["Path"]) for each in run.container.diff() or []]
    assert f"{ML}/output/success" in changed
    assert [path for path in changed if path.endswith(INSTALLED)] == []
