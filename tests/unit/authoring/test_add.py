"""`dlc add` and `dlc outdated`, with an index on this machine."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.conftest import Dlc
from tests.unit.locks.test_resolve import (  # noqa: F401 - fixtures
    Index,
    Project,
    Serve,
    cache,
    empty_wheel,
    index,
    nowhere,
    project,
    serve,
)

DATE = ("--date", "2022-03-01")
ADDED = "huggingface-pytorch-inference:1.9.1-transformers4.13.0-cpu-py38-ubuntu20.04"
NEW = "huggingface-pytorch-inference:1.10.0-transformers4.13.0-cpu-py38-ubuntu20.04"
WHEEL = "torch-1.10.0+cpu-cp38-cp38-linux_x86_64.whl"
URL = "${PYTORCH_WHEELS}/cpu/torch-1.10.0%2Bcpu-cp38-cp38-linux_x86_64.whl"


@pytest.fixture
def shop(index: Index, project: Project) -> Project:  # noqa: F811
    """The two targets of the index, which has a newer Transformers, datasets and PyTorch too."""
    index.add("2021-12-09", "transformers", "4.13.0", "tokenizers>=0.10", "hub>=0.2")
    index.add("2023-12-09", "transformers", "4.36.0", "tokenizers>=0.10")
    index.add("2021-11-01", "hub", "0.2.0")
    index.add("2021-11-03", "datasets", "1.15.1")
    index.add("2022-01-03", "datasets", "1.17.0")
    index.add("2022-02-03", "datasets", "1.18.0", "hub>=0.4")
    index.add("2021-10-21", "torch", "1.9.1", tag="cp38-cp38-manylinux1_x86_64")
    index.add(
        "2021-11-21",
        *("torch", "1.10.0", "typing-extensions", "sympy==1.9", "nvidia-cublas-cu11==11.1.0"),
        tag="cp38-cp38-manylinux1_x86_64",
    )
    index.add("2021-10-01", "sympy", "1.9")
    index.add("2021-11-01", "sympy", "1.10")
    index.add("2021-11-01", "nvidia-cublas-cu11", "11.1.0")
    index.add("2021-10-21", "tensorflow", "2.4.1", tag="cp37-cp37m-manylinux1_x86_64")
    index.add("2021-10-21", "tensorflow", "2.5.0", tag="cp38-cp38-manylinux1_x86_64")
    return project


def lines(text: str) -> list[str]:
    """What a diff adds to the matrix."""
    diff = text.partition("--- /dev/null")[0].splitlines()
    return [line[1:] for line in diff if line.startswith("+") and not line.startswith("+++")]


@pytest.mark.integration
def test_a_release(shop: Project) -> None:
    before = shop.matrix.read_bytes()
    run = shop.run("add", "--transformers", "4.13.0", "--mode", "inference", *DATE, "--diff")
    assert (run.code, run.err.splitlines()) == (
        0,
        [f"{ADDED}: 9 requirements locked", f"{ADDED} added"],
    )
    # The newest datasets that goes with it, and the rest as in the last entry of the mode.
    assert lines(run.out) == [
        "  - transformers: 4.13.0",
        "    datasets: 1.17.0",
        "    date: 2022-03-01",
        "    inference:",
        "      libraries: serving",
        "      pytorch: [{version: 1.9.1, devices: [cpu]}]",
    ]
    assert shop.matrix.read_bytes().startswith(before)
    assert shop.state(ADDED).text == "fresh"
    assert shop.versions(ADDED, "libraries")["transformers"] == "4.13.0"
    assert "+++ " in run.out
    assert f"+# {ADDED}\n" in run.out
    dockerfile = (shop.place(ADDED) / "Dockerfile").read_text("utf-8")
    assert all(f"+{line}" in run.out.splitlines() for line in dockerfile.splitlines())
    assert "+transformers==4.13.0 \\\n" in run.out
    assert shop.run("render", "--check", ADDED).code == 0


@pytest.mark.integration
def test_a_dry_run_writes_nothing(shop: Project) -> None:
    before = shop.files()
    run = shop.run("add", "--transformers", "4.13.0", "--mode", "inference", *DATE, "--dry-run")
    assert (run.code, run.err.splitlines()[-1]) == (0, f"{ADDED} would be added")
    assert lines(run.out)
    assert shop.files() == before
    # The matrix and a summary of the locks, unless the whole diff is asked for.
    assert run.out.count("\n+++ ") == 1
    summary = run.out.splitlines()[-5:]
    assert summary[0] == f"locks of {ADDED}:"
    assert summary[1:] == [
        "  build: 2 packages",
        "  framework: 3 packages",
        "  libraries: 3 packages",
        "  tools: 1 package",
    ]


@pytest.mark.integration
def test_new_locks_are_compared_with_those_of_the_last_of_the_kind(shop: Project) -> None:
    locked = shop.run("lock", "--mode", "inference", "--device", "cpu", "--framework", "pytorch")
    assert locked.code == 0, locked.err
    run = shop.run("add", "--transformers", "4.13.0", "--mode", "inference", *DATE, "--dry-run")
    assert run.code == 0, run.err
    summary = run.out.splitlines()[-5:]
    assert summary[0].startswith(f"locks of {ADDED}, compared with 1.9.1-transformers4.12.3-cpu-")
    assert summary[2] == "  framework: 3 packages, unchanged"
    assert "transformers 4.12.3 -> 4.13.0" in summary[3]


@pytest.mark.integration
@pytest.mark.parametrize("name", ["libraries.lock", "Dockerfile", "matrix.yaml"])
def test_all_is_written_or_nothing(
    name: str, shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, folders = shop.files(), sorted(shop.folder.rglob("*"))
    replace = Path.replace

    def full(path: Path, to: Path) -> Path:
        if to.name == name:
            raise OSError(28, "No space left on device")
        return replace(path, to)

    monkeypatch.setattr(Path, "replace", full)
    run = shop.run("add", "--transformers", "4.13.0", "--mode", "inference", *DATE)
    assert (run.code, run.out) == (1, "")
    assert f"/{name} cannot be written: no space left on device; " in run.err.splitlines()[-1]
    assert shop.files() == before
    assert sorted(shop.folder.rglob("*")) == folders


@pytest.mark.integration
def test_more_of_a_release_that_is_there(shop: Project) -> None:
    run = shop.run(
        *("add", "--transformers", "4.12.3", "--pytorch", "1.9.1", "--mode", "inference"),
        *("--device", "gpu", "--origin", "unreleased", *DATE),
    )
    assert run.code == 0, run.err
    assert (
        "{version: 1.9.1, devices: [cpu], date: 2022-02-18}, "
        "{version: 1.9.1, devices: [gpu], date: 2022-03-01, origin: unreleased}]"
    ) in shop.matrix.read_text("utf-8")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("--transformers", "4.99.0", "--datasets", "1.17.0"),
            "the package index has no wheel of transformers==4.99.0 for Python 3.8 as of "
            "2022-03-01; name another version, --python or --date",
        ),
        (
            ("--transformers", "4.13.0", "--mode", "training"),
            "no training with pytorch is there to take defaults from; "
            "name a set of libraries: --libraries",
        ),
        (
            ("--transformers", "4.13.0", "--pytorch", "1.10.0", "--device", "gpu"),
            "the package index's wheel of pytorch 1.10.0 is for no CUDA that it names; "
            "name one: --accelerator",
        ),
        (
            (
                *("--transformers", "4.13.0", "--pytorch", "1.10.0", "--device", "gpu"),
                *("--accelerator", "cu111"),
            ),
            "what the wheel of pytorch 1.10.0 for cu111 needs cannot be asked: the package "
            "index's own is for no CUDA that it names; name another --accelerator, or write it "
            "below `builds` by hand: docs/new_releases.md says how",
        ),
        (
            ("--transformers", "4.13.0", "--pytorch", "1.10.0"),
            "PYTORCH_WHEELS could not be reached for the hash of pytorch 1.10.0 for cpu "
            "(connection refused); "
            "give it: --wheel '${PYTORCH_WHEELS}/cpu/NAME.whl=SHA256'",
        ),
        (
            ("--transformers", "4.13.0", "--wheel", "https://elsewhere.example/a.whl=00"),
            "'https://elsewhere.example/a.whl=00' is not the address of a wheel and its SHA-256; "
            "write ${PYTORCH_WHEELS}/cpu/NAME.whl=SHA256, or begin with its address",
        ),
    ],
    ids=["no such release", "nothing to go by", "no CUDA", "another CUDA", "no hash", "no wheel"],
)
def test_what_cannot_be_added(arguments: tuple[str, ...], told: str, shop: Project) -> None:
    before = shop.files()
    mode = () if "--mode" in arguments else ("--mode", "inference")
    run = shop.run("add", *arguments, *mode, *DATE)
    code = 2 if "is not the address of a wheel" in told else 9
    assert (run.code, run.out, run.err) == (code, "", f"dlc: {told}\n")
    assert shop.files() == before


@pytest.mark.integration
def test_several_that_the_index_does_not_have_are_told_together(shop: Project) -> None:
    before = shop.files()
    run = shop.run(
        *("add", "--transformers", "4.99.0", "--datasets", "9.0.0", "--pytorch", "1.99.0"),
        *("--mode", "inference", *DATE),
    )
    assert (run.code, run.out) == (9, "")
    assert run.err.splitlines() == [
        "dlc: the package index has no wheels of",
        "  transformers==4.99.0 for Python 3.8 as of 2022-03-01",
        "  datasets==9.0.0 for Python 3.8 as of 2022-03-01",
        "  torch==1.99.0 for Python 3.8 as of 2022-03-01",
        " ; name another version, --python or --date",
    ]
    assert shop.files() == before


@pytest.mark.integration
@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (("--transformers", "99.0.0"), "transformers==99.0.0 for Python 3.8"),
        (("--transformers", "4.13.0", "--pytorch", "1.99.0"), "torch==1.99.0 for Python 3.8"),
        (
            ("--transformers", "4.13.0", "--tensorflow", "2.99.0"),
            "tensorflow==2.99.0 for Python 3.7",
        ),
    ],
)
def test_what_is_named_is_asked_for_first(
    arguments: tuple[str, ...], missing: str, shop: Project
) -> None:
    """Not the newest datasets beside it, and not what a wheel asks for, which would blame them."""
    before = shop.files()
    run = shop.run("add", *arguments, "--mode", "inference", *DATE)
    assert (run.code, run.out) == (9, "")
    assert run.err == (
        f"dlc: the package index has no wheel of {missing} as of 2022-03-01; "
        "name another version, --python or --date\n"
    )
    assert shop.files() == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--base", "nowhere"), "'nowhere' is not defined under bases"),
        (("--libraries", "nothing"), "'nothing' is not defined under libraries"),
        (("--python", "3.99"), "has no Python 3.99"),
    ],
)
def test_what_the_matrix_does_not_take_is_told_before_the_index_is_asked(
    arguments: tuple[str, ...], told: str, shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.authoring.request.compile_requirements", None)
    monkeypatch.setattr("builder.authoring.outdated.compile_requirements", None)
    before = shop.files()
    run = shop.run("add", "--transformers", "99.0.0", "--mode", "inference", *DATE, *arguments)
    assert (run.code, run.out) == (3, "")
    assert told in run.err
    assert shop.files() == before


@pytest.mark.integration
def test_no_datasets_that_goes_with_it(shop: Project, index: Index) -> None:  # noqa: F811
    index.add("2021-12-09", "transformers", "4.14.0", "hub>=9")
    run = shop.run("add", "--transformers", "4.14.0", "--mode", "inference", *DATE)
    assert (run.code, run.out) == (9, "")
    assert run.err.startswith(
        "dlc: the package index has no datasets that goes with transformers==4.14.0 for Python 3.8 "
        "as of 2022-03-01:\n"
    )
    assert "hub" in run.err
    assert run.err.endswith("; name another version, --python or --date\n")


@pytest.mark.integration
def test_an_index_that_has_nothing(
    shop: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", tmp_path.as_uri())
    run = shop.run("outdated")
    assert run.code == 9
    assert run.err.startswith("dlc: the package index has no transformers for Python 3.8:\n")
    assert run.err.endswith("; see the index: that of mirrors.yaml, else of UV_DEFAULT_INDEX\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--transformers", "abc"), "--transformers: 'abc' is not a full version; write one like"),
        (("--transformers", "5.23.0; import os"), "'5.23.0; import os' is not a full version"),
        (("--transformers", "5.23"), "'5.23' is not a full version"),
        (("--transformers", ""), "--transformers: '' is not a full version"),
        (("--transformers", "4.013.0"), "is not a normalised version; write 4.13.0"),
        (("--datasets", "1.17.0\n"), "--datasets: '1.17.0\\n' is not a full version"),
        (("--pytorch", "1.10.0+cpu"), "--pytorch: '1.10.0+cpu' is not a full version"),
        (("--python", "3.8 -x"), "--python: '3.8 -x' is not a Python version"),
        (("--date", "2099-01-01"), "--date: 2099-01-01 is in the future"),
        (("--date", "2022-02-30"), "--date: 2022-02-30 is not a valid date"),
        (("--date", "yesterday"), "--date: 'yesterday' is not a date; write one like"),
        (("--accelerator", "gpu"), "--accelerator: 'gpu' is not an accelerator as in a tag"),
        (("--base", "Debian 12"), "--base: 'Debian 12' is not the name of a base"),
        (("--libraries", "a: b"), "--libraries: 'a: b' is not the name of a set of libraries"),
    ],
)
def test_wrong_command_lines(
    arguments: tuple[str, ...], told: str, shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.authoring.request.compile_requirements", None)  # uv is not asked
    before = shop.files()
    more = () if "--transformers" in arguments else ("--transformers", "4.13.0")
    run = shop.run("add", *arguments, *more, "--mode", "inference")
    assert (run.code, run.out) == (2, "")
    assert told in run.err
    assert shop.files() == before


def test_mistakes_are_told_together(shop: Project) -> None:
    run = shop.run(
        *("add", "--transformers", "abc", "--datasets", "x", "--date", "2099-01-01"),
        *("--pytorch", "1", "--tensorflow", "2"),
    )
    assert run.code == 2
    options = [line.partition("--")[2].split(":")[0] for line in run.err.splitlines()[3:]]
    assert options == [
        *("transformers", "datasets", "pytorch", "tensorflow", "date", "pytorch and --tensorflow")
    ]


def test_what_is_there_already(shop: Project) -> None:
    before = shop.files()
    run = shop.run("add", "--transformers", "4.12.3", "--mode", "inference", "--pytorch", "1.9.1")
    assert run.code == 3
    assert "a second target named " in run.err
    assert shop.files() == before


@pytest.mark.integration
def test_what_cannot_be_locked_leaves_nothing(shop: Project, index: Index) -> None:  # noqa: F811
    before = shop.files()
    index.remove("hub")
    run = shop.run(
        *("add", "--transformers", "4.13.0", "--mode", "inference", "--datasets", "1.17.0", *DATE)
    )
    assert run.code == 9
    assert "cannot be locked" in run.err
    assert shop.files() == before


def framework(shop: Project, *arguments: str) -> list[str]:
    """The lines of a framework version that is new."""
    run = shop.run(
        *("add", "--transformers", "4.13.0", "--pytorch", "1.10.0", "--mode", "inference", *DATE),
        *arguments,
    )
    assert run.code == 0, run.err
    assert shop.state(NEW).text == "fresh"
    found = lines(run.out)
    return found[: found.index("  - transformers: 4.13.0")]


def expected(sha256: str) -> list[str]:
    """With what its wheel asks for, CUDA's packages apart; sympy is not the newest."""
    return [
        "    1.10.0:",
        "      locked: 2022-03-01",
        "      python: 3.8",
        "      base: ubuntu20.04",
        "      requires:",
        "        - sympy==1.9",
        "        - typing-extensions",
        "      constraints:",
        "        - setuptools<81",
        "      builds:",
        "        cpu:",
        "          wheels:",
        f"            - url: {URL}",
        f"              sha256: {sha256}",
    ]


