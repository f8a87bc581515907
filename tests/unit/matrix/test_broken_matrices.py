"""Every mistake in a matrix is told where it is and what to do, all of them at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from builder.errors import MatrixError
from builder.matrix.targets import load_targets
from builder.matrix.yaml_nodes import Report
from builder.matrix.yaml_reader import load
from tests.conftest import GOLDEN, Dlc, Run
from tests.unit.corpus import BROKEN, BROKEN_COMPONENTS, SMALL, Broken

# Files that are no matrix at all.
FOREIGN = {
    "empty": (b"", "1:1: the file is empty; start from the matrix.yaml of this project"),
    "comment": (
        b"# nothing yet\n",
        "1:1: the file is empty; start from the matrix.yaml of this project",
    ),
    "binary": (
        b"\x7fELF\x02\x01\n\x00",
        "1:1: control character 0x7f; a matrix is a YAML text file; remove it",
    ),
    "control character": (
        SMALL.replace("bookworm\n", "book\x07worm\n").encode(),
        "13:20: control character 0x07; a matrix is a YAML text file; remove it",
    ),
    "control character after a byte order mark": (
        b"\xef\xbb\xbf\x07",
        "1:1: control character 0x07; a matrix is a YAML text file; remove it",
    ),
    "image": (
        b"\x89PNG\r\n\x1a\n",
        "1:1: byte 0x89 is not UTF-8 text; a matrix is a YAML text file; save it as UTF-8",
    ),
    "UTF-16": (
        SMALL.encode("utf-16"),
        "1:1: byte 0xff is not UTF-8 text; a matrix is a YAML text file; save it as UTF-8",
    ),
    "Latin-1": (
        "# €\ntools: ".encode() + "é".encode("latin-1"),
        "2:8: byte 0xe9 is not UTF-8 text; a matrix is a YAML text file; save it as UTF-8",
    ),
    "list": (
        b"# sections\n- tools\n- bases\n",
        "2:1: the file is not a mapping; it holds `key: value` lines",
    ),
    "text": (b"tools\n", "1:1: the file is not a mapping; it holds `key: value` lines"),
    "null": (b"~\n", "1:1: there is no value; write one, or remove it"),
    "brackets": (
        b"[" * 200_000,
        "1:21: nested more than 20 deep; close the brackets before it",
    ),
    "empty mapping": (
        b"{}",
        "1:1: the matrix has no 'bases'; add `bases:`\n"
        "1:1: the matrix has no 'frameworks'; add `frameworks:`\n"
        "1:1: the matrix has no 'libraries'; add `libraries:`\n"
        "1:1: the matrix has no 'releases'; add `releases:`\n"
        "1:1: the matrix has no 'tools'; add `tools:`",
    ),
}


def complaints(content: bytes, folder: Path) -> list[str]:
    """What is said about a matrix, without the file's name."""
    path = folder / "matrix.yaml"
    path.write_bytes(content)
    with pytest.raises(MatrixError) as caught:
        load_targets(path, name="m")
    lines = str(caught.value).splitlines()
    assert all(line.startswith("m:") for line in lines)
    return [line.removeprefix("m:") for line in lines]


# Each opens one collection with its first bracket; what looks like more of them is none.
OPENINGS = (*("[", "{k: ", "[\n ", "[é, ", "['[[{', ", '["\\"[{", ', "[ # [[{\n ", "{'[': "),)
# How many levels a block begins with, and what the flow stands on: each is one level.
BLOCKS: dict[str, Callable[[int], str]] = {
    "mappings": lambda depth: "".join(f"{' ' * at}k:\n" for at in range(depth)) + " " * depth,
    "sequences": lambda depth: "- " * depth,
}

LOADERS = [
    pytest.param(True, marks=pytest.mark.skipif(not yaml.__with_libyaml__, reason="no libyaml")),
    False,
]


