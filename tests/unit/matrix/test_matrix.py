"""The matrix: which targets it has, what it says of them and where."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from builder.dockerfile.render import Renderer
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from builder.matrix.yaml_nodes import Position
from tests.conftest import GOLDEN
from tests.unit.corpus import SMALL

OWN = {
    "huggingface-pytorch-training:2.13.0-transformers4.57.1-cpu-py311-debian12",
    "huggingface-pytorch-inference:2.13.0-transformers4.57.1-cpu-py311-debian12",
    "huggingface-tensorflow-inference:2.21.0-transformers4.57.1-cpu-py311-debian12",
    "huggingface-tensorflow-inference:2.21.0-transformers4.57.1-cpu-py313-debian13",
}


def is_new(target: Target) -> bool:
    """Whether `dlc add` made a row that nobody has looked into yet."""
    return target.origin == "own" and target.name not in OWN


@pytest.fixture(scope="module")
def tables(root: Path) -> dict[str, tuple[str, str | None]]:
    """The rows of the reference tables: name to origin and datasets version."""
    return read_rows(root / "tests" / "data" / "official_targets.txt")


@pytest.fixture(scope="module")
def later(root: Path) -> dict[str, tuple[str, str | None]]:
    """The official rows after the tables, likewise."""
    return read_rows(root / "tests" / "data" / "later_targets.txt")


def read_rows(path: Path) -> dict[str, tuple[str, str | None]]:
    """Rows by name: origin and datasets version."""
    found: dict[str, tuple[str, str | None]] = {}
    origin = ""
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("["):
            origin = line.strip("[]")
        elif line and not line.startswith("#"):
            name, datasets = line.split()
            found[name] = origin, None if datasets == "-" else datasets
    return found


@pytest.fixture(scope="module")
def lines(root: Path) -> list[str]:
    """The real matrix, line by line."""
    return (root / "matrix.yaml").read_text("utf-8").splitlines()


def test_it_has_the_rows_of_the_tables_the_later_ones_and_our_own(
    targets: tuple[Target, ...],
    tables: dict[str, tuple[str, str | None]],
    later: dict[str, tuple[str, str | None]],
) -> None:
    assert [origin for origin, _ in tables.values()].count("official") == 42
    assert [origin for origin, _ in tables.values()].count("unreleased") == 3
    names = [target.name for target in targets]
    assert len(set(names)) == len(names)
    assert not tables.keys() & later.keys()
    listed = {*tables, *later, *OWN}
    assert listed <= set(names)
    # A new release is nobody's but ours, until AWS's lists have it and ours, too.
    assert [t.name for t in targets if t.name not in listed and t.origin != "own"] == []


def test_origin_and_datasets(
    targets: tuple[Target, ...],
    tables: dict[str, tuple[str, str | None]],
    later: dict[str, tuple[str, str | None]],
) -> None:
    expected = {**tables, **later} | {
        name: ("own", "4.3.0" if "training" in name else None) for name in sorted(OWN)
    }
    found = {t.name: (t.origin, t.datasets) for t in targets}
    assert {name: found[name] for name in expected} == expected
    new = [target for target in targets if target.name not in expected]
    assert all((target.datasets is not None) == (target.mode == "training") for target in new)


def test_targets_are_in_the_order_of_the_file(targets: tuple[Target, ...]) -> None:
    said = [target.defined_at["transformers"].line for target in targets]
    assert said == sorted(said)


def test_python_of_the_wheel_and_the_base(targets: tuple[Target, ...]) -> None:
    pythons = {
        (target.framework, target.framework_version, target.device): target.python
        for target in targets
    }
    assert pythons["pytorch", "1.9.1", "cpu"] == "3.8"
    assert pythons["pytorch", "1.9.1", "neuron"] == "3.7"
    assert pythons["tensorflow", "2.6.3", "gpu"] == "3.8"
    assert pythons["pytorch", "1.7.1", "gpu"] == "3.6"


def test_a_release_goes_before_a_build_and_a_build_before_a_version(tmp_path: Path) -> None:
    def neuron(entry: str) -> tuple[str, str, str]:
        path = tmp_path / "matrix.yaml"
        path.write_text(SMALL.replace("devices: [cpu, gpu, neuron], date: 2022-02-18", entry))
        target = load_targets(path)[-1]
        return target.python, target.base.name, target.date.isoformat()

    assert neuron("devices: [neuron]") == ("3.7", "ubuntu18.04", "2021-11-03")
    assert neuron("devices: [neuron], python: 3.6") == ("3.6", "ubuntu18.04", "2021-11-03")
    own = "devices: [neuron], python: 3.8, base: ubuntu20.04, date: 2022-01-01"
    assert neuron(own) == ("3.8", "ubuntu20.04", "2022-01-01")


def test_cuda_packages_are_for_frameworks_that_lack_them(targets: tuple[Target, ...]) -> None:
    for target in targets:
        wanted = target.device in ("neuron", "neuronx") or (
            target.device == "gpu" and target.framework == "tensorflow"
        )
        assert bool(target.accelerator_packages) == wanted, target.name


def test_the_driver_is_as_old_as_the_build_bears(targets: tuple[Target, ...]) -> None:
    found = {
        (target.framework, target.build.name, target.build.carries): target.driver_cuda
        for target in targets
        if target.device == "gpu"
    }
    assert found == {
        ("pytorch", "cu110", "cu102"): "10.2",
        ("pytorch", "cu110", "cu110"): "11.0",
        ("pytorch", "cu111", "cu111"): "11.0",
        ("pytorch", "cu113", "cu113"): "11.0",
        ("pytorch", "cu117", "cu117"): "11.0",
        ("pytorch", "cu118", "cu118"): "11.0",
        ("pytorch", "cu121", "cu121"): "12.0",
        ("pytorch", "cu124", "cu124"): "12.0",
        ("pytorch", "cu126", "cu126"): "12.0",
        ("pytorch", "cu128", "cu128"): "12.0",
        ("pytorch", "cu129", "cu128"): "12.8",
        ("pytorch", "cu130", "cu128"): "12.8",
        ("pytorch", "cu132", "cu132"): "13.0",
        ("tensorflow", "cu110", "cu110"): "11.0",
        ("tensorflow", "cu112", "cu112"): "11.2",
    }
    assert {target.driver_cuda for target in targets if target.device != "gpu"} == {""}


def test_locks_are_not_newer_than_releases(targets: tuple[Target, ...]) -> None:
    assert all(target.locked <= target.date for target in targets)


# Labels


def test_labels(small: dict[str, Target]) -> None:
    name = "huggingface-pytorch-inference:1.9.1-transformers4.12.3-gpu-py38-cu111-ubuntu20.04"
    engines = "com.amazonaws.ml.engines.sagemaker.dlc"
    assert small[name].labels() == {
        f"{engines}.arch.x86": "true",
        f"{engines}.contributor.huggingface": "true",
        f"{engines}.device.gpu.cu111": "true",
        f"{engines}.framework.huggingface-pytorch.1-9-1": "true",
        f"{engines}.job.inference": "true",
        f"{engines}.lib.transformers.4-12-3": "true",
        f"{engines}.os.ubuntu20-04": "true",
        f"{engines}.python.py38": "true",
        "com.amazonaws.sagemaker.capabilities.accept-bind-to-port": "true",
        "dlc.build": "cu111",
        "dlc.date": "2022-02-18",
        "dlc.origin": "official",
        "dlc_major_version": "1",
        "org.opencontainers.image.base.name": "ubuntu:20.04",
        "org.opencontainers.image.title": "huggingface-pytorch-inference",
        "org.opencontainers.image.version": "1.9.1-transformers4.12.3-gpu-py38-cu111-ubuntu20.04",
    }


def test_sagemaker_bears_no_more_labels(targets: tuple[Target, ...]) -> None:
    counts = {
        (target.mode, target.device): sum(name.startswith("com.amazonaws") for name in labels)
        for target in targets
        for labels in [target.labels()]
    }
    assert counts == {
        ("training", "gpu"): 8,
        ("training", "cpu"): 8,
        ("inference", "cpu"): 10,
        ("inference", "gpu"): 9,
        ("inference", "neuron"): 9,
        ("training", "neuronx"): 8,
        ("inference", "neuronx"): 9,
    }


def test_a_fallback_says_what_it_carries(small: dict[str, Target]) -> None:
    target = small[
        "huggingface-pytorch-training:1.6.0-transformers4.6.1-gpu-py36-cu110-ubuntu18.04"
    ]
    assert target.labels()["dlc.build"] == "cu102"
    assert target.framework_requirements == ("torch==1.6.0",)
    assert target.build.wheels == ()


def test_a_known_hash_ends_the_fallback(tmp_path: Path) -> None:
    wheel = "-cp36-cp36m-manylinux1_x86_64.whl\n"
    digest = "f" * 64
    path = tmp_path / "matrix.yaml"
    path.write_text(SMALL.replace(wheel, f"{wheel}              sha256: {digest}\n"), "utf-8")
    target = load_targets(path)[0]
    assert target.labels()["dlc.build"] == "cu110"
    assert target.framework_requirements == ()
    assert [wheel.sha256 for wheel in target.build.wheels] == [digest]


# Where it is said


def said_values(target: Target) -> dict[str, object]:
    """What a target's values are called in the matrix, for each that it may say."""
    wheels = [wheel.url for wheel in target.build.wheels]
    driver = target.accelerator.driver_cuda if target.accelerator else None
    return {
        "mode": target.mode,
        "framework": target.framework,
        "framework_version": target.framework_version,
        "transformers": target.transformers,
        "datasets": target.datasets,
        "device": target.device,
        "platform": target.platform,
        "device_tag": target.accelerator.name if target.accelerator else target.base.name,
        "python": target.python,
        "os": target.base.name,
        "base": target.base.image,
        "end_of_life": target.base.end_of_life,
        "date": target.date,
        "locked": target.locked,
        "build": target.build.carries,
        "libraries": target.libraries,
        "origin": target.origin,
        "major": target.major,
        "uv": target.uv,
        "build_requirements": list(target.build_requirements),
        "framework_requirements": [*target.framework_requirements, *wheels],
        "constraints": list(target.constraints),
        "excludes": list(target.excludes),
        "library_requirements": [target.library_requirements[0].split("==")[0]],
        "compilers": [target.compilers[0]] if target.compilers else [],
        "system_packages": list(target.system_packages),
        "accelerator_packages": list(target.accelerator_packages),
        "driver_cuda": driver if driver and driver == target.driver_cuda else [],
        "components": [each.name for each in target.components],
        "env": list(target.env),
        "own_labels": list(target.own_labels),
        "budget": target.budget or [],
        "variant": target.variant or [],
        "toolchain": target.toolchain if "toolchain" in target.defined_at else [],
    }


