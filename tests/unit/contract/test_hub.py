"""The stand-ins for the Hub and the package index, without an engine."""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import importlib.util
import json
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme

from builder.contract import hub
from builder.contract.hub import HubModel, Request
from builder.contract.index import wheel
from builder.serve.programs import FILES

TINY = {"config.json": b"{}", "model.safetensors": b"weights"}
OLDER = {**TINY, "config.json": b'{"older": true}'}
MODELS = {
    "tests/public": HubModel(revisions={"main": TINY, "older": OLDER}),
    "plain": HubModel(revisions={"main": TINY}),
    "tests/redirected": HubModel(revisions={"main": TINY}, redirects=True),
    "tests/private": HubModel(revisions={"main": OLDER}, private=True),
    "tests/with-code": HubModel(revisions={"main": {**TINY, "code/inference.py": b"1"}}),
}
MAIN, OLDER_COMMIT = (MODELS["tests/public"].commit(name) for name in ("main", "older"))
# As `git hash-object` has it.
OLDER_CONFIG = hashlib.sha1(b"blob 15\0" + OLDER["config.json"], usedforsecurity=False).hexdigest()
GOOD, WRONG = (
    {"Authorization": f"Bearer {token}"} for token in (hub.TOKEN, "hf_" + "somebody-else's")
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """A status, headers by lower-case names, and a body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def refusal(self) -> tuple[int, str]:
        """The status, and the code by which huggingface_hub tells errors apart."""
        return self.status, self.headers.get("x-error-code", "")


Ask = Callable[..., Answer]


@pytest.fixture(scope="module")
def program() -> Any:
    """The module hub_server."""
    spec = importlib.util.spec_from_file_location("hub_server", FILES / "hub_server.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ask(program: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Asks a running stand-in, whose certificate is checked."""
    authority = trustme.CA()
    root = tmp_path_factory.mktemp("hub")
    for path, content in hub.files_of(MODELS).items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    folder = root / hub.FOLDER.lstrip("/")
    pem = authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem
    (folder / "server.pem").write_bytes(pem.bytes())
    server = program.Server(folder, ("127.0.0.1", 0))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    context = ssl.create_default_context()
    authority.configure_trust(context)

    def invoke(path: str, method: str = "GET", host: str = hub.HOST, **headers: str) -> Answer:
        port: int = server.server_address[1]
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
        connection.request(method, path, headers={"Host": host, **headers})
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        body = answer.read()
        connection.close()
        return Answer(status=answer.status, headers=found, body=body)

    yield invoke
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "commit"),
    [
        ("tests/public", MAIN),
        ("tests/public/revision/main", MAIN),
        ("tests/public/revision/older", OLDER_COMMIT),
        (f"tests/public/revision/{OLDER_COMMIT}", OLDER_COMMIT),
        ("plain", MAIN),
        ("plain/revision/main", MAIN),
    ],
)
def test_model(path: str, commit: str, ask: Ask) -> None:
    answer = ask(f"/api/models/{path}")
    assert answer.status == 200
    told = json.loads(answer.body)
    assert told["id"] == told["modelId"] == path.partition("/revision")[0]
    assert told["sha"] == commit
    assert [file["rfilename"] for file in told["siblings"]] == sorted(TINY)


def test_files_in_folders(ask: Ask) -> None:
    told = json.loads(ask("/api/models/tests/with-code").body)["siblings"]
    assert {"rfilename": "code/inference.py"} in told
    assert {"rfilename": "code"} not in told
    assert ask("/tests/with-code/resolve/main/code/inference.py").body == b"1"


def test_tree(ask: Ask) -> None:
    [config, weights] = json.loads(ask("/api/models/tests/public/tree/older?recursive=True").body)
    assert config == {"type": "file", "path": "config.json", "size": 15, "oid": OLDER_CONFIG}
    assert weights["path"] == "model.safetensors"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_small_file(method: str, ask: Ask) -> None:
    answer = ask("/tests/public/resolve/older/config.json", method)
    assert answer.status == 200
    assert answer.body == (OLDER["config.json"] if method == "GET" else b"")
    assert answer.headers["content-length"] == "15"
    assert answer.headers["x-repo-commit"] == OLDER_COMMIT
    assert answer.headers["etag"] == f'"{OLDER_CONFIG}"'


def test_large_file_is_on_another_host(ask: Ask) -> None:
    digest = hashlib.sha256(b"weights").hexdigest()
    answer = ask("/tests/public/resolve/main/model.safetensors", "HEAD")
    assert answer.status == 302
    assert answer.headers["x-linked-etag"] == f'"{digest}"'
    assert answer.headers["x-linked-size"] == "7"
    host, _, path = answer.headers["location"].removeprefix("https://").partition("/")
    assert host == hub.LARGE_FILES_HOST
    assert ask(f"/{path}", host=host).body == b"weights"
    assert ask("/tests/public/" + "0" * 64, host=host).status == 404


