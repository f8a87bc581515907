"""Pulling and bootstrapping bases, against a small engine of our own."""

from __future__ import annotations

import json
import os
import platform
import re
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from builder.engine import apt, bases, connection
from builder.engine.bases import BaseSource
from builder.errors import BaseImageError
from builder.util.state import state_directory

DIGEST = "sha256:" + "0123456789abcdef" * 4
TAG = "dlc-base/debian12:0123456789ab"
IMPORTED = "sha256:" + "1" * 64
PULLED = "sha256:" + "2" * 64
DEBIAN = BaseSource(name="debian12", image=f"debian:bookworm@{DIGEST}", bootstrap="bookworm")


class FakeEngine(socketserver.ThreadingUnixStreamServer):
    """An engine that keeps images in a dictionary and pulls what it is told to."""

    daemon_threads = True
    registry = True
    refusal = "lookup registry: no such host"

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Handler)
        self.host = f"unix://{path}"
        self.images: dict[str, dict[str, Any]] = {}
        self.imports: list[tuple[dict[str, list[str]], bytes]] = []
        self.silent = threading.Event()
        self.silent.set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeEngine

    def do_GET(self) -> None:
        path = unquote(re.sub(r"^/v[\d.]+", "", self.path))
        if path == "/version":
            return self.say({"Version": "27", "ApiVersion": "1.41", "Os": "linux"})
        image = self.server.images.get(path.removeprefix("/images/").removesuffix("/json"))
        return self.say(image or {"message": "no such image"}, 200 if image else 404)

    def do_POST(self) -> None:
        address = urlsplit(re.sub(r"^/v[\d.]+", "", self.path))
        query = parse_qs(address.query)
        if "fromSrc" in query:
            self.server.imports.append((query, self.chunks()))
            labels = dict(re.findall(r"(dlc\.base\.\w+)=(\w+)", str(query.get("changes"))))
            self.server.images[IMPORTED] = image(IMPORTED, Labels=labels)
            return self.say({"status": IMPORTED})
        if "fromImage" in query:
            self.server.silent.wait(10)
            name = f"{query['fromImage'][0]}@{query['tag'][0]}"
            if not self.server.registry:
                return self.say({"message": self.server.refusal}, 500)
            self.server.images[name] = image(PULLED, digests=(name,))
            return self.say({"status": "Pull complete"})
        source = unquote(address.path).removeprefix("/images/").removesuffix("/tag")
        name = f"{query['repo'][0]}:{query['tag'][0]}"
        self.server.images[name] = next(
            i for k, i in self.server.images.items() if source in (k, i["Id"])
        )
        return self.say({}, 201)

    def do_DELETE(self) -> None:
        del self.server.images[self.path.rpartition("/")[2].partition("?")[0]]
        self.say([])

    def chunks(self) -> bytes:
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def say(self, answer: Any, status: int = 200) -> None:
        body = json.dumps(answer).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def image(identity: str, *, digests: tuple[str, ...] = (), **config: object) -> dict[str, Any]:
    return {"Id": identity, "RepoDigests": list(digests), "Config": config}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    with tempfile.TemporaryDirectory(prefix="dlc-") as directory:
        monkeypatch.setenv("DLC_STATE", f"{directory}/state")
        monkeypatch.setenv("DOCKER_CONFIG", directory)
        monkeypatch.setattr(os, "geteuid", lambda: 1000)  # no test here bootstraps in earnest
        server = FakeEngine(Path(directory) / "docker.sock")
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server
        server.silent.set()
        server.shutdown()
        server.server_close()


def ensure(fake: FakeEngine, source: BaseSource = DEBIAN) -> bases.BaseImage:
    found = connection.Engine(host=fake.host, version="27", private=False)
    return bases.ensure(found, source, say=print)


