"""Docker itself reads what is rendered of the matrix's variables and labels."""

from __future__ import annotations

import subprocess
from pathlib import Path

import docker
import pytest

from builder.dockerfile.context import quoted
from builder.engine.connection import Engine
from builder.engine.namespace import local_name
from builder.engine.tagging import remove_image

pytestmark = pytest.mark.images

# A word or two of what shells, Go's templates and Dockerfiles have a meaning for.
VALUES = (
    *("", " ", '"', "\\", "$", "\\\\", '\\"', '"\\', "$HOME", "${A:-b}", "$$", "a\\", "<<EOF"),
    *("it's", "  x  ", "# no", "a=b c=d", "\\n", "%s", "`x`", "é☃", '$\\"$\\"', "{{.Id}}", "$(x)"),
)


def test_every_value_arrives(engine: Engine, client: docker.DockerClient, tmp_path: Path) -> None:
    expected = {f"V{number}": value for number, value in enumerate(VALUES)}
    pairs = " \\\n    ".join(f"{name}={quoted(value)}" for name, value in expected.items())
    (tmp_path / "Dockerfile").write_text(f"FROM scratch\nENV {pairs}\nLABEL {pairs}\n", "utf-8")
    name = local_name("env-and-labels:test")
    command = [*engine.buildx, "build", "--load", "--tag", name, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stderr
    try:
        config = client.images.get(name).attrs["Config"]
        assert {name: config["Labels"].get(name) for name in expected} == expected
        env = dict(each.split("=", 1) for each in config["Env"])
        assert {name: env.get(name) for name in expected} == expected
    finally:
        remove_image(client, name)
