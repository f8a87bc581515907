"""A build through a site's own mirrors: all of it comes from there, and nothing of it stays.

The mirrors stand on the engine's bridge, want a password, and pass on what they are asked for: the
archive from this machine's own, the package index from a folder.
"""

from __future__ import annotations

import base64
import re
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import docker
import pytest

from builder.engine.namespace import local_name
from builder.engine.tagging import remove_image
from tests.images.conftest import ROOT
from tests.images.mirror_server import nothing_stays, serving
from tests.images.small_matrix import FRAMEWORK, LIBRARY, SMALL_NAMES, SmallMatrix

pytestmark = pytest.mark.images

NAME = SMALL_NAMES[0]
PASSWORD = "pass-5b0c0f6e9d"  # noqa: S105 - what must stay in no layer


@dataclass(kw_only=True)
class Mirror:
    """A server that passes on an archive and serves a folder as a package index."""

    upstream: dict[str, str]
    wheels: Path
    asked: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """GET with a password; set up with `mirror`."""

    mirror: Mirror

    def do_GET(self) -> None:
        wanted = "Basic " + base64.b64encode(f"builder:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != wanted:
            self.mirror.refused.append(self.path)
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.mirror.asked.append(self.path)
        kind, _, rest = self.path.lstrip("/").partition("/")
        status, body = self._index(rest) if kind == "simple" else self._archive(kind, rest)
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - its name above

    def _index(self, rest: str) -> tuple[int, bytes]:
        name = rest.strip("/")
        if name.endswith(".whl"):
            return 200, (self.mirror.wheels / name).read_bytes()
        names = [
            path.name
            for path in self.mirror.wheels.glob("*.whl")
            if path.name.split("-")[0].replace("_", "-").lower() == name
        ]
        links = "".join(f'<a href="/simple/{each}">{each}</a>' for each in names)
        return (200, links.encode()) if names else (404, b"")

    def _archive(self, kind: str, rest: str) -> tuple[int, bytes]:
        try:
            address = f"{self.mirror.upstream[kind]}/{rest}"
            with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310
                return 200, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, b""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name above
        """Say nothing."""


def archives() -> dict[str, str]:
    """Where this machine's apt gets Debian and its security updates from."""
    output = subprocess.check_output(
        ["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)"], text=True
    )
    pairs = re.findall(r"^(Debian(?:-Security)?) (\S+?)/?$", output, re.MULTILINE)
    return {name.lower(): address for name, address in pairs}


@pytest.fixture
def mirror(client: docker.DockerClient, tmp_path: Path) -> Iterator[tuple[Mirror, str]]:
    """The mirror and its address as builds see it."""
    upstream = archives()
    if {"debian", "debian-security"} - upstream.keys():
        pytest.skip("this machine's apt knows no Debian archive to pass on")
    found = Mirror(upstream=upstream, wheels=tmp_path / "wheels")
    found.wheels.mkdir()
    handler = type("Own", (Handler,), {"mirror": found})
    with serving(client, handler) as host:
        yield found, host


def test_a_build_through_mirrors(
    client: docker.DockerClient,
    mirror: tuple[Mirror, str],
    write_small: Callable[[Path], SmallMatrix],
    tmp_path: Path,
) -> None:
    served, host = mirror
    small = write_small(tmp_path)
    (tmp_path / "mirrors.yaml").unlink()
    # No step of an earlier build will do: each must ask the mirrors.
    stage = tmp_path / "templates/stages/tools.j2"
    stage.parent.mkdir(parents=True)
    text = (ROOT / "templates/stages/tools.j2").read_text("utf-8")
    first = f"FROM ${{TOOLS_BASE}} AS tools\nENV FOLDER={tmp_path}\n"
    stage.write_text(text.replace("FROM ${TOOLS_BASE} AS tools\n", first), "utf-8")
    python = (ROOT / "templates/stages/python.j2").read_text("utf-8")
    (stage.parent / "python.j2").write_text(f"ENV FOLDER={tmp_path}\n{python}", "utf-8")
    assert small.run("lock", NAME).returncode == 0
    for file in small.index.files:
        (served.wheels / file.filename).write_bytes(file.content)
    (tmp_path / "netrc").write_text(
        f"machine {host.partition(':')[0]} login builder password {PASSWORD}\n"
        f"machine http://{host} login builder password {PASSWORD}\n",
        "utf-8",
    )
    mirrors = tmp_path / "site.yaml"
    mirrors.write_text(
        f"netrc: {tmp_path / 'netrc'}\n"
        f"index: http://{host}/simple\n"
        "archives:\n"
        "  debian12:\n"
        f"    main: http://{host}/debian\n"
        f"    security: http://{host}/debian-security\n",
        "utf-8",
    )
    result = small.run("--mirrors", str(mirrors), "build", NAME)
    assert result.returncode == 0, result.stderr
    for asked in (
        "debian/dists/bookworm/",
        "debian-security/dists/bookworm-security/",
        "simple/uv",
    ):
        assert any(path.startswith(f"/{asked}") for path in served.asked), asked
    assert {f"/simple/{name}/" for name in (FRAMEWORK, LIBRARY)} <= set(served.asked)
    secrets = [text.encode() for text in (host, PASSWORD, str(mirrors))]
    nothing_stays(client, [local_name(NAME)], secrets)
    remove_image(client, local_name(NAME))
