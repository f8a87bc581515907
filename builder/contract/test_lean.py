"""Nothing is in an image that only its build needs, nothing twice, and nothing by half."""

from __future__ import annotations

from collections.abc import Mapping

import docker
import pytest

from builder.contract.subject import Subject
from builder.serve.programs import run_files, run_report

# What prints a line for each stray; a stand-in's interpreter brings more than a distribution's.
STRAYS = {
    "a second pip": (
        "find / -xdev -path /opt/python -prune -o "
        "-type d -path '*-packages/pip' ! -path '/opt/venv/*' -print"
    ),
    "uv": "find / -xdev -type f \\( -name uv -o -name uvx \\) -print",
    "package lists": "find /var/lib/apt/lists /var/cache/apt -type f -size +0 -print",
    "caches": "find /root /home /tmp -mindepth 1 -name .cache -print",
    "tests of packages": "find /opt/venv/lib -type d -name tests ! -path '*.dist-info/*' -print",
    "PyTorch's programs for tests": (
        "find /opt/venv/lib -path '*/torch/bin/*' \\( -name 'test_*' -o -name '*Test' \\) -print"
    ),
    "Java's compiler": "command -v javac || true",
}


# The same for what is more than a stray.
ASKED = {
    **STRAYS,
    "compilers": "command -v cc gcc g++ || true",
    "rights": (
        "find / -xdev -type f -perm /6000 -print; "
        "find / -xdev ! -type l -perm -0002 ! -perm -1000 -print"
    ),
    "pip": "find / -xdev -path /opt/python -prune -o -type d -path '*-packages/pip' -print",
}
# Stands before what each command prints.
MARK = "-- dlc asks for "


@pytest.fixture(scope="module")
def told(client: docker.DockerClient, subject: Subject) -> Mapping[str, str]:
    """What each command prints, in one container, as a container takes longer than most of them."""
    marked = [f'echo "{MARK}{what}"; {command}' for what, command in ASKED.items()]
    output = run_files(client, subject.image, [], "set -e\n" + "\n".join(marked), 300)
    _, *parts = output.split(MARK)
    found = {what: text.strip() for what, _, text in (part.partition("\n") for part in parts)}
    assert [*found] == [*ASKED], output
    return found


@pytest.mark.parametrize("what", STRAYS)
def test_image_has_no(what: str, told: Mapping[str, str]) -> None:
    """What is left over, by the files' names."""
    assert told[what] == "", f"{what}: {told[what]}"


def test_compilers_are_there_by_promise_alone(told: Mapping[str, str], subject: Subject) -> None:
    """An image has those that its label names, and else none."""
    assert bool(told["compilers"]) == bool(subject.toolchain), told["compilers"]


def test_no_file_gives_rights(told: Mapping[str, str]) -> None:
    """No setuid or setgid file, and nothing that all may write but folders like /tmp, as root."""
    assert told["rights"] == ""


def test_pip_is_there_once(told: Mapping[str, str]) -> None:
    """A model's code/requirements.txt is installed with it."""
    assert len(told["pip"].splitlines()) == 1, told["pip"]


def test_every_module_has_its_bytecode(client: docker.DockerClient, subject: Subject) -> None:
    """A build on a full disk once left some without, and each start then compiled them anew."""
    found = run_report(client, subject.image, "bytecode_report.py")
    without = found["without"]
    assert not without, f"{len(without)} of {found['modules']} modules: {', '.join(without[:5])}"
    assert found["modules"] > 0