@pytest.mark.integration
def test_a_framework_version_with_a_wheel_that_is_given(shop: Project) -> None:
    assert framework(shop, "--wheel", f"{URL}={'a' * 64}") == expected("a" * 64)


@pytest.mark.integration
def test_with_a_wheel_of_the_wheelhouse(
    shop: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = tmp_path / "house"
    house.mkdir()
    wheel = empty_wheel(house, "torch", "1.10.0+cpu", tag="cp38-cp38-linux_x86_64")
    monkeypatch.setenv("DLC_WHEELHOUSE", str(house))
    assert framework(shop) == expected(hashlib.sha256(wheel.read_bytes()).hexdigest())


@pytest.mark.integration
def test_with_a_wheel_of_its_index(shop: Project, serve: Serve, nowhere: str) -> None:  # noqa: F811
    wheels = serve("wheels")
    quoted = WHEEL.replace("+", "%2B")
    page = f'<a href="/whl/cpu/{quoted}#sha256={"b" * 64}">{WHEEL}</a>'
    wheels._pages[f"{wheels.address}/cpu/torch/"] = page.encode()
    shop.replace((f"PYTORCH_WHEELS: {nowhere}", f"PYTORCH_WHEELS: {wheels.address}"))
    assert framework(shop) == expected("b" * 64)


@pytest.mark.integration
def test_a_gpu_row_is_of_the_index_own_wheel_and_its_cuda(
    shop: Project,
    index: Index,  # noqa: F811
) -> None:
    """The matrix has neither the version nor its CUDA; of both the index tells."""
    needs = ("typing-extensions", "setuptools", "cuda-toolkit==12.3.2")
    index.add("2022-01-21", "torch", "1.11.0", *needs, tag="cp38-cp38-manylinux1_x86_64")
    index.add("2022-01-20", "cuda-toolkit", "12.3.2")
    run = shop.run(
        *("add", "--transformers", "4.13.0", "--pytorch", "1.11.0", "--mode", "inference"),
        *("--device", "gpu", "--origin", "own", *DATE),
    )
    assert run.code == 0, run.err
    assert lines(run.out) == [
        "  cu123: {device: gpu, version: 12.3.2, driver_cuda: 12.0}",
        "    1.11.0:",
        "      locked: 2022-03-01",
        "      python: 3.8",
        "      base: ubuntu20.04",
        "      gpu: cu123",
        "      constraints:",
        "        - setuptools<81",
        "      builds:",
        "        cu123: {requires: [torch==1.11.0]}",
        "  - transformers: 4.13.0",
        "    datasets: 1.17.0",
        "    date: 2022-03-01",
        "    inference:",
        "      libraries: serving",
        "      pytorch: [{version: 1.11.0, devices: [gpu], origin: own}]",
    ]
    name = "huggingface-pytorch-inference:1.11.0-transformers4.13.0-gpu-py38-cu123-ubuntu20.04"
    assert shop.versions(name, "framework")["torch"] == "1.11.0"


@pytest.mark.integration
def test_a_framework_version_is_no_newer_than_the_libraries_bear(
    shop: Project,
    index: Index,  # noqa: F811
) -> None:
    """What follows from another bound is not said; what no metadata tells is as in the last one."""
    tag = "cp38-cp38-manylinux1_x86_64"
    needs = ("setuptools", "numpy", "ml-dtypes")
    index.add("2023-10-01", "tensorflow", "2.16.1", *needs, tag=tag)
    index.add("2023-10-02", "tf-keras", "2.16.0", "tensorflow>=2.16,<2.17")
    index.add("2023-10-03", "tf-keras", "2.17.0", "tensorflow>=2.17,<2.18")
    index.add("2023-09-01", "numpy", "1.26.0")
    index.add("2023-09-02", "numpy", "2.0.0")
    index.add("2023-09-01", "ml-dtypes", "0.4.0")
    index.add("2023-09-02", "ml-dtypes", "0.5.0", "numpy>=2")
    index.add("2023-11-01", "transformers", "4.35.0", "tokenizers>=0.10", "numpy<2")
    run = shop.run(
        *("add", "--transformers", "4.35.0", "--datasets", "1.17.0", "--date", "2023-12-01"),
        *("--tensorflow", "2.16.1", "--mode", "inference", "--device", "cpu"),
        *("--python", "3.8", "--base", "ubuntu20.04"),
    )
    assert run.code == 0, run.err
    assert lines(run.out)[:9] == [
        "    2.16.1:",
        "      locked: 2023-12-01",
        "      python: 3.8",
        "      base: ubuntu20.04",
        "      constraints:",
        "        - numpy<=1.26.0",
        "        - setuptools<81",
        "      builds:",
        "        cpu: {requires: [tensorflow==2.16.1, tf-keras~=2.16.0]}",
    ]
    name = "huggingface-tensorflow-inference:2.16.1-transformers4.35.0-cpu-py38-ubuntu20.04"
    assert shop.versions(name, "framework") == {
        "ml-dtypes": "0.4.0",
        "numpy": "1.26.0",
        "setuptools": "80.9.0",
        "tensorflow": "2.16.1",
        "tf-keras": "2.16.0",
    }


@pytest.mark.integration
def test_another_python_of_a_version_that_is_there(
    shop: Project,
    index: Index,  # noqa: F811
) -> None:
    """A bound that no wheel of it is within stays for older ones; later releases get both."""
    build = "      builds: {cpu: {requires: [tensorflow-cpu==2.4.1]}"
    shop.replace(
        (build, f"      constraints: [numpy<=1.20.0, six<2]\n{build}"),
        (
            'serving:\n    requires: ["',
            "serving:\n    excludes: [hub; python_version >= '3.8']\n    requires: [\"",
        ),
    )
    for tag in ("cp37-cp37m", "cp38-cp38"):
        index.add(
            "2021-03-01", "tensorflow-cpu", "2.4.1", "numpy", "six", tag=f"{tag}-linux_x86_64"
        )
    index.add("2021-03-01", "numpy", "1.20.0", tag="cp37-cp37m-manylinux1_x86_64")
    index.add("2021-03-02", "numpy", "2.0.0", tag="cp38-cp38-manylinux1_x86_64")
    index.add("2021-03-02", "six", "1.0.0")
    # The package that the version is named for, beside the one that its build takes.
    index.add("2021-03-01", "tensorflow", "2.4.1", tag="cp38-cp38-manylinux1_x86_64")
    run = shop.run(
        *("add", "--transformers", "4.12.3", "--tensorflow", "2.4.1", "--mode", "inference"),
        *("--device", "cpu", "--python", "3.8", "--base", "ubuntu20.04", "--date", "2021-11-03"),
    )
    assert run.code == 0, run.err
    own = "{version: 2.4.1, devices: [cpu], python: 3.8, base: ubuntu20.04}"
    assert lines(run.out) == [
        "      constraints: [numpy<=1.20.0; python_version < '3.8', six<2]",
        f"      tensorflow: [{{version: 2.4.1, devices: [cpu]}}, {own}]",
    ]
    name = "huggingface-tensorflow-inference:2.4.1-transformers{}-cpu-{}"
    newer = name.format("4.12.3", "py38-ubuntu20.04")
    assert shop.state(newer).text == "fresh"
    assert shop.versions(newer, "framework")["numpy"] == "2.0.0"
    older = name.format("4.12.3", "py37-ubuntu18.04")
    assert shop.run("lock", older).code == 0
    assert shop.versions(older, "framework")["numpy"] == "1.20.0"

    run = shop.run(
        *("add", "--transformers", "4.13.0", "--tensorflow", "2.4.1", "--mode", "inference", *DATE),
        *("--datasets", "1.17.0"),
    )
    assert run.code == 0, run.err
    assert lines(run.out)[-1] == f"      tensorflow: [{{version: 2.4.1, devices: [cpu]}}, {own}]"
    # What is excluded for one Python is not for the other.
    found = {
        end: "hub" in shop.versions(name.format("4.13.0", end), "libraries")
        for end in ("py37-ubuntu18.04", "py38-ubuntu20.04")
    }
    assert found == {"py37-ubuntu18.04": True, "py38-ubuntu20.04": False}


@pytest.mark.integration
def test_a_framework_version_for_each_python_of_the_last(
    shop: Project,
    index: Index,  # noqa: F811
) -> None:
    """A bound that one of them alone needs has a marker."""
    row = "{version: 2.4.1, devices: [cpu]"
    shop.replace((f"{row}}}]", f"{row}}}, {row}, python: 3.8, base: ubuntu20.04}}]"))
    for tag in ("cp37-cp37m", "cp38-cp38"):
        needs = ("setuptools", "numpy")
        index.add("2023-10-01", "tensorflow", "2.16.1", *needs, tag=f"{tag}-manylinux1_x86_64")
    index.add("2023-10-02", "tf-keras", "2.16.0", "tensorflow>=2.16,<2.17")
    index.add("2023-09-01", "numpy", "1.20.0")
    index.add("2023-09-02", "numpy", "2.0.0")
    limit = "numpy<2; python_version < '3.8'"
    index.add("2023-11-01", "transformers", "4.35.0", "tokenizers>=0.10", limit)
    run = shop.run(
        *("add", "--transformers", "4.35.0", "--datasets", "1.17.0", "--date", "2023-12-01"),
        *("--tensorflow", "2.16.1", "--mode", "inference"),
    )
    assert run.code == 0, run.err
    found = lines(run.out)
    assert found[:8] == [
        "    2.16.1:",
        "      locked: 2023-12-01",
        "      python: 3.7",
        "      base: ubuntu18.04",
        "      constraints:",
        "        - numpy<=1.20.0; python_version == '3.7'",
        "        - setuptools<81",
        "      builds:",
    ]
    new = row.replace("2.4.1", "2.16.1")
    assert found[-1] == f"      tensorflow: [{new}}}, {new}, python: 3.8, base: ubuntu20.04}}]"
    name = "huggingface-tensorflow-inference:2.16.1-transformers4.35.0-cpu-{}"
    numpy = {
        end: shop.versions(name.format(end), "framework")["numpy"]
        for end in ("py37-ubuntu18.04", "py38-ubuntu20.04")
    }
    assert numpy == {"py37-ubuntu18.04": "1.20.0", "py38-ubuntu20.04": "2.0.0"}


@pytest.mark.integration
def test_what_is_newer(shop: Project) -> None:
    run = shop.run("outdated", "--format", "json")
    assert run.code == 0, run.err
    assert json.loads(run.out) == [
        {"name": "transformers", "matrix": "4.12.3", "newest": "4.36.0", "outdated": True},
        {"name": "datasets", "matrix": "1.15.1", "newest": "1.18.0", "outdated": True},
        {"name": "pytorch", "matrix": "1.9.1", "newest": "1.10.0", "outdated": True},
        {"name": "tensorflow", "matrix": "2.4.1", "newest": "2.5.0", "outdated": True},
    ]
    table = shop.run("outdated").out.splitlines()
    assert table[0].split() == ["name", "matrix", "newest", "outdated"]
    assert table[1].split() == ["transformers", "4.12.3", "4.36.0", "yes"]


@pytest.mark.integration
def test_without_an_index(shop: Project, nowhere: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setenv("UV_DEFAULT_INDEX", nowhere)
    run = shop.run("outdated")
    assert run.code == 9
    assert "connect to that host" in run.err


def test_one_framework_at_a_time(dlc: Dlc) -> None:
    run = dlc("add", "--transformers", "4.13.0", "--pytorch", "1.9.1", "--tensorflow", "2.4.1")
    assert run.code == 2
    assert "give one, and call again" in run.err
