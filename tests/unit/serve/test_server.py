"""The parts of running an image that need no engine."""

import io
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from builder.errors import ContainerError
from builder.serve import model_archive
from builder.serve.run import engine_host
from builder.serve.server import Response, Server, reason


def unpacked(tar: bytes) -> dict[str, bytes | None]:
    """What a tar holds: the content of files, nothing for directories."""
    found: dict[str, bytes | None] = {}
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            file = archive.extractfile(member)
            found[member.name] = file.read() if file else None
    return found


def test_pack() -> None:
    files = {"/srv/hub/hub.json": b"{}", "empty": b"", "block": b"x" * 512}
    assert unpacked(model_archive.pack(files)) == {
        "srv/hub/hub.json": b"{}",
        "empty": b"",
        "block": b"x" * 512,
    }
    assert unpacked(model_archive.pack({})) == {}


def test_archive_of_a_directory(tmp_path: Path) -> None:
    weights = bytes(range(256)) * 8192  # more than one piece, no whole block
    (tmp_path / "model.safetensors").write_bytes(weights + b"!")
    (tmp_path / "config.json").write_bytes(b"{}")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "inference.py").write_bytes(b"")
    (tmp_path / "code" / ("long" * 40)).write_bytes(b"x" * 512)
    assert unpacked(b"".join(model_archive.archive(tmp_path))) == {
        "code": None,
        "config.json": b"{}",
        "model.safetensors": weights + b"!",
        "code/inference.py": b"",
        f"code/{'long' * 40}": b"x" * 512,
    }


def test_archive_follows_links(tmp_path: Path) -> None:
    blob = tmp_path / "blobs" / "0af1"
    blob.parent.mkdir()
    blob.write_bytes(b"{}")
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    (snapshot / "config.json").symlink_to(blob)
    (snapshot / "tokenizer.json").hardlink_to(blob)
    (snapshot / "onnx").symlink_to(blob.parent)
    assert unpacked(b"".join(model_archive.archive(snapshot))) == {
        "config.json": b"{}",
        "tokenizer.json": b"{}",
        "onnx": None,
        "onnx/0af1": b"{}",
    }


def test_archive_can_be_read_by_any_user(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir(mode=0o700)
    (tmp_path / "code" / "inference.py").touch(mode=0o600)
    with tarfile.open(fileobj=io.BytesIO(b"".join(model_archive.archive(tmp_path)))) as tar:
        modes = {member.name: (member.mode, member.uid) for member in tar}
    assert modes == {"code": (0o755, 0), "code/inference.py": (0o644, 0)}


def test_models_that_are_taken(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    model_archive.check_model(tmp_path)
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "config.json", "config.json")
    model_archive.check_model(tmp_path / "model.tar.gz")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("missing", "there is no such model"),
        ("empty", "the model directory is empty"),
        ("config.json", "the model is not a tar archive"),
    ],
)
def test_models_that_are_not(tmp_path: Path, name: str, wrong: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ContainerError) as caught:
        model_archive.check_model(tmp_path / name)
    assert caught.value.message == f"{tmp_path / name}: {wrong}"
    assert caught.value.remedy == (
        "give a directory with the model's files in it, or a model.tar.gz of them"
    )


@pytest.mark.parametrize(
    ("base_url", "host"),
    [
        ("http+docker://localhost", "127.0.0.1"),
        ("http://127.0.0.1:2375", "127.0.0.1"),
        ("http://docker:2375", "docker"),
        ("https://engine.example:2376", "engine.example"),
    ],
)
def test_engine_host(base_url: str, host: str) -> None:
    assert engine_host(base_url) == host


class Loading(BaseHTTPRequestHandler):
    """A server that says why it is not ready, as /ping does with DLC_PING=ready."""

    def do_GET(self) -> None:
        body = b'{"code": 503, "message": "model: 1 of 2 workers has loaded it"}'
        self.send_response(503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def test_what_a_server_says_while_it_is_not_ready() -> None:
    container: Any = SimpleNamespace(
        status="running", reload=lambda: None, logs=lambda **_: b"", attrs={}
    )
    with HTTPServer(("127.0.0.1", 0), Loading) as listener:
        threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True).start()
        server = Server(
            image="an image",
            url=f"http://127.0.0.1:{listener.server_port}",
            container=container,
            started=time.monotonic(),
        )
        with pytest.raises(ContainerError) as caught:
            server.wait_ready(0)
        listener.shutdown()
    assert caught.value.message == (
        f"an image is not ready after 0 s: {server.url}/ping answers 503: "
        "model: 1 of 2 workers has loaded it"
    )


def test_a_long_answer_is_cut() -> None:
    answer = Response(status=500, body=b"<p>no</p> " * 99, content_type="text/html")
    said = reason(answer)
    assert said.startswith("500: <p>no</p> <p>no</p>")
    assert said.endswith("...")
    assert len(said) < 520
