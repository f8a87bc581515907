"""Nothing is in an image that only its build needs, nothing twice, and nothing by half."""

from __future__ import annotations

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


@pytest.mark.parametrize("what", STRAYS)
def test_image_has_no(what: str, client: docker.DockerClient, subject: Subject) -> None:
    """What is left over, by the files' names."""
    found = run_files(client, subject.image, [], STRAYS[what], 120)
    assert found == "", f"{what}: {found}"


def test_compilers_are_there_by_promise_alone(
    client: docker.DockerClient, subject: Subject
) -> None:
    """An image has those that its label names, and else none."""
    found = run_files(client, subject.image, [], "command -v cc gcc g++ || true", 60)
    assert bool(found) == bool(subject.toolchain), found


def test_no_file_gives_rights(client: docker.DockerClient, subject: Subject) -> None:
    """No setuid or setgid file, and nothing that all may write but folders like /tmp, as root."""
    listing = (
        "find / -xdev -type f -perm /6000 -print; "
        "find / -xdev ! -type l -perm -0002 ! -perm -1000 -print"
    )
    assert run_files(client, subject.image, [], listing, 120) == ""


def test_pip_is_there_once(client: docker.DockerClient, subject: Subject) -> None:
    """A model's code/requirements.txt is installed with it."""
    listing = "find / -xdev -path /opt/python -prune -o -type d -path '*-packages/pip' -print"
    found = run_files(client, subject.image, [], listing, 120)
    assert len(found.splitlines()) == 1, found


def test_every_module_has_its_bytecode(client: docker.DockerClient, subject: Subject) -> None:
    """A build on a full disk once left some without, and each start then compiled them anew."""
    found = run_report(client, subject.image, "bytecode_report.py")
    without = found["without"]
    assert not without, f"{len(without)} of {found['modules']} modules: {', '.join(without[:5])}"
    assert found["modules"] > 0