def test_said_points_to_the_value(targets: tuple[Target, ...], lines: list[str]) -> None:
    for target in targets:
        values = said_values(target)
        assert target.defined_at.keys() <= values.keys()
        for name, at in target.defined_at.items():
            value = values[name]
            text = str(value[0] if isinstance(value, list) else value)
            found = lines[at.line - 1][at.column - 1 :].lstrip("[\"'")
            assert found.startswith(text), f"{target.name}: {name} at {at}"


def test_said_leaves_out_what_nobody_said(targets: tuple[Target, ...]) -> None:
    named = {each.name for each in targets if each.platform == "linux/arm64"}
    for target in targets:
        values = said_values(target)
        unsaid = {name for name, value in values.items() if value == []}
        if target.mode == "inference":
            unsaid.add("datasets")
        if target.origin == "official":
            unsaid.add("origin")
        if target.major == "1":
            unsaid.add("major")
        if not {target.name, f"{target.name}-arm64"} & named:
            unsaid.add("platform")
        if "neuron" not in target.device and target.origin != "own":
            unsaid.add("device")
        assert values.keys() - target.defined_at.keys() == unsaid, target.name


def test_where_a_fallback_is_said(small: dict[str, Target]) -> None:
    target = small[
        "huggingface-pytorch-training:1.6.0-transformers4.6.1-gpu-py36-cu110-ubuntu18.04"
    ]
    at = target.defined_at["build"]
    assert SMALL.splitlines()[at.line - 1][at.column - 1 :] == "cu102}"


