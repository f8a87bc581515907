"""A build in a container of the engine, where namespaces of one's own are not allowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import docker.errors
import pytest

from builder.locks.sdist import sandbox, sandbox_container
from builder.locks.sdist.sandbox import SandboxError, run_python
from builder.locks.sdist.sandbox_container import NoContainerError, run_in_container

pytestmark = pytest.mark.images

LOOK = """\
import json, os, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
print(json.dumps({
    "environment": sorted(os.environ),
    "user": os.getuid(),
    "capabilities": int(status["CapEff"], 16),
    "writes": [path for path in ("/", "/usr", "/given", "/etc") if os.access(path, os.W_OK)],
    "devices": sorted(os.listdir("/sys/class/net")),
    "arguments": sys.argv[1:],
}))
open("/tmp/file", "w").close()
print("to the other output", file=sys.stderr)
sys.exit(3)
"""


@pytest.fixture
def given(tmp_path: Path) -> Path:
    (tmp_path / "look.py").write_text(LOOK, "utf-8")
    tmp_path.chmod(0o755)
    return tmp_path


def test_a_container_shuts_in(
    given: Path, client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "_TOOLS", ("a-tool-that-is-not-there",))
    made: list[str] = []

    def empty_image(*arguments: Any) -> str:
        made.append(image_of(*arguments))
        return made[-1]

    image_of = sandbox_container._empty_image
    monkeypatch.setattr(sandbox_container, "_empty_image", empty_image)
    run = run_python(given, "/given/look.py", "a b", "$HOME")
    assert (run.code, run.err) == (3, "to the other output\n")
    assert json.loads(run.out) == {
        "environment": ["HOME", "LANG", "PATH", "PYTHONPATH"],
        "user": 65534,
        "capabilities": 0,
        "writes": [],
        "devices": ["lo"],
        "arguments": ["a b", "$HOME"],
    }
    [image] = made
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get(image)


def test_what_the_engine_refuses(given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = given / "gone"
    monkeypatch.setattr(sandbox, "_TOOLS", ("a-tool-that-is-not-there",))
    with pytest.raises(SandboxError, match=f"a-tool-that-is-not-there, and .*{gone}"):
        run_python(gone, "/given/look.py")
    with pytest.raises(NoContainerError, match="did not answer within 1 seconds"):
        run_in_container(
            ["sleep", "60"], given, ["/usr", "/bin", "/lib", "/lib64"], seconds=1, most=9
        )
