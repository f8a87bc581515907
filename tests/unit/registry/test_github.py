"""GitHub's container registry and what it refuses, as a stand-in on loopback has it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.errors import RegistryError
from builder.registry import upload
from builder.registry.auth import Login
from builder.registry.client import RegistryClient
from tests.unit.registry.hosted import (
    IMAGE,
    INDEX,
    REPOSITORY,
    Handler,
    Hosted,
    error,
    serving,
)

LIMIT = 400
TOO_LARGE = "the request body is too large and exceeds the maximum permissible limit of 4.00MiB"


class GitHub(Hosted):
    """Its chunks are small, it mounts nothing, and it lets nobody see what is private."""

    service = "ghcr.io"

    def __init__(self) -> None:
        super().__init__()
        self.refuses = ""  # what it says to who writes
        self.largest_put = 1 << 30
        self.tag_pages = [["1", "index"], ["3"]]

    def token(self, ask: Handler, scopes: list[str], *, known: bool) -> None:
        """None for what is private or absent, and none for other repositories."""
        others = [each for each in scopes if f":{REPOSITORY}:" not in each]
        if known and not others:
            ask.give(scopes)
        elif not known and self.public and not others:
            ask.give([each.replace(",push", "") for each in scopes])
        else:
            ask.tell(403, error("DENIED", "requested access to the resource is denied"))

    def answer(self, ask: Handler, path: str, query: dict[str, list[str]], body: bytes) -> bool:
        """To a token that is for less it says 403, with no word of what it wants."""
        writes = ask.command not in {"GET", "HEAD"}
        if writes and not any(each.endswith("push") for each in ask.held()):
            ask.tell(403, error("DENIED", "denied"))
        elif writes and self.refuses:
            ask.tell(403, error("DENIED", self.refuses))
        elif ask.command == "DELETE":
            ask.tell(405, error("UNSUPPORTED", "The operation is unsupported."))
        elif ask.command == "PATCH" and len(body) > LIMIT:
            ask.tell(416, error("REQUESTED_RANGE_NOT_SATISFIABLE", TOO_LARGE))
        elif ask.command == "PUT" and len(body) > self.largest_put:
            ask.tell(413, error("SIZE_INVALID", "too much"))
        elif path.endswith("/tags/list"):
            self.tags(ask, query)
        else:
            return False
        return True

    def tags(self, ask: Handler, query: dict[str, list[str]]) -> None:
        """By pages, the next at an address without a host."""
        number = int(query.get("last", ["0"])[0])
        following = f'</v2/{REPOSITORY}/tags/list?last={number + 1}&n=0>; rel="next"'
        more = number + 1 < len(self.tag_pages)
        body = str({"tags": self.tag_pages[number]}).replace("'", '"').encode()
        ask.tell(200, body, {"Link": following} if more else {})


@pytest.fixture
def github() -> Iterator[GitHub]:
    with serving(GitHub()) as server:
        yield server


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(upload, "SMALL_CHUNK_BYTES", LIMIT)


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    path = tmp_path / "layer"
    path.write_bytes(os.urandom(3500))
    return path


def nobody(_host: str) -> Login | None:
    return None


def builder(_host: str) -> Login:
    return Login(user="builder", password="secret")


@pytest.fixture
def client(github: GitHub) -> RegistryClient:
    return RegistryClient(github.host, logins=builder, pause=0.01, patience=60)


def digest(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def put(client: RegistryClient, layer: Path) -> None:
    client.put_file(REPOSITORY, digest(layer), layer, lambda _: None)


def test_chunks_are_as_small_as_it_wants(
    github: GitHub, client: RegistryClient, layer: Path, tmp_path: Path
) -> None:
    put(client, layer)
    assert github.blobs[digest(layer)] == layer.read_bytes()
    assert github.chunks == [LIMIT] * 8 + [300]
    # It is known by now, so no chunk is refused of the next layer.
    github.chunks.clear()
    github.asked.clear()
    other = tmp_path / "other"
    other.write_bytes(os.urandom(900))
    put(client, other)
    assert github.blobs[digest(other)] == other.read_bytes()
    assert github.chunks == [LIMIT, LIMIT, 100]
    assert github.asked[f"PATCH /v2/{REPOSITORY}/blobs/upload/1"] == 3


def test_one_request_that_is_too_large(github: GitHub, client: RegistryClient, layer: Path) -> None:
    """What is before a registry may take less in one request than it does."""
    github.largest_put = LIMIT
    layer.write_bytes(os.urandom(900))
    put(client, layer)
    assert github.blobs[digest(layer)] == layer.read_bytes()
    assert github.chunks == [LIMIT, LIMIT, 100]


def test_token_for_more_where_it_says_only_no(github: GitHub, client: RegistryClient) -> None:
    assert client.manifest(REPOSITORY, "1") == IMAGE
    client.put_manifest(REPOSITORY, "2", IMAGE)
    assert github.manifests["2"] == IMAGE
    pull = f"repository:{REPOSITORY}:pull"
    assert github.scopes == [[pull], [f"{pull},push"]]


@pytest.mark.parametrize(
    "words",
    [
        "permission_denied: write_package",
        "permission_denied: create_package",
        "installation not allowed to Create organization package",
    ],
)
def test_who_may_not_write(github: GitHub, client: RegistryClient, layer: Path, words: str) -> None:
    github.refuses = words
    for number in range(2):
        with pytest.raises(RegistryError) as told:
            if number:
                put(client, layer)
            else:
                client.put_manifest(REPOSITORY, "2", IMAGE)
        assert f"403 {words}" in told.value.message
        assert "`write:packages`" in told.value.remedy
        assert "`permissions: packages: write`" in told.value.remedy
        assert told.value.status == 403
    assert sum(github.asked.values()) < 12, "nothing of it is tried again"


def test_private_and_absent_are_one_to_strangers(github: GitHub) -> None:
    github.public = False
    client = RegistryClient(github.host, logins=nobody, pause=0.01)
    with pytest.raises(RegistryError) as told:
        client.head(REPOSITORY, "1")
    assert f"{REPOSITORY} is not there, or not for everybody (403 requested" in told.value.message
    assert told.value.remedy == f"run `docker login {github.host}`"


def test_who_may_not_see_is_told_so(client: RegistryClient) -> None:
    with pytest.raises(RegistryError) as told:
        client.head("else/where", "1")
    assert "its token server gives no access to else/where (403" in told.value.message
    assert "with an account that has permission" in told.value.remedy


def test_login_that_it_does_not_know(github: GitHub) -> None:
    github.public = False
    client = RegistryClient(github.host, logins=lambda _: Login(user="x", password="y"), pause=0.01)
    with pytest.raises(RegistryError, match="its token server gives no access to team/image"):
        client.head(REPOSITORY, "1")


def test_nothing_is_mounted(github: GitHub, client: RegistryClient, layer: Path) -> None:
    """It begins an upload; the one that its token server has no token for is passed over."""
    assert not client.mount(REPOSITORY, digest(layer), [REPOSITORY, "else/where"])
    put(client, layer)
    assert digest(layer) in github.blobs


def test_tags_by_pages(client: RegistryClient) -> None:
    assert client.tags(REPOSITORY) == ["1", "3", "index"]


def test_indexes_and_layers_of_zstd(client: RegistryClient) -> None:
    assert client.manifest(REPOSITORY, "index") == INDEX
    client.put_manifest(REPOSITORY, "zstd", IMAGE)
    found = client.manifest(REPOSITORY, "zstd")
    assert found == IMAGE
    assert found.document["layers"][0]["mediaType"].endswith("+zstd")


def test_upload_that_it_has_forgotten(github: GitHub, client: RegistryClient, layer: Path) -> None:
    """It says 404 and BLOB_UPLOAD_INVALID; the layer begins again."""
    kept, github.uploads = github.uploads, Forgetful()
    assert kept == {}
    put(client, layer)
    assert github.blobs[digest(layer)] == layer.read_bytes()


class Forgetful(dict[str, bytes]):
    """Loses an upload once, in its middle."""

    lost = False

    def __setitem__(self, key: str, value: bytes) -> None:
        super().__setitem__(key, value)
        if len(value) == 2 * LIMIT and not self.lost:
            self.lost = True
            del self[key]
            super().__setitem__("gone", value)
