"""The client of registries against one of our own that misbehaves on demand."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from builder.errors import RegistryError
from builder.registry.auth import Login, of_docker
from builder.registry.client import DOCKER_MANIFEST, OCI_INDEX, Manifest, RegistryClient
from builder.release.compare import OCI, SAGEMAKER, Remote, misfit, oci_misfit

BASIC = "Basic " + base64.b64encode(b"builder:secret").decode()


def packed(document: Any) -> bytes:
    return json.dumps(document).encode()


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


CONFIG = packed({"config": {"Labels": {"dlc.key": "abc"}}})
LAYER = {"size": 5, "digest": digest_of(b"layer")}
IMAGE = Manifest(
    content=packed(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": {"size": len(CONFIG), "digest": digest_of(CONFIG)},
            "layers": [LAYER],
        }
    ),
    media_type=DOCKER_MANIFEST,
)
INDEX = Manifest(
    content=packed(
        {
            "manifests": [
                {"digest": "sha256:0", "platform": {"os": "unknown", "architecture": "unknown"}},
                {"digest": IMAGE.digest, "platform": {"os": "linux", "architecture": "amd64"}},
            ]
        }
    ),
    media_type=OCI_INDEX,
)


class Registry(ThreadingHTTPServer):
    """What is stored, and what goes wrong: a list of faults, one for each request to come."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server_address[1]}"
        self.manifests = {"1": IMAGE, IMAGE.digest: IMAGE, "index": INDEX}
        self.blobs = {digest_of(CONFIG): CONFIG}
        self.faults: list[str] = []
        self.asked: Counter[str] = Counter()
        self.digests = True
        self.auth = ""
        self.tokens = 0
        self.form: dict[str, list[str]] = {}
        self.says: dict[str, bytes] = {}  # in place of what is right, by address
        self.errors = b""
        self.location = "/v2/team/image/blobs/uploads/1?state=x"
        self.following = '</v2/team/image/tags/list?last=b>; rel="next"'
        self.realm = f"http://{self.host}/token"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is none of ours."""


class Handler(BaseHTTPRequestHandler):
    server: Registry
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else an answer waits 40 ms to be acknowledged

    def do_GET(self) -> None:
        server, address = self.server, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server.asked[f"{self.command} {address.path}"] += 1
        if address.path in server.says:
            self.tell(200, server.says[address.path])
            return
        if address.path == "/token":
            if body:
                server.form = parse_qs(body.decode())
            elif self.headers.get("Authorization") != BASIC:
                self.tell(401)
                return
            server.tokens += 1
            self.tell(200, packed({"token": f"token-{server.tokens}"}))
            return
        if self.faults():
            return
        wanted = {"": "", "basic": BASIC, "bearer": f"Bearer token-{server.tokens}"}[server.auth]
        if wanted and ((not server.tokens and wanted != BASIC) or self.sent() != wanted):
            bearer = f'Bearer realm="{server.realm}",service="us",scope="s"'
            self.tell(
                401, WWW_Authenticate=bearer if server.auth == "bearer" else 'Basic realm="r"'
            )
            return
        self.serve(address.path.removeprefix("/v2/team/image/"), address.query, body)

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815 - the names that the server looks for

    def sent(self) -> str:
        return self.headers.get("Authorization", "")

    def faults(self) -> bool:
        """Do the next thing that is to go wrong, if any."""
        fault = self.server.faults.pop(0) if self.server.faults else ""
        if fault == "drop":
            self.close_connection = True
        elif fault == "half":
            self.send_response_only(200)
            self.send_header("Content-Type", DOCKER_MANIFEST)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"{")
            self.close_connection = True
        elif fault == "expire":
            self.server.tokens += 1
            return False
        elif fault:
            status, _, after = fault.partition(" ")
            self.tell(
                int(status),
                b'{"errors": [{"code": "SLOW", "message": "later"}]}',
                Retry_After=after,
            )
        return bool(fault)

    def serve(self, what: str, query: str, body: bytes) -> None:
        kind, _, name = what.partition("/")
        server = self.server
        if self.command == "PUT" and kind == "manifests":
            if name == "refused":
                self.tell(400, server.errors)
                return
            type_ = self.headers["Content-Type"]
            server.manifests[name] = Manifest(content=body, media_type=type_)
            self.tell(201, Docker_Content_Digest=digest_of(body))
        elif self.command == "POST":
            self.tell(202, Location=server.location)
        elif self.command == "PUT":
            server.blobs[parse_qs(query)["digest"][0]] = body
            self.tell(201)
        elif kind == "tags" and "last" not in query:
            self.tell(200, packed({"tags": ["b", "a"]}), Link=server.following)
        elif kind == "tags":
            self.tell(200, packed({"tags": ["c"]}))
        elif kind == "manifests" and name in server.manifests:
            found = server.manifests[name]
            digest = found.digest if server.digests else ""
            self.tell(
                200, found.content, Content_Type=found.media_type, Docker_Content_Digest=digest
            )
        elif kind == "blobs" and name in server.blobs:
            self.tell(200, server.blobs[name])
        else:
            self.tell(404, b'{"errors": [{"code": "UNKNOWN", "message": "unknown"}]}')

    def tell(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response_only(status)
        for key, value in headers.items():
            if value:
                self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)


@contextmanager
def serving() -> Iterator[Registry]:
    with Registry() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def liar() -> Iterator[Registry]:
    """One that says anything; for hypothesis, which asks it many times."""
    with serving() as server:
        yield server


def nobody(_host: str) -> Login | None:
    return None


def builder(_host: str) -> Login:
    return Login(user="builder", password="secret")


@pytest.fixture
def client(registry: Registry) -> RegistryClient:
    return RegistryClient(registry.host, logins=nobody, pause=0.01)


REPOSITORY = "team/image"


def test_reading(client: RegistryClient) -> None:
    found = client.head(REPOSITORY, "1")
    assert found is not None
    assert (found.digest, found.size) == (IMAGE.digest, len(IMAGE.content))
    assert client.manifest(REPOSITORY, "1") == IMAGE
    assert client.manifest(REPOSITORY, IMAGE.digest) == IMAGE
    assert client.labels(REPOSITORY, "1") == {"dlc.key": "abc"}
    assert IMAGE.size == len(CONFIG) + 5
    assert client.tags(REPOSITORY) == ["a", "b", "c"]


def test_of_an_index_it_is_the_image_for_this_platform(client: RegistryClient) -> None:
    found = client.manifest(REPOSITORY, "index")
    assert found == INDEX
    assert found.size == 0
    assert client.labels(REPOSITORY, "index") == {"dlc.key": "abc"}


def test_what_is_not_there(client: RegistryClient) -> None:
    assert client.head(REPOSITORY, "2") is None
    assert client.manifest(REPOSITORY, "2") is None
    assert client.labels(REPOSITORY, "2") is None
    assert not client.has_blob(REPOSITORY, digest_of(b"2"))
    with pytest.raises(RegistryError, match="has no blob"):
        client.blob(REPOSITORY, digest_of(b"2"))


def test_digest_that_the_registry_does_not_tell(registry: Registry, client: RegistryClient) -> None:
    registry.digests = False  # as ECR on GET
    found = client.head(REPOSITORY, "1")
    assert found is not None
    assert found.digest == IMAGE.digest


def test_writing(registry: Registry, client: RegistryClient) -> None:
    client.put_manifest(REPOSITORY, "2", IMAGE)
    assert client.manifest(REPOSITORY, "2") == IMAGE
    digest = client.put_blob(REPOSITORY, b"{}")
    assert client.blob(REPOSITORY, digest) == b"{}"
    assert client.put_blob(REPOSITORY, b"{}") == digest
    assert registry.asked["POST /v2/team/image/blobs/uploads/"] == 1


@pytest.mark.parametrize("what", ["manifest", "blob"])
def test_content_that_is_not_its_digest(
    registry: Registry, client: RegistryClient, what: str
) -> None:
    other = digest_of(b"other")
    registry.manifests[other], registry.blobs[other] = IMAGE, CONFIG
    with pytest.raises(RegistryError, match="it serves"):
        getattr(client, what)(REPOSITORY, other)


@pytest.mark.parametrize(
    "faults",
    [["drop"] * 3, ["500", "502", "503", "504"], ["429 0", "drop", "503 0"], ["half", "half"]],
    ids=" ".join,
)
def test_faults_that_pass(registry: Registry, client: RegistryClient, faults: list[str]) -> None:
    registry.faults = list(faults)
    assert client.manifest(REPOSITORY, "1") == IMAGE
    assert registry.faults == []


def test_writing_through_faults(registry: Registry, client: RegistryClient) -> None:
    registry.faults = ["drop", "500"]
    client.put_manifest(REPOSITORY, "2", IMAGE)
    registry.faults = ["503", "drop", "500", "", "500"]
    digest = client.put_blob(REPOSITORY, b"{}")
    assert registry.manifests["2"] == IMAGE
    assert registry.blobs[digest] == b"{}"


def test_retry_after_is_honoured_within_the_patience(registry: Registry) -> None:
    client = RegistryClient(registry.host, logins=nobody, pause=0.01, patience=60)
    registry.faults = ["429 0", "429 1"]
    client.head(REPOSITORY, "1")
    assert registry.faults == []
    registry.faults = ["429 86400"]
    with pytest.raises(RegistryError, match=r"429 later \(come again in 1 day\)"):
        client.manifest(REPOSITORY, "1")
    assert registry.asked["GET /v2/team/image/manifests/1"] == 1


def test_fault_that_stays_is_told_in_the_words_of_the_registry(
    registry: Registry, client: RegistryClient
) -> None:
    registry.faults = ["503"] * 100
    with pytest.raises(RegistryError, match="503 later; try again later") as told:
        client.manifest(REPOSITORY, "1")
    assert (told.value.status, told.value.code) == (503, "SLOW")
    assert registry.host in told.value.message


def test_nobody_there(closed_port: int) -> None:
    host = f"127.0.0.1:{closed_port}"
    with pytest.raises(RegistryError, match=f"{host}: connection refused"):
        RegistryClient(host, logins=nobody, pause=0.01).head(REPOSITORY, "1")


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_login(registry: Registry, client: RegistryClient, auth: str) -> None:
    registry.auth = auth
    known = RegistryClient(registry.host, logins=builder, pause=0.01)
    assert known.manifest(REPOSITORY, "1") == IMAGE
    known.put_manifest(REPOSITORY, "2", IMAGE)
    assert registry.tokens == (1 if auth == "bearer" else 0)
    with pytest.raises(RegistryError, match=f"run `docker login {registry.host}`"):
        client.manifest(REPOSITORY, "1")


def test_token_that_ran_out_is_replaced(registry: Registry) -> None:
    registry.auth = "bearer"
    client = RegistryClient(registry.host, logins=builder, pause=0.01)
    client.manifest(REPOSITORY, "1")
    registry.faults = ["expire"]
    client.put_manifest(REPOSITORY, "2", IMAGE)
    assert registry.manifests["2"] == IMAGE
    assert registry.tokens == 3


def test_many_threads_ask_for_one_token(registry: Registry) -> None:
    registry.auth = "bearer"
    client = RegistryClient(registry.host, logins=builder, pause=0.01)
    threads = [threading.Thread(target=client.head, args=(REPOSITORY, "1")) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert registry.tokens == 1


def test_token_of_identity(registry: Registry) -> None:
    registry.auth = "bearer"
    client = RegistryClient(registry.host, logins=lambda _: Login(identity_token="id"), pause=0.01)
    assert client.manifest(REPOSITORY, "1") == IMAGE
    assert registry.form["refresh_token"] == ["id"]
    assert registry.form["grant_type"] == ["refresh_token"]


@pytest.mark.integration
def test_login_of_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-test"
    told = '{"ServerURL": "r.example:5", "Username": "u", "Secret": "p"}'
    helper.write_text(f"#!/bin/sh\ncat > /dev/null\necho '{told}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    auth = base64.b64encode(b"a:b").decode()
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "auths": {"s.example": {"auth": auth}},
                "credHelpers": {"r.example:5": "test", "t.example": "none"},
            }
        )
    )
    assert of_docker("r.example:5") == Login(user="u", password="p")
    assert of_docker("s.example") == Login(user="a", password="b")
    assert of_docker("u.example") is None
    with pytest.raises(RegistryError, match=r"credentials for t\.example cannot be read"):
        of_docker("t.example")
    assert "secret" not in repr(Login(user="u", password="secret", identity_token="secret"))


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], "is not a JSON object"),
        ({"config": 5}, "is malformed: `config` is 5, not an object"),
        ({"config": {"digest": 5}}, "`config.digest` is 5, not a text"),
        ({"config": {"size": -1}}, "`config.size` is -1, not a non-negative number"),
        ({"layers": {}}, "`layers` is an object, not a list"),
        ({"layers": [LAYER, None]}, "`layers[1]` is None, not an object"),
        ({"layers": [{"size": "5"}]}, "`layers[0].size` is '5', not a non-negative number"),
        ({"mediaType": "\x1b[2J"}, "is no manifest of an image but '\\x1b[2J'"),
        ({"mediaType": True}, "`mediaType` is True, not a text"),
        ({"config": {"digest": "../x"}}, "is named by '../x', which is no digest"),
        ({"mediaType": OCI_INDEX, "manifests": [[]]}, "`manifests[0]` is a list, not an object"),
        ({}, "the config of team/image:f is named by '', which is no digest"),
        (
            {
                "mediaType": OCI_INDEX,
                "manifests": [{"platform": {"os": "linux", "architecture": "amd64"}}],
            },
            "the image of team/image:f for linux/amd64 is named by '', which is no digest",
        ),
    ],
)
def test_manifest_that_makes_no_sense(
    registry: Registry, client: RegistryClient, document: Any, told: str
) -> None:
    registry.manifests["f"] = Manifest(content=packed(document), media_type=DOCKER_MANIFEST)
    with pytest.raises(RegistryError) as refused:
        client.labels(REPOSITORY, "f")
    assert told in refused.value.message
    assert refused.value.message.startswith(f"{registry.host}: ")
    assert "team/image:f" in refused.value.message


def test_what_is_null_is_as_if_it_were_not_there(
    registry: Registry, client: RegistryClient
) -> None:
    for config in ({"config": {"Labels": None}}, {"config": None}, {}):
        digest = digest_of(packed(config))
        named = {"digest": digest, "size": 3, "platform": None}
        registry.blobs[digest] = packed(config)
        registry.manifests["f"] = Manifest(
            content=packed({"config": named, "layers": None, "manifests": None}),
            media_type=DOCKER_MANIFEST,
        )
        assert client.labels(REPOSITORY, "f") == {}
        found = client.manifest(REPOSITORY, "f")
        assert found is not None
        assert found.size == 3


# Anything, and what is right but for one place in it.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
PLACES = {
    "manifest": "mediaType config config.digest config.size layers layers.0 layers.0.size",
    "index": "mediaType manifests manifests.0.platform manifests.1 manifests.1.platform "
    "manifests.1.platform.os manifests.1.digest",
    "config": "config config.Labels config.Labels.dlc.key",
    "tags": "tags tags.0",
    "token": "token access_token",
    "error": "errors errors.0 errors.0.code errors.0.message errors.0.detail",
}
WHERE = st.sampled_from(
    [(kind, place) for kind, places in PLACES.items() for place in ["", *places.split()]]
)


def put(document: Any, place: str, value: Any) -> Any:
    """A copy of a document with a value at a place."""
    if not place:
        return value
    name, _, rest = place.partition(".")
    if isinstance(document, list):
        number = int(name)
        return [*document[:number], put(document[number], rest, value), *document[number + 1 :]]
    if name == "Labels":
        rest, name = "", "Labels"
        return {**document, name: {"dlc.key": value} if place.endswith("key") else value}
    return {**document, name: put(document.get(name), rest, value)}


@given(where=WHERE, value=JSON)
@example(where=("manifest", "config"), value=5)
@example(where=("config", "config.Labels"), value=["dlc.key"])
@example(where=("error", "errors.0"), value="no")
@example(where=("token", "token"), value="a\nb")
@example(where=("tags", "tags.0"), value={})
def test_whatever_a_registry_says_is_understood_or_refused(
    liar: Registry, where: tuple[str, str], value: Any
) -> None:
    kind, place = where
    right: dict[str, Any] = {
        "manifest": IMAGE.document,
        "index": {"mediaType": OCI_INDEX, **INDEX.document},
        "config": {"config": {"Labels": {}}},
        "tags": {"tags": ["a"]},
        "token": {"token": "token-1"},
        "error": {"errors": [{"code": "x", "message": "y", "detail": {}}]},
    }
    said = packed(put(right[kind], place, value))
    liar.says, liar.auth, liar.tokens = {}, "", 0
    top, config = said, packed(right["config"])
    if kind == "config":
        config = said
        named = {"digest": digest_of(config), "size": len(config)}
        top = packed({**IMAGE.document, "config": named})
    liar.blobs = {digest_of(config): config, digest_of(CONFIG): CONFIG}
    liar.manifests = {"f": Manifest(content=top, media_type=DOCKER_MANIFEST), IMAGE.digest: IMAGE}
    if kind == "tags":
        liar.says["/v2/team/image/tags/list"] = said
    if kind == "token":
        liar.auth, liar.says["/token"] = "bearer", said
    if kind == "error":
        liar.errors = said
    client = RegistryClient(liar.host, logins=builder, pause=0.0)
    with suppress(RegistryError):
        assert all(isinstance(each, str) for each in client.tags(REPOSITORY))
    with suppress(RegistryError):
        client.blob(REPOSITORY, digest_of(b"missing"))
    with suppress(RegistryError):
        client.put_manifest(REPOSITORY, "refused", IMAGE)
    with suppress(RegistryError):
        found = client.manifest(REPOSITORY, "f")
        assert found is not None
        assert found.size >= 0
        image = client.image_manifest(REPOSITORY, "f")
        assert image is not None
        labels = client.labels(REPOSITORY, "f")
        assert labels is not None
        assert all(isinstance(each, str) for each in labels.values())
        remote = Remote(top=found, manifest=image, labels=labels)
        assert isinstance(remote.image_id, str)
        assert isinstance(misfit(found, SAGEMAKER) + misfit(found, OCI) + oci_misfit(image), str)


@pytest.mark.parametrize("bad", ["http://[", "https://[::1", "http://127.0.0.1:port/"])
def test_addresses_that_are_none(registry: Registry, bad: str) -> None:
    client = RegistryClient(registry.host, logins=builder, pause=0.01)
    registry.location = bad
    with pytest.raises(RegistryError, match=registry.host):
        client.put_blob(REPOSITORY, b"{}")
    registry.following = f'<{bad}>; rel="next"'
    with pytest.raises(RegistryError, match=registry.host):
        client.tags(REPOSITORY)
    registry.auth, registry.realm = "bearer", bad
    with pytest.raises(RegistryError, match=registry.host):
        client.head(REPOSITORY, "1")


def test_tags_that_lead_in_a_circle(registry: Registry, client: RegistryClient) -> None:
    registry.following = '</v2/team/image/tags/list?n=1000>; rel="next"'
    assert client.tags(REPOSITORY) == ["a", "b"]