# The file


@pytest.mark.parametrize(
    "text",
    [
        SMALL.replace("\n", "\r\n"),
        "\ufeff" + SMALL,
        "%YAML 1.2\n---\n" + SMALL,
        "---\n" + SMALL + "...\n",
        SMALL.replace("base: debian12", "base: 'debian12'").replace(": 3.8", ': "3.8"'),
    ],
    ids=["Windows", "byte order mark", "directive", "markers", "quotes"],
)
def test_the_same_matrix_otherwise_written(text: str, tmp_path: Path) -> None:
    path = tmp_path / "matrix.yaml"
    path.write_bytes(text.encode())
    found, expected = load_targets(path), load_targets(GOLDEN / "matrix.yaml")
    assert [said_values(target) for target in found] == [said_values(t) for t in expected]


def test_values_stay_text(tmp_path: Path) -> None:
    """`3.10` is not 3.1, `no` is not false and a date is not a timestamp."""
    path = tmp_path / "matrix.yaml"
    text = SMALL.replace("{3.8: [python3.8,", "{3.10: [no,").replace("python: 3.8", "python: 3.10")
    text = text.replace("-cp38-cp38-", "-cp310-cp310-")
    path.write_text(text, "utf-8")
    target = load_targets(path)[4]
    assert target.python == "3.10"
    assert target.tag == "1.9.1-transformers4.12.3-gpu-py310-cu111-ubuntu20.04"
    assert target.base.pythons == {"3.10": ("no", "python3-distutils")}
    assert target.date == datetime.date(2021, 11, 3)


