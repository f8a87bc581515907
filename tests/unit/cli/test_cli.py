"""The command: what it prints for people and programs, where it looks, what it loads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from builder import __version__
from builder.cli.selection import FILTERS
from builder.matrix.platforms import PLATFORMS
from builder.matrix.select import Filters
from builder.matrix.target import Target
from builder.matrix.values import DEVICES, FRAMEWORKS, MODES, ORIGINS
from tests.conftest import ROOT, Dlc, Run

CPU = "1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04"
GPU = "1.9.1-transformers4.12.3-gpu-py38-cu111-ubuntu20.04"
INFERENCE = f"huggingface-pytorch-inference:{CPU}"


@pytest.fixture
def project(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the small matrix, and a working folder elsewhere."""
    (tmp_path / "project").mkdir()
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(golden / "matrix.yaml", tmp_path / "project")
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "project"


def test_help(dlc: Dlc) -> None:
    for arguments in (["--help"], ["-h"]):
        run = dlc(*arguments)
        assert (run.code, run.err) == (0, "")
        names = {line.split()[0] for line in run.out.splitlines() if line.startswith("  ")}
        assert {"list", "show", "uri", "render", "lock", "schema", "build", "push"} <= names
    assert dlc("--version") == Run(code=0, out=f"dlc, version {__version__}\n", err="")


@pytest.mark.parametrize("arguments", [["lst"], ["list", "--frmework", "x"], ["show"], ["uri"]])
def test_wrong_command_lines(arguments: list[str], dlc: Dlc) -> None:
    run = dlc(*arguments)
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith("Usage: dlc")
    assert "Traceback" not in run.err


# list


def test_list_for_programs(dlc: Dlc, golden: Path, small: dict[str, Target]) -> None:
    run = dlc("--matrix", golden / "matrix.yaml", "list", "--format", "json")
    assert (run.code, run.err) == (0, "")
    rows = json.loads(run.out)
    assert [f"{row['repository']}:{row['tag']}" for row in rows] == list(small)
    assert next(row for row in rows if row["tag"] == CPU) == {
        "repository": "huggingface-pytorch-inference",
        "tag": CPU,
        "mode": "inference",
        "framework": "pytorch",
        "framework_version": "1.9.1",
        "transformers": "4.12.3",
        "datasets": None,
        "device": "cpu",
        "platform": "linux/amd64",
        "python": "py38",
        "os": "ubuntu20.04",
        "device_tag": "ubuntu20.04",
        "base": f"ubuntu:20.04@sha256:{'c' * 64}",
        "date": "2022-02-18",
        "origin": "official",
        "image_uri": f"763104351884.dkr.ecr.us-east-1.amazonaws.com/{INFERENCE}",
    }
    assert {row["datasets"] for row in rows if row["mode"] == "training"} == {"1.6.2", "1.15.1"}
    assert {row["device_tag"] for row in rows if row["device"] == "neuron"} == {
        "sdk1.17.1-ubuntu18.04"
    }


def test_list_for_people(dlc: Dlc, golden: Path) -> None:
    run = dlc("--matrix", golden / "matrix.yaml", "list", "--device", "cpu")
    assert (run.code, run.err) == (0, "")
    assert run.out.splitlines() == [
        "repository                        tag                                            "
        "datasets  date        origin",
        "huggingface-tensorflow-inference  2.4.1-transformers4.6.1-cpu-py37-ubuntu18.04   "
        "-         2021-06-25  official",
        "huggingface-pytorch-inference     1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04  "
        "-         2022-02-18  official",
    ]


def test_filters_are_options(dlc: Dlc, golden: Path) -> None:
    assert [field.name for field in fields(Filters)] == [*FILTERS]
    closed = {name: values for name, values in FILTERS.items() if values}
    assert closed == {
        "mode": MODES,
        "framework": FRAMEWORKS,
        "device": DEVICES,
        "platform": tuple(PLATFORMS),
        "origin": ORIGINS,
    }
    for options, count in (
        (["--mode", "training"], 3),
        (["--framework", "pytorch", "--device", "gpu"], 3),
        (["--python", "3.7"], 4),
        (["--platform", "linux/amd64", "--python", "3.7"], 4),
        (["--python", "py37", "--transformers", "4.6.1", "*cpu*"], 1),
        ([CPU, GPU], 3),
    ):
        run = dlc("--matrix", golden / "matrix.yaml", "list", *options, "--format", "json")
        assert len(json.loads(run.out)) == count, options


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["uri", CPU.replace("20.04", "2004")],
            4,
            f"no target matches '{CPU.replace('20.04', '2004')}'; did you mean '{CPU}' or ",
        ),
        (
            ["show", "huggingface-pytorch-training"],
            4,
            "no target matches 'huggingface-pytorch-training'; "
            "did you mean 'huggingface-pytorch-training:*'?",
        ),
        (
            ["list", "--framework", "tensorfow"],
            4,
            "no target has framework tensorfow; did you mean 'tensorflow'?",
        ),
        (
            ["list", "*inferenc:2.4*"],
            4,
            "no target matches '*inferenc:2.4*'; did you mean '*inference:2.4*'?",
        ),
        (["list", "pytroch*"], 4, "no target matches 'pytroch*'; `dlc list` shows all targets"),
        (["list", "*pytroch*"], 4, "no target matches '*pytroch*'; did you mean '*pytorch*'?"),
        (["list", "x"], 4, "no target matches 'x'; `dlc list` shows all targets"),
        (["show", GPU], 4, f"'{GPU}' matches 2 targets, but this command takes one; name one of\n"),
        (["list", "--python", "x"], 5, "'x' is not a Python version; write py311 or 3.11"),
        (["list", "--region", "mars-1", "--format", "json"], 6, "'mars-1' is not a region"),
    ],
)
def test_near_misses(arguments: list[str], code: int, message: str, dlc: Dlc, golden: Path) -> None:
    run = dlc("--matrix", golden / "matrix.yaml", *arguments)
    assert (run.code, run.out) == (code, "")
    assert run.err.startswith(f"dlc: {message}")


