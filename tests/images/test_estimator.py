"""The SDK's estimator in local mode: docs/examples/train_local_mode.py, as it is documented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from builder.contract.training_data import QUESTIONS, table
from tests.images.conftest import Image
from tests.images.local_mode import LocalMode

pytestmark = [pytest.mark.images, pytest.mark.slow]

EXAMPLE = "train_local_mode.py"
# The message is not in the source, whose line the reason tells too.
RAISES = 'label = 2\nraise ValueError(f"no label {label} in the model")\n'
REASON = "no label 2 in the model"


@pytest.fixture
def arguments(
    training_image: Image, inference_image: Image, tiny_model: Path, tmp_path: Path
) -> Sequence[str]:
    """Both images, the tiny model, two dozen texts of good and bad, and a question of each."""
    train = tmp_path / "train"
    train.mkdir()
    (train / "data.csv").write_bytes(table(2))
    images = (training_image.tag, inference_image.tag)
    return (*images, "--model", str(tiny_model), "--train", str(train), "--ask", *QUESTIONS)


def positive(answer: Mapping[str, Any]) -> float:
    """The probability of POSITIVE in an answer, which has the likelier label's only."""
    score = float(answer["score"])
    return {"POSITIVE": score, "NEGATIVE": 1 - score}[answer["label"]]


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_trained_here_predicted_there(
    local_mode: LocalMode, arguments: Sequence[str], tiny_model: Path
) -> None:
    """The model learns what is good and what is bad; what it was made of stays as it was."""
    given = content(tiny_model)
    said = local_mode.run(EXAMPLE, *arguments)
    good, bad = (
        (positive(before), positive(after))
        for before, after in zip(said["before"], said["after"], strict=True)
    )
    shown = f"POSITIVE: good {good[0]:.3f} then {good[1]:.3f}, bad {bad[0]:.3f} then {bad[1]:.3f}"
    print(shown)  # noqa: T201 pytest -rP shows it
    assert good[0] < good[1] > 0.9, shown
    assert bad[0] > bad[1] < 0.1, shown
    assert content(tiny_model) == given
    local_mode.check_clean(said, jobs=3)


def test_a_script_that_raises(
    local_mode: LocalMode, arguments: Sequence[str], tmp_path: Path
) -> None:
    """`fit` fails for the script's exit code, the example says why, and nothing is left."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text(RAISES)
    result = local_mode.result(EXAMPLE, *arguments, "--code", str(code))
    assert result.returncode == 1, f"{result.stdout}\n{result.stderr}"
    _, _, said = result.stderr.rpartition("Process exited with code: 1\n")  # fit's own error
    assert said.startswith("ExecuteUserScriptError:"), result.stderr
    # Not with "ValueError: " before it: the toolkit may drop what ends a piece that it reads.
    assert REASON in said, result.stderr
    assert content(code).keys() == {"train.py"}
    local_mode.check_gone()