def test_small_file_behind_a_redirect(ask: Ask) -> None:
    answer = ask("/tests/redirected/resolve/main/config.json", "HEAD")
    assert answer.status == 307
    location = answer.headers["location"]
    assert location.startswith(f"/api/resolve-cache/models/tests/redirected/{MAIN}/config.json?")
    found = ask(location)
    assert (found.status, found.body) == (200, b"{}")
    assert found.headers["x-repo-commit"] == MAIN
    assert found.headers["etag"] == answer.headers["x-linked-etag"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/models/tests/private",
        "/api/models/tests/private/revision/main",
        "/tests/private/resolve/main/config.json",
        "/api/models/tests/none",
        "/api/models/none",
    ],
)
def test_stranger_is_not_told_what_there_is(path: str, ask: Ask) -> None:
    assert ask(path).refusal == (401, "RepoNotFound")
    assert ask(path, **WRONG).refusal == (401, "")
    answer = ask(path, **GOOD)
    assert answer.refusal == ((200, "") if "private" in path else (404, "RepoNotFound"))


def test_wrong_token_opens_nothing(ask: Ask) -> None:
    answer = ask("/api/models/tests/public", **WRONG)
    assert answer.status == 401
    assert answer.headers["x-error-message"] == "Invalid credentials in Authorization header"


def test_who_am_i(ask: Ask) -> None:
    assert ask("/api/whoami-v2").status == 401
    told = json.loads(ask("/api/whoami-v2", **GOOD).body)
    # What huggingface_hub's login reads.
    assert told["auth"]["accessToken"] == {"displayName": "test", "role": "read"}


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/models/tests/public/revision/v9", "RevisionNotFound"),
        ("/tests/public/resolve/v9/config.json", "RevisionNotFound"),
        ("/tests/public/resolve/main/vocab.txt", "EntryNotFound"),
        ("/tests/public/resolve/main/../hub.json", "EntryNotFound"),
        ("/", ""),
    ],
)
def test_what_is_not_there(path: str, code: str, ask: Ask) -> None:
    assert ask(path).refusal == (404, code)


def test_requests_are_told(ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    ask("/tests/private/resolve/main/config.json?download=1", "HEAD", **GOOD)
    output = capsys.readouterr().out
    assert hub.TOKEN not in output
    request = Request(**json.loads(output))
    assert request == Request(
        method="HEAD",
        path="/tests/private/resolve/main/config.json?download=1",
        status=200,
        token="good",
        host=hub.HOST,
    )
    assert request.file == "config.json"
    cached = "/api/resolve-cache/models/tests/redirected/0af1/vocab.txt?etag=%22"
    assert dataclasses.replace(request, path=cached).file == "vocab.txt"
    assert dataclasses.replace(request, path="/api/models/tests/public").file == ""


def test_commits_tell_content_and_names_apart() -> None:
    revisions = [{}, {"a": b"1"}, {"b": b"1"}, {"a": b"2"}, {"a": b"1", "b": b""}, {"a": b"1b 0 "}]
    model = HubModel(revisions={str(number): one for number, one in enumerate(revisions)})
    commits = {model.commit(revision) for revision in model.revisions}
    assert len(commits) == len(revisions)
    assert all(len(commit) == 40 for commit in commits)


@pytest.mark.integration
def test_wheel_can_be_imported_and_has_a_version(tmp_path: Path) -> None:
    [(name, content)] = wheel("dlc_tiny", "1.2.3", "ANSWER = 42\n").items()
    assert name == "dlc_tiny-1.2.3-py3-none-any.whl"
    (tmp_path / name).write_bytes(content)
    script = (
        "import dlc_tiny, importlib.metadata as m; print(dlc_tiny.ANSWER, m.version('dlc-tiny'))"
    )
    told = subprocess.check_output(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(tmp_path / name)}, text=True
    )
    assert told == "42 1.2.3\n"
    with zipfile.ZipFile(tmp_path / name) as archive:
        record = archive.read("dlc_tiny-1.2.3.dist-info/RECORD").decode()
        assert [line.partition(",")[0] for line in record.splitlines()] == archive.namelist()
        assert f"dlc_tiny.py,{expected_hash(b'ANSWER = 42' + bytes([10]))},12" in record


def expected_hash(content: bytes) -> str:
    """As the specification of RECORD wants it: SHA-256 in base64 for URLs, without padding."""
    import base64

    digest = hashlib.sha256(content).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).decode().rstrip("=")