def test_positions_are_of_the_file_as_it_is_called() -> None:
    target = load_targets(GOLDEN / "matrix.yaml", name="here/matrix.yaml")[0]
    assert target.defined_at["uv"] == Position(file="here/matrix.yaml", line=4, column=7)
    assert str(target.defined_at["uv"]) == "here/matrix.yaml:4"


# Neuronx


def test_neuronx(targets: tuple[Target, ...]) -> None:
    name = (
        "huggingface-pytorch-training-neuronx:"
        "2.1.2-transformers4.43.2-neuronx-py310-sdk2.20.0-ubuntu20.04"
    )
    [target] = [target for target in targets if target.name == name]
    labels = target.labels()
    assert labels["com.amazonaws.ml.engines.sagemaker.dlc.device.neuronx"] == "true"
    assert "com.amazonaws.sagemaker.capabilities.multi-models" not in labels
    dockerfile = Renderer().files(target)["Dockerfile"].decode()
    assert "aws-neuronx-runtime-lib=2.22.14.0-6e27b8d5b" in dockerfile
    assert " focal main" in dockerfile
    # Its libraries are where only the linker's configuration finds them.
    assert (
        ' && rm "${APT_PARTS:-/etc/apt/sources.list.d}/neuron.list" \\\n'
        " && echo /opt/aws/neuron/lib > /etc/ld.so.conf.d/neuron.conf \\\n"
        " && ldconfig\n"
    ) in dockerfile