# show


def test_show_for_programs(dlc: Dlc, project: Path) -> None:
    matrix = project / "matrix.yaml"
    run = dlc("--matrix", matrix, "show", INFERENCE, "--format", "json", "--region", "cn-north-1")
    assert (run.code, run.err) == (0, "")
    shown = json.loads(run.out)
    assert shown.keys() == {"name", "values", "defined_at"}
    assert shown["name"] == INFERENCE
    values = shown["values"]
    assert values["image_uri"] == (f"727897471807.dkr.ecr.cn-north-1.amazonaws.com.cn/{INFERENCE}")
    assert values["aliases"][:2] == [CPU, f"{CPU}-v1.0"]
    assert values["folder"] == f"{project}/images/{INFERENCE.replace(':', '/')}"
    assert values["framework_requirements"] == ["torch-1.9.1+cpu-cp38-cp38-linux_x86_64.whl"]
    assert values["library_requirements"] == ["transformers==4.12.3"]
    assert values["constraints"] == ["setuptools<81"]
    assert values["lock"] == "missing"
    assert values["labels"]["dlc.date"] == "2022-02-18"
    assert shown["defined_at"] == {
        name: f"{matrix}:{line}"
        for name, line in {
            "mode": 94,
            "framework": 96,
            "framework_version": 96,
            "transformers": 90,
            "device": 96,
            "python": 49,
            "os": 50,
            "device_tag": 50,
            "base": 25,
            "date": 96,
            "end_of_life": 26,
            "build": 55,
            "locked": 48,
            "framework_requirements": 57,
            "constraints": 53,
            "libraries": 95,
            "library_requirements": 82,
            "uv": 4,
            "build_requirements": 5,
        }.items()
    }


def test_show_for_people(dlc: Dlc, golden: Path) -> None:
    run = dlc("--matrix", golden / "matrix.yaml", "show", INFERENCE)
    assert (run.code, run.err) == (0, "")
    lines = run.out.splitlines()
    assert lines[0].split() == ["what", "defined", "at", "value"]
    assert ["python", f"{golden}/matrix.yaml:49", "py38"] in [line.split() for line in lines]
    assert ["datasets", "-"] in [line.split() for line in lines]
    assert lines[-1].split() == [f"org.opencontainers.image.version={CPU}"]


# Where it looks


def test_images_are_beside_the_matrix(dlc: Dlc, project: Path) -> None:
    run = dlc("--matrix", "../project/matrix.yaml", "render", CPU)
    assert run.code == 0
    folder = project / "images" / INFERENCE.replace(":", "/")
    assert (folder / "Dockerfile").is_file()
    assert list(Path.cwd().iterdir()) == []


def test_images_and_templates_are_where_one_says(dlc: Dlc, project: Path) -> None:
    templates = project.parent / "mine"
    (templates / "stages").mkdir(parents=True)
    (templates / "stages" / "labels.j2").write_text("LABEL mine=yes\n")
    options = ["--matrix", "../project/matrix.yaml", "--images", "out", "--templates", "../mine"]
    assert dlc(*options, "render", CPU).code == 0
    dockerfile = Path("out", INFERENCE.replace(":", "/"), "Dockerfile").read_text("utf-8")
    assert "\nLABEL mine=yes\n" in dockerfile
    assert not (project / "images").exists()
    shown = json.loads(dlc(*options, "show", CPU, "--format", "json").out)
    assert shown["values"]["folder"] == f"out/{INFERENCE.replace(':', '/')}"


def test_the_matrix_here_comes_first(dlc: Dlc, project: Path) -> None:
    os.chdir(project)
    assert len(json.loads(dlc("list", "--format", "json").out)) == 8
    assert dlc("render", CPU).code == 0
    assert (project / "images").is_dir()