def tree_maker(monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """Let a script stand for mmdebstrap, in front of which nothing is unshared."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    directory = state_directory().parent / "bin"
    directory.mkdir()
    programs = {
        "unshare": 'while [ "$1" != mmdebstrap ]; do shift; done\nexec "$@"',
        "mmdebstrap": f'echo "$@" > {directory}/arguments\ntouch "$TMPDIR/tree"\n{script}',
    }
    for name, text in programs.items():
        (directory / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return directory / "arguments"


def scratches() -> list[Path]:
    return list(state_directory().glob("bootstrap*"))


# The source


@pytest.mark.parametrize(
    ("image", "repository"),
    [
        (f"debian:bookworm@{DIGEST}", "debian"),
        (f"debian@{DIGEST}", "debian"),
        (f"registry.test:5000/team/debian@{DIGEST}", "registry.test:5000/team/debian"),
        (f"registry.test:5000/team/debian:12@{DIGEST}", "registry.test:5000/team/debian"),
    ],
)
def test_parts_of_a_source(image: str, repository: str) -> None:
    source = BaseSource(name="debian12", image=image)
    assert (source.repository, source.digest, source.reference) == (repository, DIGEST, TAG)


@pytest.mark.parametrize("image", ["debian:bookworm", f"debian@{DIGEST[:-1]}", "debian@md5:1"])
def test_a_source_must_be_pinned(image: str) -> None:
    with pytest.raises(BaseImageError, match=r"debian12 is not pinned.*end its image in @sha256:"):
        _ = BaseSource(name="debian12", image=image).reference


# What is there already


def test_a_bootstrapped_base_is_known_by_its_label(fake: FakeEngine) -> None:
    fake.images[TAG] = image(IMPORTED, Labels={"dlc.base.how": "bootstrapped"})
    base = ensure(fake)
    assert base == bases.BaseImage(name="debian12", reference=TAG, id=IMPORTED, how="bootstrapped")
    assert not state_directory().exists()  # nothing had to be locked


def test_a_pulled_base_is_known_by_its_digest(fake: FakeEngine) -> None:
    fake.images[TAG] = image(PULLED, digests=(f"debian@{DIGEST}",), Labels=None)
    assert ensure(fake).how == "pulled"


def test_a_tag_of_unknown_origin_is_replaced(fake: FakeEngine) -> None:
    fake.images[TAG] = image("sha256:3", digests=("debian@sha256:4",), Labels={})
    assert ensure(fake).id == PULLED


# Pulling


def test_pull(fake: FakeEngine) -> None:
    assert ensure(fake) == bases.BaseImage(name="debian12", reference=TAG, id=PULLED, how="pulled")
    assert set(fake.images) == {f"debian@{DIGEST}", TAG}
    fake.registry = False
    assert ensure(fake).how == "pulled"


def test_failed_pull_of_what_cannot_be_bootstrapped(fake: FakeEngine) -> None:
    fake.registry = False
    with pytest.raises(BaseImageError) as caught:
        ensure(fake, BaseSource(name="ubuntu", image=f"ubuntu:20.04@{DIGEST}"))
    assert str(caught.value) == (
        f"no base ubuntu: pulling ubuntu:20.04@{DIGEST} failed (lookup registry: no such host), "
        "and it cannot be bootstrapped; connect the engine to its registry, or to a mirror of it"
    )


@pytest.mark.parametrize(
    ("image", "login"),
    [("ubuntu:20.04", "docker login"), ("r.example:5/ubuntu:20.04", "docker login r.example:5")],
)
def test_pull_beyond_the_limit_of_a_registry(fake: FakeEngine, image: str, login: str) -> None:
    fake.registry = False
    fake.refusal = "toomanyrequests: You have reached your unauthenticated pull rate limit."
    with pytest.raises(BaseImageError, match="unauthenticated pull rate limit") as caught:
        ensure(fake, BaseSource(name="ubuntu", image=f"{image}@{DIGEST}"))
    assert caught.value.remedy.startswith(f"run `{login}`, as who is logged in may do more")
    assert "mirrors.yaml" in caught.value.remedy


def test_pull_that_hangs_is_given_up(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bases, "SILENCE_SECONDS", 0.2)
    fake.silent.clear()
    with pytest.raises(BaseImageError, match=r"no response from the registry for 0\.2 seconds"):
        ensure(fake, BaseSource(name="ubuntu", image=f"ubuntu:20.04@{DIGEST}"))


# Bootstrapping


@pytest.mark.integration
def test_bootstrap(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.registry = False
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "5")  # of the caller: the same tree for all
    arguments = tree_maker(monkeypatch, 'printf "$SOURCE_DATE_EPOCH"')
    assert ensure(fake) == bases.BaseImage(
        name="debian12", reference=TAG, id=IMPORTED, how="bootstrapped"
    )
    words = arguments.read_text(encoding="utf-8").split()
    assert words[-2:] == ["bookworm", "-"]
    assert "--variant=minbase" in words
    query, tree = fake.imports[0]
    assert tree == b"1577836800"
    assert 'CMD ["bash"]' in query["changes"]
    assert not scratches()
    ensure(fake)
    assert len(fake.imports) == 1


@pytest.mark.integration
def test_broken_bootstrap_leaves_nothing(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.registry = False
    tree_maker(monkeypatch, 'echo half; echo "I: start" >&2; echo "E: no space" >&2; exit 25')
    with pytest.raises(BaseImageError) as caught:
        ensure(fake)
    assert "(lookup registry: no such host)" in caught.value.message
    assert "bootstrapping bookworm failed (mmdebstrap: no space)" in caught.value.message
    assert "\n" not in str(caught.value)
    assert fake.images == {}
    assert not scratches()


@pytest.mark.integration
def test_bootstrap_after_one_that_was_killed(
    fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.registry = False
    tree_maker(monkeypatch, "echo tree")
    left = state_directory() / "bootstrap-debian12/mmdebstrap.x/usr"
    left.mkdir(parents=True)
    assert ensure(fake).how == "bootstrapped"
    assert not scratches()


@pytest.mark.integration
def test_ctrl_c_ends_the_bootstrap(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.registry = False
    arguments = tree_maker(monkeypatch, 'echo $$ > "$0.pid"; echo half; exec sleep 60')

    def interrupt(*_: object, **__: object) -> str:
        while not arguments.with_name("mmdebstrap.pid").exists():
            pass
        raise KeyboardInterrupt

    monkeypatch.setattr("docker.api.client.APIClient.import_image_from_stream", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ensure(fake)
    pid = arguments.with_name("mmdebstrap.pid").read_text(encoding="ascii").strip()
    assert not Path("/proc", pid).exists()
    assert fake.images == {}
    assert not scratches()


def test_bootstrap_needs_root(fake: FakeEngine) -> None:
    fake.registry = False
    with pytest.raises(BaseImageError, match=r"bootstrapping bookworm failed \(only root can\)"):
        ensure(fake)


def test_bootstrap_needs_debian(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.registry = False
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(apt, "system_path", lambda: "/nowhere")
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "fedora"})
    with pytest.raises(BaseImageError, match="mmdebstrap debian-archive-keyring cannot be inst"):
        ensure(fake)
    assert not scratches()