def read_with(libyaml: bool, patch: pytest.MonkeyPatch) -> None:
    if not libyaml:
        patch.delattr(yaml, "CSafeLoader", raising=False)


@pytest.mark.parametrize("libyaml", LOADERS, ids=["libyaml", "python"])
@pytest.mark.parametrize("block", BLOCKS)
@example(depth=0, openings=["["] * 21, more=0, tail="'")
@given(
    depth=st.integers(0, 20),
    openings=st.lists(st.sampled_from(OPENINGS), min_size=21, max_size=40),
    more=st.sampled_from([0, 1500]),
    tail=st.sampled_from(["", "@", "\n]", "\t", "'"]),
)
def test_what_is_too_deep_is_found_by_our_own_count(
    libyaml: bool, block: str, depth: int, openings: list[str], more: int, tail: str
) -> None:
    before = BLOCKS[block](depth) + "".join(openings[: 20 - depth])
    text = before + "".join(openings[20 - depth :]) + "[" * (more * libyaml) + tail
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        read_with(libyaml, patch)
        [message] = complaints(text.encode(), Path(folder))
    assert message == f"{line}:{column}: nested more than 20 deep; close the brackets before it"


@pytest.mark.parametrize("libyaml", LOADERS, ids=["libyaml", "python"])
@pytest.mark.parametrize("level", ["[", "[\n", "{a: ", "- ", "? "])
def test_any_number_of_levels(
    libyaml: bool, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_with(libyaml, monkeypatch)
    [message] = complaints(level.encode() * 200_000, tmp_path)
    assert message.endswith(": nested more than 20 deep; close the brackets before it")


@pytest.mark.parametrize("libyaml", LOADERS, ids=["libyaml", "python"])
@pytest.mark.parametrize(
    "text",
    [
        "tools: '" + "[" * 3000 + "'\n",
        'tools: "' + "{[" * 3000 + '"\n',
        "tools: a" + "[{" * 3000 + "\n",
        "# " + "[" * 3000 + "\ntools: a\n",
        "tools: |\n  " + "[" * 3000 + "\n",
        "tools: [" + "[], {}, " * 300 + "]\n",
        "tools: " + "[" * 19 + "]" * 19 + "\n",
    ],
    ids=["quoted", "double", "plain", "comment", "block", "wide", "deep enough"],
)
def test_what_is_no_nesting(
    libyaml: bool, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_with(libyaml, monkeypatch)
    report = Report()
    path = tmp_path / "matrix.yaml"
    path.write_text(text, "utf-8")
    assert load(path, report) is not None
    assert report.problems == []


@pytest.mark.parametrize("broken", [*BROKEN, *BROKEN_COMPONENTS], ids=lambda broken: broken.name)
def test_messages(broken: Broken, tmp_path: Path) -> None:
    assert complaints(broken.text.encode(), tmp_path) == list(broken.messages)


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files(name: str, tmp_path: Path) -> None:
    content, message = FOREIGN[name]
    assert complaints(content, tmp_path) == message.splitlines()


def test_a_tag_that_is_too_long(tmp_path: Path) -> None:
    base = "ubuntu20.04" + "x" * 80
    message = (
        f"the tag 1.9.1-transformers4.12.3-gpu-py38-cu111-{base} has 131 characters, "
        "not 128 at most; shorten the name of its base"
    )
    assert complaints(SMALL.replace("ubuntu20.04", base).encode(), tmp_path) == [
        f"93:47: {message}",
        f"96:27: {message}",
    ]


def test_mistakes_are_told_all_at_once(tmp_path: Path) -> None:
    text = SMALL
    for old, new in (
        ("  uv: 0.13.8\n", "  uv: 0.13\n"),
        (
            "05-31\n    jdk: openjdk-11-jdk-headless\n    pythons: {3.8",
            "05-31\n    jdc: openjdk-11-jdk-headless\n    pythons: {3.8",
        ),
        ("      gpu: cu111\n", "      gpu: cu112\n"),
        ("[setuptools<81]", "[setuptools=<81]"),
        ("date: 2021-06-25", "date: 2021-06-31"),
        ("devices: [cpu, gpu, neuron]", "devices: [gpi, cpu, cpu]"),
        ("training: {libraries: training, pytorch: [1.9.1]}", "training: {pytorch: [1.9.1]}"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    assert complaints(text.encode(), tmp_path) == [
        "4:7: '0.13' is not a full version; write one like 4.57.1",
        "25:5: a base has no 'jdk'; add `jdk:`",
        "27:5: 'jdc' is not a key of a base; did you mean 'jdk'?",
        "51:12: 'cu112' is not defined under accelerators; did you mean 'cu111' or 'cu110'?",
        "53:21: 'setuptools=<81' is not a requirement; write it as pip would read it: "
        "name[extra]==1.2.3",
        "87:11: 2021-06-31 is not a valid date; write another",
        "93:15: a mode of a release has no 'libraries'; add `libraries:`",
        "96:44: 'gpi' is not a device; did you mean 'gpu'?",
    ]


@pytest.mark.parametrize("command", ["list", "render", "lock", "build"])
def test_the_command_says_what_is_wrong(command: str, dlc: Dlc, tmp_path: Path) -> None:
    path = tmp_path / "matrix.yaml"
    path.write_text(SMALL.replace("debian12\n", "debian13\n", 1).replace("cu111\n", "cu112\n"))
    run = dlc("--matrix", path, command)
    assert run == Run(
        code=3,
        out="",
        err=f"{path}:3:9: 'debian13' is not defined under bases; did you mean 'debian12'?\n"
        f"{path}:51:12: 'cu112' is not defined under accelerators; did you mean 'cu111' or "
        "'cu110'?\n",
    )
    assert [each.name for each in tmp_path.iterdir()] == ["matrix.yaml"]


def test_a_missing_file(dlc: Dlc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = "1:1: cannot be read (No such file or directory); check --matrix\n"
    assert dlc("--matrix", "nowhere.yaml", "list") == Run(
        code=3, out="", err=f"nowhere.yaml:{said}"
    )
    assert dlc("--matrix", tmp_path, "list") == Run(
        code=3, out="", err=f"{tmp_path}:1:1: cannot be read (Is a directory); check --matrix\n"
    )


def test_a_pipe_or_a_device_is_refused_at_once(dlc: Dlc, tmp_path: Path) -> None:
    """Neither may ever end."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    said = "it is a pipe or a device, not a file"
    for path in (pipe, Path("/dev/zero")):
        for option in ("matrix", "mirrors"):
            words = ("mirrors", "script", tmp_path / "site", "--matrix", GOLDEN / "matrix.yaml")
            run = dlc(f"--{option}", path, *(words if option == "mirrors" else ("list",)))
            err = f"{path}:1:1: cannot be read ({said}); check --{option}\n"
            assert run == Run(code=3, out="", err=err)


def test_a_million_mistakes_are_told_in_part(dlc: Dlc, tmp_path: Path) -> None:
    path = tmp_path / "matrix.yaml"
    lines = "".join(f"  python3.{n}-dev-{n}: x\n" for n in range(20_000))
    whole = (GOLDEN / "matrix.yaml").read_text("utf-8")
    path.write_text(f"{whole}\nbudgets:\n{lines}", "utf-8")
    run = dlc("--matrix", path, "list")
    *told, last = run.err.splitlines()
    assert (run.code, len(told)) == (3, 200)
    assert last == "there are more mistakes; fix these first"


@pytest.mark.integration
def test_no_traceback_in_a_process_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "matrix.yaml"
    path.write_bytes(b"[" * 200_000)
    run = subprocess.run(
        [sys.executable, "-m", "builder", "--matrix", str(path), "list"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (3, "")
    assert run.stderr == f"{path}:1:21: nested more than 20 deep; close the brackets before it\n"