def test_else_the_one_that_came_along(dlc: Dlc, project: Path, targets: tuple[Target, ...]) -> None:
    assert project.is_dir()
    assert not Path("matrix.yaml").exists()
    assert len(json.loads(dlc("list", "--format", "json").out)) == len(targets)


def test_what_the_system_refuses(dlc: Dlc, project: Path) -> None:
    (project / "images").write_text("a file, where a folder belongs")
    run = dlc("--matrix", project / "matrix.yaml", "render")
    assert (run.code, run.out) == (1, "")
    assert run.err.startswith(f"dlc: {project}/images/huggingface-pytorch-training")
    assert " cannot be written: not a directory; see " in run.err


# Processes of their own


def run_alone(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "importtime", "-m", "builder", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True)


HEAVY = {
    *("docker", "boto3", "rich", "jinja2", "requests", "urllib3", "uv", "packaging"),
    *("cvss", "univers"),
}
UNUSED = {"subprocess", "difflib", "tempfile", "importlib.resources", "builder.matrix.edit"}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("arguments", "also"),
    [
        (["--help"], {"yaml", "json", "pathlib", "dataclasses", "shlex", "builder.matrix"}),
        (["list"], {"json", "shutil", "textwrap", "builder.matrix.uris", "builder.dockerfile"}),
        (["list", "--format", "json"], {"shutil", "textwrap"}),
        (["uri", INFERENCE], {"shutil", "textwrap"}),
    ],
    ids=["help", "list", "json", "uri"],
)
def test_it_loads_only_what_it_needs(arguments: list[str], also: set[str]) -> None:
    """The real matrix too is read without what takes long to import."""
    run = run_alone(*arguments)
    lines = [line for line in run.stderr.splitlines() if line.startswith("import time:")]
    names = [line.split("|")[-1].strip().split(".") for line in lines]
    loaded = {".".join(name[:end]) for name in names for end in range(1, len(name) + 1)}
    assert "click" in loaded
    assert sorted(loaded & (HEAVY | UNUSED | also)) == []


@pytest.mark.integration
def test_a_reader_that_leaves(golden: Path) -> None:
    """`dlc list | head` ends without a word."""
    command = [sys.executable, "-m", "builder", "--matrix", str(golden / "matrix.yaml"), "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""


def test_region_is_checked_and_shown_in_tables_too(dlc: Dlc) -> None:
    run = dlc("list", "*neuron*", "--region", "eu-west-1")
    assert ".dkr.ecr.eu-west-1.amazonaws.com/huggingface-pytorch-inference-neuron:" in run.out
    assert dlc("list", "--region", "mars").code == 6


def test_training_image_serves_nothing(dlc: Dlc) -> None:
    for command in ("smoke", "serve"):
        run = dlc(command, "*training:2.13.0-transformers4.57.1-*")
        assert (run.code, run.out) == (13, "")
        assert "is a training image, which serves nothing; name the inference image" in run.err


@pytest.mark.parametrize("text", ["", " "])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("plan", "--since"),
        ("plan", "--registry"),
        ("plan", "--why"),
        ("ci-matrix", "--since"),
        ("ci-matrix", "--registry"),
        ("build", "--builder"),
        ("build", "--cache-from"),
        ("build", "--cache-to"),
    ],
)
def test_an_empty_text_is_not_the_same_as_none(
    dlc: Dlc, command: str, option: str, text: str
) -> None:
    run = dlc(command, option, text)
    assert (run.code, run.out) == (2, "")
    assert f"Invalid value for '{option}': it is empty; leave the option out" in run.err


# Images of one's own are in no registry of AWS's


OWN = "huggingface-pytorch-inference:2.13.0-transformers5.23.0-cpu-py311-debian12"


def test_uri_of_our_own_asks_for_an_account(dlc: Dlc) -> None:
    run = dlc("uri", OWN)
    assert (run.code, run.out) == (6, "")
    assert run.err == (
        f"dlc: {OWN} is in no registry of AWS's; name the --account that has it, or `account:` in "
        "the matrix\n"
    )
    host = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
    assert dlc("uri", OWN, "--account", "123456789012").out == f"{host}/{OWN}\n"
    [row] = json.loads(dlc("list", OWN, "--format", "json").out)
    assert row["image_uri"] is None


def test_uri_of_our_own_with_the_account_of_the_matrix(dlc: Dlc, tmp_path: Path) -> None:
    """It is for rows of one's own; official images stay where they are."""
    matrix = tmp_path / "matrix.yaml"
    text = (ROOT / "matrix.yaml").read_text("utf-8")
    matrix.write_text(f"account: 123456789012\n{text}", "utf-8")
    ours = dlc("--matrix", str(matrix), "uri", OWN)
    assert ours.out == f"123456789012.dkr.ecr.us-east-1.amazonaws.com/{OWN}\n"
    official = "huggingface-pytorch-inference:1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04"
    theirs = dlc("--matrix", str(matrix), "uri", official)
    assert theirs.out == dlc("uri", official).out
    assert not theirs.out.startswith("123456789012")
