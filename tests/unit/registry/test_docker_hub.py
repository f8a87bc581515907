"""Docker Hub's limits of pulls, and its tokens, as a stand-in on loopback has them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from builder.engine.failures import is_limited, limit_remedy
from builder.errors import RegistryError
from builder.registry.auth import Login
from builder.registry.client import RegistryClient
from builder.registry.digests import ask
from builder.registry.limits import is_used_up, limit_words, retry_after
from tests.unit.registry.hosted import IMAGE, REPOSITORY, Handler, Hosted, error, serving

WORDS = (
    "You have reached your unauthenticated pull rate limit. "
    "https://www.docker.com/increase-rate-limit"
)


class Hub(Hosted):
    """Anybody may pull what is public, so often; HEAD counts for nothing, and is answered."""

    service = "registry.docker.io"

    def __init__(self) -> None:
        super().__init__()
        self.left = 100
        self.again = ""  # Retry-After, which it does not send for pulls, but for other limits
        self.body = error("TOOMANYREQUESTS", WORDS)
        self.kind = "application/json"

    def token(self, ask: Handler, scopes: list[str], *, known: bool) -> None:
        """For anybody: without a login to pull alone, whatever was asked."""
        ask.give(scopes if known else [each.replace(",push", "") for each in scopes])

    def answer(self, ask: Handler, path: str, query: dict[str, list[str]], body: bytes) -> bool:
        """Count pulls; who mounts needs a token for the other repository, too."""
        del body
        if ask.command == "PUT" and ask.wanted(path) not in ask.held():
            ask.challenge(ask.wanted(path))
            return True
        if ask.command == "POST" and "from" in query:
            wanted = [f"repository:{REPOSITORY}:pull,push", f"repository:{query['from'][0]}:pull"]
            if set(wanted) <= set(ask.held()):
                ask.tell(201)
            else:
                ask.challenge(*wanted)
            return True
        if "/manifests/" not in path or ask.command not in {"GET", "HEAD"}:
            return False
        headers = {
            "ratelimit-limit": "100;w=21600",
            "ratelimit-remaining": f"{self.left};w=21600",
            "docker-ratelimit-source": "192.0.2.1",
        }
        if ask.command == "HEAD":
            kinds = {"Content-Type": IMAGE.media_type, "Docker-Content-Digest": IMAGE.digest}
            ask.tell(200, b"", {**headers, **kinds})
            return True
        if self.left:
            self.left -= 1
            return False
        again = {"Retry-After": self.again} if self.again else {}
        ask.tell(429, self.body, {**headers, **again, "Content-Type": self.kind})
        return True


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub()) as server:
        yield server


def nobody(_host: str) -> Login | None:
    return None


def builder(_host: str) -> Login:
    return Login(user="builder", password="secret")


@pytest.fixture
def client(hub: Hub) -> RegistryClient:
    return RegistryClient(hub.host, logins=nobody, pause=0.01, patience=60)


GET = f"GET /v2/{REPOSITORY}/manifests/1"


def test_head_counts_for_nothing(hub: Hub, client: RegistryClient) -> None:
    hub.left = 0
    found = client.head(REPOSITORY, "1")
    assert found is not None
    assert found.digest == IMAGE.digest
    assert hub.asked[GET] == 0
    reference = f"{hub.host}/{REPOSITORY}:1"
    assert ask([reference], None)[reference].digest == IMAGE.digest
    assert hub.asked[GET] == 0


def test_limit_that_is_used_up_is_asked_once(hub: Hub, client: RegistryClient) -> None:
    hub.left = 1
    assert client.manifest(REPOSITORY, "1") == IMAGE
    with pytest.raises(RegistryError) as told:
        client.manifest(REPOSITORY, "1")
    assert hub.asked[GET] == 3, "without a token, with one, and one more"
    assert told.value.message.startswith(f"{hub.host}: {REPOSITORY}:1: 429 {WORDS} (0 of 100 pulls")
    assert "0 of 100 pulls in 6 hours are left" in told.value.message
    assert f"run `docker login {hub.host}`" in told.value.remedy
    assert "mirrors.yaml" in told.value.remedy
    assert told.value.status == 429


def test_who_is_logged_in_is_not_told_to_log_in(hub: Hub) -> None:
    hub.left = 0
    client = RegistryClient(hub.host, logins=builder, pause=0.01)
    with pytest.raises(RegistryError) as told:
        client.manifest(REPOSITORY, "1")
    assert "docker login" not in told.value.remedy
    assert told.value.remedy.startswith("wait, or pull through a mirror")


def test_it_is_asked_again_when_it_says_so(hub: Hub, client: RegistryClient) -> None:
    hub.left, hub.again = 0, "0"
    with pytest.raises(RegistryError, match="come again in 0 seconds"):
        client.manifest(REPOSITORY, "1")
    assert hub.asked[GET] == 1 + 7, "and six times more"
    hub.again = "Tue, 01 Jan 2222 00:00:00 GMT"
    with pytest.raises(RegistryError, match=r"come again in \d+ (?:second|minute|hour|day)s?\)"):
        client.manifest(REPOSITORY, "1")
    assert hub.asked[GET] == 1 + 7 + 1


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"message": "toomanyrequests: You have reached it."}', "application/json"),
        (b"Too Many Requests (HAP429).\n", "text/plain"),
        (b"<html>no</html>", "text/html"),
        (b"\xff\x1b[2J", "text/plain; charset=utf-8"),
    ],
)
def test_its_other_words(hub: Hub, client: RegistryClient, body: bytes, kind: str) -> None:
    hub.left, hub.body, hub.kind = 0, body, kind
    with pytest.raises(RegistryError) as told:
        client.manifest(REPOSITORY, "1")
    assert told.value.message.isprintable()
    words = {"application/json": "You have reached it", "text/plain": "HAP429"}
    assert words.get(kind, "429 ") in told.value.message
    assert "<html>" not in told.value.message


def test_mount_needs_a_token_for_both(hub: Hub) -> None:
    client = RegistryClient(hub.host, logins=builder, pause=0.01)
    assert client.manifest(REPOSITORY, "1") == IMAGE
    assert client.mount(REPOSITORY, IMAGE.digest, ["team/other"])
    both = [f"repository:{REPOSITORY}:pull,push", "repository:team/other:pull"]
    assert hub.scopes == [[f"repository:{REPOSITORY}:pull"], both]


def test_who_may_not_push_is_told_so(client: RegistryClient) -> None:
    with pytest.raises(RegistryError) as told:
        client.put_manifest(REPOSITORY, "2", IMAGE)
    assert told.value.status == 401, "as nobody gets a token to push with"
    assert "docker login" in told.value.remedy


@pytest.mark.parametrize("soon", ["", "0", "junk", "Mon, 99 Foo 2026", "\u0661"])
def test_headers_that_say_nothing(soon: str) -> None:
    headers = {"Retry-After": soon, "RateLimit-Remaining": soon, "RateLimit-Limit": soon}
    assert retry_after(headers) in (None, 0.0)
    assert not is_used_up(headers)
    assert isinstance(limit_words(headers), str)


def test_words_of_limits() -> None:
    assert is_limited("Error response from daemon: toomanyrequests: You have reached")
    assert is_limited("received unexpected HTTP status: 429 Too Many Requests")
    assert not is_limited("manifest unknown")
    past = {"Retry-After": "Sat, 28 Nov 2026 11:00:00 GMT", "Date": "Sat, 28 Nov 2026 12:00:00 GMT"}
    assert retry_after(past) == 0.0
    assert retry_after({"Retry-After": "Tue, 01 Jan 2222 00:00:00 -0000"}) is not None
    assert limit_words({"RateLimit-Remaining": "76"}) == "76 pulls are left"
    assert re.match("run `docker login`, ", limit_remedy("docker.io"))
