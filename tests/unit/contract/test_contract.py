"""The contract's pure parts: what is compared, and the programs that run inside images."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from builder.contract.basics import compare, labels
from builder.matrix.target import Target
from builder.serve.programs import FILES
from builder.util.check import Check

INFERENCE = "huggingface-pytorch-inference:1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04"
TRAINING = "huggingface-pytorch-training:1.9.1-transformers4.12.3-gpu-py38-cu111-ubuntu20.04"
TENSORFLOW = "huggingface-tensorflow-training:2.4.1-transformers4.6.1-gpu-py37-cu110-ubuntu18.04"

REPORT: Mapping[str, Any] = {
    "python": "3.8",
    "packages": {
        "torch": "1.9.1+cpu",
        "Typing_Extensions": "4.0",
        "transformers": "4.12.3",
        "ruamel.yaml": "0.17.16",
    },
    "check": "",
    "imported": {
        "torch": "1.9.1+cpu",
        "tensorflow": "ModuleNotFoundError: No module named 'tensorflow'",
        "transformers": "4.12.3",
        "datasets": "ModuleNotFoundError: No module named 'datasets'",
    },
}
LOCKED = (
    "torch @ ${PYTORCH_WHEELS}/cpu/torch-1.9.1%2Bcpu-cp38-cp38-linux_x86_64.whl \\\n"
    "    --hash=sha256:00\n",
    "typing-extensions==4.0.0 \\\n    --hash=sha256:11\n",
    "transformers==4.12.3 \\\n    --hash=sha256:22\n",
    "ruamel-yaml==0.17.16 ; python_version >= '3.6' \\\n    --hash=sha256:33\n",
)

# What the standard library got after Python 3.6.
NEWER = {"contextvars", "dataclasses", "graphlib", "tomllib", "zoneinfo"}
PROGRAMS = sorted(path.name for path in FILES.glob("*.py"))


def changed(key: str, **values: str | None) -> Mapping[str, Any]:
    """The report with other values in one of its parts; None takes one out."""
    part = {name: value for name, value in {**REPORT[key], **values}.items() if value is not None}
    return {**REPORT, key: part}


def checks(
    report: Mapping[str, Any], target: Target, requirements: tuple[str, ...] = LOCKED
) -> dict[str, Check]:
    """What `compare` found, by name."""
    return {check.name: check for check in compare(report, target, requirements)}


def failed(found: Mapping[str, Check]) -> dict[str, str]:
    """What each check that did not pass tells."""
    return {name: check.detail for name, check in found.items() if not check.passed}


def test_an_image_as_it_should_be(small: dict[str, Target]) -> None:
    assert list(compare(REPORT, small[INFERENCE], LOCKED)) == [
        Check(name="python", passed=True, detail="3.8, and the tag says 3.8"),
        Check(name="versions", passed=True, detail="torch 1.9.1, transformers 4.12.3"),
        Check(name="locked packages", passed=True, detail="4 of 4 as locked"),
        Check(name="pip check", passed=True, detail="clean"),
    ]


def test_another_python(small: dict[str, Target]) -> None:
    found = checks({**REPORT, "python": "3.9"}, small[INFERENCE])
    assert failed(found) == {"python": "3.9, and the tag says 3.8"}


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("1.9.0+cpu", "1.9.0"),
        ("1.9.10", "1.9.10"),
        # Why a module does not import is told whole, whatever is in it.
        (
            "OSError: libstdc++.so.6: cannot open shared object file",
            "OSError: libstdc++.so.6: cannot open shared object file",
        ),
    ],
)
def test_another_framework(version: str, told: str, small: dict[str, Target]) -> None:
    found = checks(changed("imported", torch=version), small[INFERENCE])
    assert failed(found) == {"versions": f"torch {told}, transformers 4.12.3"}


def test_what_is_left_out_is_not_missed(small: dict[str, Target]) -> None:
    without = dataclasses.replace(small[INFERENCE], excludes=("Some_Thing",))
    missed = "toolkit 1.0 requires some-thing, which is not installed."
    other = "toolkit 1.0 requires other, which is not installed."
    found = checks({**REPORT, "check": missed}, without)["pip check"]
    assert found == Check(name="pip check", passed=True, detail="clean, without Some_Thing")
    assert failed(checks({**REPORT, "check": missed}, small[INFERENCE])) == {"pip check": missed}
    both = f"{missed}\n{other}"
    assert failed(checks({**REPORT, "check": both}, without)) == {"pip check": other}
    assert without.labels()["dlc.excludes"] == "Some_Thing"
    assert "dlc.excludes" not in small[INFERENCE].labels()


def test_datasets_only_where_the_target_has_them(small: dict[str, Target]) -> None:
    target = small[TRAINING]
    missing = "ModuleNotFoundError: No module named 'datasets'"
    assert failed(checks(REPORT, target)) == {
        "versions": f"torch 1.9.1, transformers 4.12.3, datasets {missing}"
    }
    assert failed(checks(changed("imported", datasets="1.15.1"), target)) == {}
    assert failed(checks(changed("imported", datasets="1.15.0"), target)).keys() == {"versions"}


def test_tensorflow(small: dict[str, Target]) -> None:
    target = small[TENSORFLOW]
    versions = {"tensorflow": "2.4.1", "transformers": "4.6.1", "datasets": "1.6.2"}
    report = {**changed("imported", **versions), "python": "3.7"}
    found = checks(report, target)
    assert failed(found) == {}
    assert found["versions"].detail == "tensorflow 2.4.1, transformers 4.6.1, datasets 1.6.2"


@pytest.mark.parametrize(
    ("name", "version", "told"),
    [
        ("transformers", None, "3 of 4 as locked; transformers is missing"),
        ("ruamel.yaml", "0.17.17", "3 of 4 as locked; ruamel-yaml is 0.17.17"),
        ("Some_Thing", "1.0", "4 of 4 as locked; some-thing is in no lock"),
        # A direct wheel's version is in the name of its file.
        ("torch", None, "3 of 4 as locked; torch is missing"),
        ("torch", "1.9.1", "3 of 4 as locked; torch is 1.9.1"),
        ("ruamel.yaml", "0.17.16.0", None),
    ],
)
def test_installed_packages(
    name: str, version: str | None, told: str | None, small: dict[str, Target]
) -> None:
    found = checks(changed("packages", **{name: version}), small[INFERENCE])
    assert failed(found) == ({"locked packages": told} if told else {})


def test_all_that_is_wrong_with_packages_is_told(small: dict[str, Target]) -> None:
    packages = {"zope.event": "4", "torch": "1.9.1+cpu", "transformers": "4.12.2", "six": "1"}
    found = checks({**REPORT, "packages": packages}, small[INFERENCE])
    assert found["locked packages"].detail == (
        "1 of 4 as locked; ruamel-yaml is missing; transformers is 4.12.2; "
        "typing-extensions is missing; six is in no lock; zope-event is in no lock"
    )


@pytest.mark.parametrize(
    ("locked", "installed", "told"),
    [
        ("1.9.1", "1.9.1", None),
        ("1.9.1+cu102", "1.9.1+cu102", None),
        ("1.9.1", "1.9.1+cu102", "torch is 1.9.1+cu102"),
        ("1.9.1+cpu", "1.9.1+cu102", "torch is 1.9.1+cu102"),
    ],
)
def test_local_versions(
    locked: str, installed: str, told: str | None, small: dict[str, Target]
) -> None:
    """A wheel may import as another build than it is named; what is installed is as locked."""
    report = changed("packages", torch=installed)
    report = {**report, "imported": {**report["imported"], "torch": "1.9.1+cu102"}}
    requirements = (f"torch=={locked} \\\n    --hash=sha256:00\n", *LOCKED[1:])
    found = checks(report, small[INFERENCE], requirements)
    assert found["versions"].passed
    assert failed(found) == ({"locked packages": f"3 of 4 as locked; {told}"} if told else {})


def test_what_pip_complains_of(small: dict[str, Target]) -> None:
    complaint = "transformers 4.12.3 requires sacremoses, which is not installed."
    found = checks({**REPORT, "check": complaint}, small[INFERENCE])
    assert failed(found) == {"pip check": complaint}


def test_labels(small: dict[str, Target]) -> None:
    target = small[INFERENCE]
    wanted = target.labels()
    number = len(wanted)
    right = Check(name="labels", passed=True, detail=f"{number} of {number} as they should be")
    assert labels(wanted, target) == right
    assert labels({**wanted, "maintainer": "somebody"}, target) == right

    missing = {name: value for name, value in wanted.items() if name != "dlc.date"}
    assert labels(missing, target) == Check(
        name="labels",
        passed=False,
        detail=f"{number - 1} of {number} as they should be; dlc.date is None",
    )
    wrong = {**missing, "dlc.build": "cu102"}
    assert labels(wrong, target).detail == (
        f"{number - 2} of {number} as they should be; dlc.build is 'cu102'; dlc.date is None"
    )


def test_an_image_for_tests_must_say_so(small: dict[str, Target]) -> None:
    real = small[INFERENCE]
    for_tests = dataclasses.replace(real, stand_in="ubuntu20.04")
    assert labels(for_tests.labels(), for_tests).passed
    found = labels({**for_tests.labels(), "dlc.stand-in": ""}, for_tests)
    assert not found.passed
    assert found.detail.endswith("; dlc.stand-in is ''")


# The programs


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_are_for_python_3_6(name: str) -> None:
    text = (FILES / name).read_text("utf-8")
    tree = ast.parse(text, feature_version=(3, 6))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules = {alias.name.partition(".")[0] for node in imports for alias in node.names}
    modules |= {(node.module or "").partition(".")[0] for node in froms}
    assert modules
    # `annotations`, of the __future__, is newer too.
    assert modules <= sys.stdlib_module_names - NEWER - {"__future__"}


def test_newer_syntax_would_be_found() -> None:
    with pytest.raises(SyntaxError):
        ast.parse("print(found := 1)", feature_version=(3, 6))


@pytest.mark.integration
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_import_with_the_standard_library_alone(name: str) -> None:
    run = subprocess.run(
        [
            *(sys.executable, "-I", "-S", "-c"),
            *("import runpy, sys; runpy.run_path(sys.argv[1])", FILES / name),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What image_report.py tells of an environment with pip alone, and of modules that are ours."""
    modules = tmp_path_factory.mktemp("modules")
    installed = metadata.distribution("pip").locate_file("pip")
    for path in Path(str(installed)).parent.glob("pip*"):
        (modules / path.name).symlink_to(path)
    bare = modules / "bare"
    venv.create(bare)
    (modules / "torch.py").write_text("raise OSError('libcublas.so.11: cannot open it')\n")
    (modules / "tensorflow.py").write_text("import no_such_module_anywhere\n")
    (modules / "transformers.py").write_text("print('a greeting')\n__version__ = '4.12.3'\n")
    (modules / "datasets.py").write_text("")
    run = subprocess.run(
        [bare / "bin" / "python", FILES / "image_report.py"],
        env={**os.environ, "PYTHONPATH": str(modules)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    greeting, told = run.stdout.splitlines()
    assert greeting == "a greeting"
    found: Mapping[str, Any] = json.loads(told)
    return found


@pytest.mark.integration
def test_report_is_of_this_interpreter(report: Mapping[str, Any]) -> None:
    assert report.keys() == REPORT.keys()
    assert report["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert report["packages"] == {"pip": metadata.version("pip")}
    assert isinstance(report["check"], str)


def test_report_tells_why_a_module_does_not_import(report: Mapping[str, Any]) -> None:
    found = dict(report["imported"])
    # Python's own words differ from version to version.
    assert found.pop("datasets").startswith("AttributeError: module 'datasets' has no attribute")
    assert found == {
        "torch": "OSError: libcublas.so.11: cannot open it",
        "tensorflow": "ModuleNotFoundError: No module named 'no_such_module_anywhere'",
        "transformers": "4.12.3",
    }
