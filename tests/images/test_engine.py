"""A private engine in earnest: started from nothing, given a base, used and stopped.

The engine gets a network of its own (without any way out), so that it disturbs no other engine
on the machine and every pull from the world fails: what it has was bootstrapped here.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import docker.errors
import pytest

from builder.engine import apt, bases, connection
from builder.engine import private as private_engine
from builder.engine.bases import BaseSource
from builder.engine.usage import prune, usage
from builder.util.state import state_directory
from tests.images.printed import printed

pytestmark = [
    pytest.mark.images,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start an engine"),
    pytest.mark.skipif(not shutil.which("apt-get"), reason="engines are installed with apt"),
    pytest.mark.skipif(not shutil.which("ip"), reason="a network of its own needs ip"),
]

DEBIAN = BaseSource(
    name="debian12",
    image="debian:bookworm@sha256:88a7d30d49e1d13f0aac17b0e5fb9e291717e3a7c4a512fe56636db576383b8a",
    bootstrap="bookworm",
)
ISOLATED = """#!/bin/sh
exec unshare --net sh -c 'ip link set lo up; PATH={path} exec dockerd "$@"' dockerd "$@"
"""
REGISTRY = """
import http.server, pathlib, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.rpartition("/")[2].replace(":", "-")
        file = pathlib.Path(sys.argv[1], name)
        body = file.read_bytes() if file.is_file() else b"{}"
        self.send_response(200 if file.is_file() or self.path == "/v2/" else 404)
        if "/manifests/" in self.path:
            kind = "application/vnd.docker.distribution.manifest.v2+json"
            self.send_header("Content-Type", kind)
            self.send_header("Docker-Content-Digest", self.path.rpartition("/")[2])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
    do_HEAD = do_GET
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    """A machine with no engine but the one that the tests start; all traces are removed."""
    directory = Path(tempfile.mkdtemp(prefix="dlc-"))
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("DOCKER_", "BUILDX_")):
                patch.delenv(name)
        (directory / "bin").mkdir()
        program = directory / "bin/dockerd"
        program.write_text(ISOLATED.format(path=apt.system_path()), encoding="utf-8")
        program.chmod(0o755)
        patch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        patch.setenv("DLC_STATE", str(directory / "state"))
        patch.setenv("DOCKER_CONFIG", str(directory / "docker"))
        patch.setattr(connection, "DEFAULT_HOST", f"unix://{directory}/nowhere.sock")
        try:
            yield directory / "state"
        finally:
            private_engine.stop(say=print)
            for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
                if line.split()[4].startswith(str(directory)):  # left by the crash among the tests
                    subprocess.run(["umount", line.split()[4]], check=True)
            shutil.rmtree(directory)


@pytest.fixture(scope="module")
def private(state: Path) -> connection.Engine:
    assert connection.find() is None
    found = private_engine.up(say=print)
    assert found.host == f"unix://{state}/engine/docker.sock"
    return found


