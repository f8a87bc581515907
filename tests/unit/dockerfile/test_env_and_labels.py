"""The matrix's own variables and labels: what is said is what the image has, whatever is in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.dockerfile.context import quoted
from builder.dockerfile.parse import last_stage
from builder.dockerfile.render import Renderer
from builder.errors import MatrixError
from builder.matrix import values
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from builder.matrix.yaml_nodes import Position, Report, Text
from tests.compare import assert_same
from tests.conftest import GOLDEN, Dlc
from tests.unit.corpus import SMALL

ENTRY = "{version: 1.9.1, devices: [cpu, gpu, neuron], date: 2022-02-18"
SERVING = '  serving:\n    requires: ["transformers=={transformers}"]\n'
OWN = (
    SERVING + "    env: {HF_HUB_OFFLINE: 0, OMP_NUM_THREADS: 4}\n"
    "    labels: {com.example.team: search, com.example.tier: gold}\n"
)
ROW = (
    ", env: {OMP_NUM_THREADS: 8, GREETING: 'say \"hi\" to $USER, C:\\dir'}"
    ", labels: {com.example.tier: 'silver $1 \\ \"x\"'}"
)
AT = Position(file="m", line=1, column=1)


def changed(*changes: tuple[str, str]) -> str:
    """The small matrix with other passages."""
    text = SMALL
    for before, after in changes:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return text


def load(path: Path, text: str) -> dict[str, Target]:
    (path / "matrix.yaml").write_text(text, "utf-8")
    return {target.name: target for target in load_targets(path / "matrix.yaml", name="m")}


def problems(path: Path, text: str) -> list[str]:
    with pytest.raises(MatrixError) as caught:
        load(path, text)
    return str(caught.value).splitlines()


@pytest.fixture
def own(tmp_path: Path) -> dict[str, Target]:
    """The small matrix with variables and labels of a set of libraries, and of one of its rows."""
    return load(tmp_path, changed((SERVING, OWN), (ENTRY, ENTRY + ROW)))


CPU = "huggingface-pytorch-inference:1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04"
TENSORFLOW = "huggingface-tensorflow-inference:2.4.1-transformers4.6.1-cpu-py37-ubuntu18.04"


def parsed(dockerfile: str, verb: str) -> dict[str, str]:
    """The variables or labels of a Dockerfile's last instruction of a kind, as Docker reads them.

    In double quotes a backslash takes its meaning from a dollar, a quote and a backslash.
    """
    *_, text = (each.text for each in last_stage(dockerfile) if each.verb == verb)
    found = {}
    pair = re.compile(r'\s*([^=\s]+)=(?:"((?:[^"\\$]|\\["$\\])*)"|([^"\s]+))(?=\s|$)')
    while text.strip():
        match = pair.match(text)
        assert match, text
        found[match[1]] = match[3] or re.sub(r'\\(["$\\])', r"\1", match[2])
        text = text[match.end() :]
    return found


def test_golden(own: dict[str, Target], request: pytest.FixtureRequest) -> None:
    path = GOLDEN / "env-and-labels" / "Dockerfile"
    actual = Renderer().files(own[CPU])["Dockerfile"].decode()
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(actual, "utf-8")
    assert_same(actual, path.read_text("utf-8"), "if it should, --update-golden; it")


def test_a_rows_values_go_before_those_of_its_libraries(own: dict[str, Target]) -> None:
    assert own[TENSORFLOW].env == {"HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "4"}
    assert own[CPU].env == {
        "HF_HUB_OFFLINE": "0",
        "OMP_NUM_THREADS": "8",
        "GREETING": 'say "hi" to $USER, C:\\dir',
    }
    dockerfile = Renderer().files(own[CPU])["Dockerfile"].decode()
    assert parsed(dockerfile, "ENV") == own[CPU].env
    assert list(parsed(dockerfile, "ENV")) == sorted(own[CPU].env)
    labels = parsed(dockerfile, "LABEL")
    assert labels == own[CPU].labels()
    assert list(labels) == sorted(labels)
    assert labels["com.example.team"] == "search"
    assert labels["com.example.tier"] == 'silver $1 \\ "x"'
    assert labels.keys() > {"dlc.origin", "org.opencontainers.image.title"}


def test_other_rows_stay_as_they_are(own: dict[str, Target], small: dict[str, Target]) -> None:
    renderer = Renderer()
    same = [name for name in small if renderer.files(own[name]) == renderer.files(small[name])]
    assert same == [name for name, target in small.items() if target.mode == "training"]


def test_show_tells_where_they_are_said(tmp_path: Path, dlc: Dlc) -> None:
    load(tmp_path, changed((SERVING, OWN)))
    run = dlc("--matrix", tmp_path / "matrix.yaml", "show", TENSORFLOW)
    line = SMALL.splitlines().index(SERVING.splitlines()[1]) + 2
    assert re.search(rf"^env +\S*:{line} +HF_HUB_OFFLINE=0$", run.out, re.MULTILINE)
    assert re.search(
        rf"^own_labels +\S*:{line + 1} +com.example.team=search$", run.out, re.MULTILINE
    )


@given(value=st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])))
def test_any_value_survives(value: str) -> None:
    report = Report()
    assert values.ENV.value.read(Text(value, AT), report) == value
    assert report.problems == []
    dockerfile = f"FROM a\nENV A=1 \\\n    B={quoted(value)} \\\n    C=2\nRUN b\n"
    assert parsed(dockerfile, "ENV") == {"A": "1", "B": value, "C": "2"}


@given(value=st.text(min_size=1).filter(lambda text: len(text.splitlines()) > 1 or "\0" in text))
def test_a_value_of_several_lines_is_refused(value: str) -> None:
    report = Report()
    assert values.ENV.value.read(Text(value, AT), report) is None
    assert len(report.problems) == 1


@pytest.mark.parametrize(
    ("what", "name", "message"),
    [
        ("env", "2FAST", "'2FAST' is not the name of a variable"),
        ("env", "A-B", "'A-B' is not the name of a variable"),
        ("env", "PATH", "'PATH' is a variable that the image or SageMaker sets"),
        ("env", "LD_LIBRARY_PATH", "is a variable that the image or SageMaker sets"),
        ("env", "SM_MODEL_DIR", "is a variable that the image or SageMaker sets"),
        ("env", "SAGEMAKER_PROGRAM", "is a variable that the image or SageMaker sets"),
        ("labels", "-x", "'-x' is not the name of a label"),
        ("labels", "a b", "'a b' is not the name of a label"),
        ("labels", "dlc.build", "'dlc.build' is a label that the image or SageMaker sets"),
        ("labels", "dlc_major_version", "is a label that the image or SageMaker sets"),
        ("labels", "com.amazonaws.sagemaker.capabilities.x", "is a label that the image or"),
    ],
)
def test_names_that_cannot_be(what: str, name: str, message: str, tmp_path: Path) -> None:
    [of_row] = problems(tmp_path, changed((ENTRY, f"{ENTRY}, {what}: {{{name}: x}}")))
    [of_set] = problems(tmp_path, changed((SERVING, f"{SERVING}    {what}: {{{name}: x}}\n")))
    for problem in (of_row, of_set):
        assert message in problem
        line, column = map(int, problem.split(":")[1:3])
        text = (tmp_path / "matrix.yaml").read_text("utf-8")
        if problem == of_set:
            assert text.splitlines()[line - 1][column - 1 :].startswith(name)


def test_names_that_can_be(tmp_path: Path) -> None:
    env = "{PATH_PREFIX: a, HOMES: b, path: c, _: d, HF_HOME: /opt/hf, EMPTY: ''}"
    labels = "{dlcx: a, org.opencontainers.image.vendor: Example, maintainer: 'a@b.c'}"
    own = load(tmp_path, changed((ENTRY, f"{ENTRY}, env: {env}, labels: {labels}")))
    assert own[CPU].env["EMPTY"] == ""
    assert own[CPU].labels()["maintainer"] == "a@b.c"


def test_what_images_set_is_refused(
    targets: tuple[Target, ...], root: Path, tmp_path: Path
) -> None:
    """The names that are refused are at least those of our own templates and labels."""
    texts = [path.read_text("utf-8") for path in (root / "templates").rglob("*.j2")]
    blocks = [each for text in texts for each in re.findall(r"^ENV (?:.*\\\n)*.*", text, re.M)]
    variables = {name for block in blocks for name in re.findall(r"(?:^ENV| ) *([A-Z]\w*)=", block)}
    assert {"PATH", "LANG", "JAVA_HOME", "TEMP", "TF_AUTOTUNE_THRESHOLD"} < variables
    labels = {name for target in targets for name in target.labels()}
    env = ", ".join(f"{name}: x" for name in sorted(variables))
    said = ", ".join(f"{name}: x" for name in sorted(labels))
    found = problems(tmp_path, changed((ENTRY, f"{ENTRY}, env: {{{env}}}, labels: {{{said}}}")))
    refused = {match[1] for each in found if (match := re.search(r"'(.*)' is a \w+ that", each))}
    assert refused == variables | labels
