"""Budgets: what they allow, who has which, and what is told of an image that is over its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.build import size_budget
from builder.build.size_budget import Contents, Size, explain, limit, look
from builder.engine.layers import Layer
from builder.errors import MatrixError
from builder.matrix.targets import load_targets
from tests.conftest import GOLDEN

SMALL = (GOLDEN / "matrix.yaml").read_text("utf-8")
MB = 1_000_000
CONTENTS = Contents(
    packages={"torch": (700 * MB, 750 * MB), "six": (1 * MB, 1 * MB)},
    system={"libc6": 13 * MB},
    java=60 * MB,
    rest={"/root/.cache": 300 * MB, "/etc": 1 * MB},
)
LAYERS = (
    Layer(digest="sha256:1", size=126 * MB, step="base"),
    Layer(digest="sha256:2", size=1050 * MB, step="RUN /mnt/install.sh"),
)


def over(budget: str = "15 %") -> Size:
    """An image that is larger than it may be."""
    return Size(
        size=1176 * MB,
        limit=limit(budget, CONTENTS.closure),
        budget=budget,
        contents=CONTENTS,
        layers=LAYERS,
    )


@given(st.integers(0, 10**11), st.integers(0, 300))
def test_a_share_is_on_top_of_the_closure(closure: int, share: int) -> None:
    allowed = limit(f"{share} %", closure)
    assert abs(allowed - closure * (100 + share) / 100) <= 1
    assert limit("2.25 GB", closure) == 2_250_000_000


def test_closure_is_what_is_declared() -> None:
    assert CONTENTS.closure == (700 + 1 + 13 + 60) * MB
    assert CONTENTS.sums["rest"] == 301 * MB


def test_what_grew_is_told_without_an_image_before() -> None:
    assert explain(over()).splitlines() == [
        "1.18 GB is over its budget of 890 MB (15 % on top of 701 MB of locked packages, "
        "60 MB of Java and 13 MB of the distribution's packages)",
        "packages that take more than declared: torch 50 MB",
        "the distribution's packages that are larger than declared: none",
        "files of no package: /root/.cache 300 MB, /etc 1 MB",
        "largest layers: 1.05 GB RUN /mnt/install.sh; 126 MB base",
    ]


def test_what_grew_is_told_against_the_image_before() -> None:
    before = Contents(
        packages={"torch": (600 * MB, 640 * MB)}, system={}, java=0, rest={"/etc": 1 * MB}
    )
    assert explain(over("800 MB"), before).splitlines() == [
        "1.18 GB is over its budget of 800 MB (800 MB in the matrix)",
        "packages that take more than before: torch 110 MB, six 1 MB",
        "the distribution's packages that are larger than before: libc6 13 MB",
        "files of no package: /root/.cache 300 MB",
        "largest layers: 1.05 GB RUN /mnt/install.sh; 126 MB base",
    ]


def test_images_of_the_same_layers_and_variables_are_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLC_STATE", str(tmp_path))
    asked: list[str] = []

    def report(_client: object, image: str, _program: str) -> dict[str, Any]:
        asked.append(image)
        return {"packages": {}, "system": {}, "java": len(asked), "rest": {}}

    monkeypatch.setattr(size_budget, "run_report", report)
    said = {
        "1": (["sha256:a", "sha256:b"], ["JAVA_HOME=/opt/java"]),
        "2": (["sha256:a", "sha256:b"], ["JAVA_HOME=/opt/java"]),
        "3": (["sha256:a", "sha256:b"], ["JAVA_HOME=/opt/other"]),
        "4": (["sha256:b", "sha256:a"], ["JAVA_HOME=/opt/java"]),
        "5": ([], []),
        "6": ([], []),
    }

    def image(name: str) -> SimpleNamespace:
        layers, env = said[name]
        attributes = {"RootFS": {"Layers": layers}, "Config": {"Env": env}}
        return SimpleNamespace(id=f"sha256:{name * 64}", attrs=attributes)

    client: Any = SimpleNamespace(images=SimpleNamespace(get=image))
    found = {name: look(client, name).java for name in [*said, *said]}
    assert asked == ["1", "3", "4", "5", "6"]
    assert found == {"1": 1, "2": 1, "3": 2, "4": 3, "5": 4, "6": 5}


def budgets(tmp_path: Path, text: str) -> dict[str, str]:
    """The budgets of the small matrix's targets, with a section of budgets."""
    path = tmp_path / "matrix.yaml"
    path.write_text(f"{SMALL}budgets:\n{text}", "utf-8")
    return {target.name: target.budget for target in load_targets(path)}


def test_the_last_budget_that_fits_counts(tmp_path: Path) -> None:
    found = budgets(tmp_path, '  "*": 20 %\n  "*-training:*": 2.2 GB\n')
    assert set(found.values()) == {"20 %", "2.2 GB"}
    assert all(("-training:" in name) == (budget == "2.2 GB") for name, budget in found.items())


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('"*-windows": 15 %', "'*-windows' matches no target; fix or remove it"),
        ('"*": large', "is not a size, or a share on top of what is locked"),
        ('"*": 15%', "is not a size, or a share on top of what is locked"),
        ('"a b": 15 %', "is not a glob over names of targets"),
    ],
)
def test_wrong_budgets(line: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(MatrixError, match=re.escape(complaint)):
        budgets(tmp_path, f"  {line}\n")


def test_budget_is_said_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "matrix.yaml"
    path.write_text(f'{SMALL}budgets:\n  "*": 20 %\n', "utf-8")
    at = load_targets(path)[0].defined_at["budget"]
    assert path.read_text("utf-8").splitlines()[at.line - 1][at.column - 1 :] == "20 %"


@pytest.mark.slow
def test_report_tells_of_this_machine(root: Path) -> None:
    """The program that runs inside images, in the interpreter of the tests."""
    program = (root / "builder/files/size_report.py").read_text("utf-8")
    # The walk over the whole root is an image's; here the packages are enough.
    told = (
        "found = {'packages': packages(set()), 'system': system(set())}; print(json.dumps(found))"
    )
    code = program.split('if __name__ == "__main__":')[0] + told
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    report = json.loads(run.stdout)
    declared, taken = report["packages"]["pytest"]
    assert 100_000 < declared < 10 * MB
    assert taken > 0
