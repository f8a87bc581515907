"""What an image compiles once it runs: models by torch.compile, packages that are only source."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import docker
import pytest

from builder.contract.conftest import Serve
from builder.contract.subject import Subject
from builder.contract.training_job import ML, Job, Train
from builder.serve.model_archive import tiny_files
from builder.serve.programs import run_report

Record = Callable[[str, object], None]

# torch.compile is there from this PyTorch on.
COMPILES = (2,)
# It adds and multiplies in single precision, in another order.
DIFFERENCE = 1e-5
# The first request compiles the model.
COMPILE_SECONDS = 300

HOOKS = b"""
import torch
from transformers import pipeline


def model_fn(model_dir):
    made = pipeline("text-classification", model=model_dir)
    made.model.forward = torch.compile(made.model.forward)
    return made


def predict_fn(data, model):
    from torch._dynamo.utils import counters

    return {"answer": model(data["inputs"]), "graphs": counters["stats"]["unique_graphs"]}
"""

# A package in C++ that builds itself: no index has to have what others are built with.
NATIVE = {
    "native/pyproject.toml": b"""
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
""",
    "native/backend.py": b"""
import subprocess
import sysconfig
import zipfile


def build_wheel(directory, config_settings=None, metadata_directory=None):
    module = "dlc_native" + sysconfig.get_config_var("EXT_SUFFIX")
    include = "-I" + sysconfig.get_paths()["include"]
    subprocess.check_call(["g++", "-shared", "-fPIC", include, "native.cpp", "-o", module])
    about = "dlc_native-1.0.dist-info/"
    name = "dlc_native-1.0-py3-none-any.whl"
    with zipfile.ZipFile(directory + "/" + name, "w") as wheel:
        wheel.write(module)
        text = "Metadata-Version: 2.1\\nName: dlc-native\\nVersion: 1.0\\n"
        wheel.writestr(about + "METADATA", text)
        text = "Wheel-Version: 1.0\\nRoot-Is-Purelib: false\\nTag: py3-none-any\\n"
        wheel.writestr(about + "WHEEL", text)
        wheel.writestr(about + "RECORD", module + ",,\\n")
    return name
""",
    "native/native.cpp": b"""
#include <Python.h>
#include <numeric>
#include <vector>

static PyObject *sum(PyObject *, PyObject *) {
    std::vector<long> numbers{20, 21, 1};
    return PyLong_FromLong(std::accumulate(numbers.begin(), numbers.end(), 0L));
}

static PyMethodDef methods[] = {{"sum", sum, METH_NOARGS, nullptr}, {nullptr, nullptr, 0, nullptr}};
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "dlc_native", nullptr, -1, methods};

PyMODINIT_FUNC PyInit_dlc_native() { return PyModule_Create(&module); }
""",
}
SCRIPT = b"""
import json
import os

import dlc_native

with open(os.environ["SM_OUTPUT_DATA_DIR"] + "/report.json", "w") as file:
    json.dump({"sum": dlc_native.sum()}, file)
"""


@pytest.fixture(autouse=True)
def toolchain(subject: Subject) -> None:
    """Skip what an image without a toolchain does not promise."""
    if not subject.toolchain:
        pytest.skip("the image's label names no toolchain")


@pytest.fixture
def compiles(subject: Subject) -> None:
    """Skip what other frameworks do not have."""
    if subject.version("torch") < COMPILES:
        pytest.skip("torch.compile is there from PyTorch 2 on")


@pytest.mark.usefixtures("compiles")
def test_torch_compile(
    client: docker.DockerClient, subject: Subject, record_property: Record
) -> None:
    """A function, for the processor: the numbers are those of the function itself."""
    report = run_report(client, subject.image, "compile_report.py")
    record_property("detail", json.dumps(report))
    assert report["graphs"] >= 1, report
    assert report["difference"] < DIFFERENCE, report


@pytest.mark.inference
@pytest.mark.usefixtures("compiles")
def test_a_compiled_model_answers(
    client: docker.DockerClient, subject: Subject, serve: Serve, tmp_path: Path
) -> None:
    """A model whose hook compiles it answers what the same model answers without."""
    (tmp_path / "code").mkdir()
    for name, content in {
        **tiny_files(client, subject.image),
        "code/inference.py": HOOKS,
    }.items():
        (tmp_path / name).write_bytes(content)
    body = b'{"inputs": "good"}'
    compiled = json.loads(serve(model=tmp_path).invoke(body, timeout=COMPILE_SECONDS).body)
    assert compiled["graphs"] >= 1, compiled
    [plain] = json.loads(serve().invoke(body).body)
    [own] = compiled["answer"]
    assert own["label"] == plain["label"]
    assert own["score"] == pytest.approx(plain["score"], abs=DIFFERENCE)


@pytest.mark.training
def test_a_package_that_is_only_source(train: Train) -> None:
    """requirements.txt names a package in C++; the script of the job gets what it computes."""
    code = {"train.py": SCRIPT, "requirements.txt": f"{ML}/code/native\n".encode(), **NATIVE}
    assert train(Job(code=code)).done().report() == {"sum": 42}