def processes(state: Path) -> list[str]:
    """Return the command lines of all processes that name the state directory."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if str(state) in line:
            lines.append(line)
    return lines


def test_up_starts_a_private_engine_with_buildx(private: connection.Engine) -> None:
    assert private.private
    assert private.version
    assert private.buildx
    status = connection.status()
    assert status.running
    assert status.data_root == str(state_directory() / "engine/data")


def test_second_up_is_the_same_engine_at_once(private: connection.Engine) -> None:
    said: list[str] = []
    assert private_engine.up(say=said.append) == private
    assert said == []


@pytest.mark.slow
def test_base_is_bootstrapped_once(private: connection.Engine, state: Path) -> None:
    base = bases.ensure(private, DEBIAN, say=print)
    assert base.how == "bootstrapped"
    assert base.reference == "dlc-base/debian12:88a7d30d49e1"
    assert not list(state.glob("bootstrap*"))
    said: list[str] = []
    assert bases.ensure(private, DEBIAN, say=said.append) == base
    assert said == []


@pytest.mark.slow
def test_bootstrapped_base_is_clean_and_kept_up_to_date(private: connection.Engine) -> None:
    base = bases.ensure(private, DEBIAN, say=print)
    script = r"""
        grep -c -- '-security main' /etc/apt/sources.list
        grep -c -- '-updates main' /etc/apt/sources.list
        find /usr/local/share/ca-certificates /var/lib/apt/lists /var/cache/apt \
            -type f ! -name lock | wc -l
        find /var/lib/dpkg/info -name usrmerge.list | wc -l
        echo $PATH
        . /etc/os-release; echo $VERSION_CODENAME
    """
    with closing(private.client()) as client:
        output = printed(client, base.reference, ["sh", "-c", script], network_mode="none")
        identity = client.images.get(base.reference)
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert output.decode().split() == ["1", "1", "0", "0", path, "bookworm"]
    assert identity.labels["dlc.base.suite"] == "bookworm"
    assert identity.attrs["Config"]["Cmd"] == ["bash"]


def test_bake_runs_on_the_engine(private: connection.Engine, tmp_path: Path) -> None:
    base = bases.ensure(private, DEBIAN, say=print)
    (tmp_path / "Dockerfile").write_text(
        f"FROM {base.reference}\nRUN echo baked > /proof\n", encoding="utf-8"
    )
    (tmp_path / "bake.json").write_text(
        json.dumps({"target": {"default": {"tags": ["dlc-test/baked:1"]}}}), encoding="utf-8"
    )
    subprocess.run(
        [*private.buildx, "bake", "--file", "bake.json", "--load"],
        check=True,
        cwd=tmp_path,
        env=private.environment(),
    )
    with closing(private.client()) as client:
        output = printed(client, "dlc-test/baked:1", ["cat", "/proof"], network_mode="none")
    assert output == b"baked\n"


def load(client: docker.DockerClient, created: str) -> str:
    """Give the engine an image of 5 MB without a name; its id."""
    layer, archive = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        add(tar, "random", os.urandom(5_000_000))
    settings = {"architecture": "amd64", "os": "linux", "config": {}, "created": created}
    diff = f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"
    config = json.dumps({**settings, "rootfs": {"type": "layers", "diff_ids": [diff]}}).encode()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        add(tar, "layer.tar", layer.getvalue())
        add(tar, "config.json", config)
        names = [{"Config": "config.json", "RepoTags": None, "Layers": ["layer.tar"]}]
        add(tar, "manifest.json", json.dumps(names).encode())
    client.images.load(archive.getvalue())
    return f"sha256:{hashlib.sha256(config).hexdigest()}"


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def test_prune_frees_what_is_of_no_use(private: connection.Engine, tmp_path: Path) -> None:
    base = bases.ensure(private, DEBIAN, say=print)
    (tmp_path / "Dockerfile").write_text(
        f"FROM {base.reference} AS other\n"
        "RUN head -c 40000000 /dev/urandom > /random\n"
        f"FROM {base.reference}\n"
        "RUN --mount=type=cache,id=kept,target=/srv head -c 20000000 /dev/urandom > /srv/random\n"
        "COPY --from=other /etc/os-release /\n",
        encoding="utf-8",
    )
    (tmp_path / "bake.json").write_text(
        json.dumps({"target": {"default": {"tags": ["dlc-test/pruned:1"]}}}), encoding="utf-8"
    )
    command = [*private.buildx, "bake", "--file", "bake.json", "--load"]
    subprocess.run(command, check=True, cwd=tmp_path, env=private.environment())
    with closing(private.client()) as client:
        old, new = load(client, "2020-01-01T00:00:00Z"), load(client, "2099-01-01T00:00:00Z")
        before = usage(private)
        assert before.untagged_images == 2
        assert before.cache_bytes > 60_000_000
        assert before.free
        freed = prune(private, keep_storage=30_000_000)
        after = usage(private)
        assert after.cache_bytes <= 30_000_000
        assert freed.cache_bytes >= 40_000_000
        assert (freed.images, after.untagged_images) == (1, 1)
        assert after.images == before.images - 1
        names = {tag for image in client.images.list() for tag in image.tags}
        assert {base.reference, "dlc-test/pruned:1"} <= names
        with pytest.raises(docker.errors.ImageNotFound):
            client.images.get(old)
        client.images.remove(new)  # it may be about to get a name
        prune(private, keep_storage=0)
        assert usage(private).cache_bytes == 0


@pytest.fixture
def registry(private: connection.Engine, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A registry beside the engine, with one image; gives its address and the digest."""
    assert private.private
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("hello"))
    layer = archive.getvalue()
    settings = {"architecture": "amd64", "os": "linux", "config": {}}
    settings["rootfs"] = {"type": "layers", "diff_ids": [keep(tmp_path, layer)]}
    config = json.dumps(settings).encode()
    kind = "application/vnd.docker."
    parts = {
        "config": {"mediaType": f"{kind}container.image.v1+json", "size": len(config)},
        "layer": {"mediaType": f"{kind}image.rootfs.diff.tar", "size": len(layer)},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}distribution.manifest.v2+json",
        "config": {**parts["config"], "digest": keep(tmp_path, config)},
        "layers": [{**parts["layer"], "digest": keep(tmp_path, layer)}],
    }
    digest = keep(tmp_path, json.dumps(manifest).encode())
    beside = ["nsenter", f"--net=/proc/{private_engine.running()}/ns/net"]
    with subprocess.Popen(
        [*beside, sys.executable, "-c", REGISTRY, str(tmp_path)],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout
        yield f"127.0.0.1:{server.stdout.readline().strip()}", digest
        server.terminate()


def keep(directory: Path, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    (directory / f"sha256-{digest}").write_bytes(content)
    return f"sha256:{digest}"


def test_base_is_pulled_where_a_registry_has_it(
    private: connection.Engine, registry: tuple[str, str]
) -> None:
    address, digest = registry
    source = BaseSource(name="hello", image=f"{address}/team/hello:1@{digest}")
    base = bases.ensure(private, source, say=print)
    assert base.how == "pulled"
    assert base.reference == f"dlc-base/hello:{digest[7:19]}"
    assert bases.ensure(private, source, say=print) == base


def test_down_leaves_no_process(private: connection.Engine, state: Path) -> None:
    with closing(private.client()) as client:
        client.containers.run(DEBIAN.reference, ["sleep", "60"], detach=True, network_mode="none")
    assert len(processes(state / "engine")) >= 3  # dockerd, containerd and the container's shim
    assert private_engine.stop(say=print)
    assert processes(state) == []
    assert connection.find() is None
    assert not private_engine.stop(say=print)


def test_engine_comes_back_after_a_crash(private: connection.Engine, state: Path) -> None:
    private_engine.up(say=print)
    pid = private_engine.running()
    assert pid
    os.kill(pid, 9)
    # One that is still ending may take a first connection and refuse the second.
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert private_engine.up(say=print) == private
    assert private_engine.running() not in (None, pid)
    with closing(private.client()) as client:
        assert client.images.get(DEBIAN.reference).id
    assert private_engine.stop(say=print)
    assert processes(state) == []
