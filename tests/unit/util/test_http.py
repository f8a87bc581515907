"""The tool's own HTTP client: whose certificates, proxies and credentials it uses, and where."""

from __future__ import annotations

import base64
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import requests
import trustme

from builder.errors import LockError
from builder.util.http import Session, download
from tests.quiet_server import QuietServer
from tests.unit.build.test_bake import BUNDLES

ME = "Basic " + base64.b64encode(b"me:hush").decode()


class Server:
    """Answers with what it was asked and by whom; `/to?URL` leads to another address."""

    def __init__(self, host: str, certificate: trustme.LeafCert | None = None) -> None:
        server = self
        self.seen: list[tuple[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.seen.append((self.path, self.headers.get("Authorization", "")))
                where = self.path.partition("?")[2]
                self.send_response(302 if where else 200)
                if where:
                    self.send_header("Location", where)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        self._server = QuietServer(("127.0.0.1", 0), Handler)
        self.scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.scheme = "https"
        self.url = f"{self.scheme}://{host}:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )

    def __enter__(self) -> Server:  # noqa: PYI034 - Python 3.10 has no Self
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(autouse=True)
def quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the caller's."""
    proxies = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    for name in (*BUNDLES, *proxies, *map(str.upper, proxies)):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "netrc").touch()
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def here() -> Iterator[Server]:
    with Server("127.0.0.1") as server:
        yield server


@pytest.fixture
def there() -> Iterator[Server]:
    """The same machine by another name, so another host."""
    with Server("localhost") as server:
        yield server


def test_credentials_of_the_mirrors_go_to_their_host_alone(here: Server, there: Server) -> None:
    netrc = "machine 127.0.0.1 login me password hush\n"
    with Session(credentials=netrc) as session:
        session.get(f"{here.url}/a")
        session.get(f"{there.url}/b")
        session.get(f"{here.url}/c?{there.url}/d")
        session.get(f"{there.url}/e?{here.url}/f")
    assert here.seen == [("/a", ME), (f"/c?{there.url}/d", ME), ("/f", ME)]
    assert there.seen == [("/b", ""), ("/d", ""), (f"/e?{here.url}/f", "")]


def test_a_netrc_of_the_callers(
    here: Server, there: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own"
    path.write_text("machine 127.0.0.1 login me password hush\n", "utf-8")
    monkeypatch.setenv("NETRC", str(path))
    with Session() as session:
        session.get(f"{here.url}/a?{there.url}/b")
    # What the mirrors and an index's own address say of a host goes before it.
    with Session(logins={"127.0.0.1": ("me", "other")}) as session:
        session.get(f"{here.url}/c")
    assert here.seen[0][1] == ME
    assert there.seen == [("/b", "")]
    assert here.seen[1][1] == "Basic " + base64.b64encode(b"me:other").decode()


def test_a_user_in_the_address_goes_nowhere_else(here: Server, there: Server) -> None:
    with Session() as session:
        session.get(f"{here.url.replace('//', '//me:hush@')}/a?{there.url}/b")
    assert here.seen[0][1] == ME
    assert there.seen == [("/b", "")]


def test_a_netrc_that_is_none() -> None:
    with pytest.raises(LockError, match="the netrc file of the mirrors is none"):
        Session(credentials="nonsense\n")


def test_no_proxy_leads_to_this_machine(
    here: Server, there: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", there.url)
    with Session() as session:
        session.get(f"{here.url}/a")
        assert there.seen == []
        session.get("http://elsewhere.example/b?/c")
        session.get(f"http://elsewhere.example/d?{here.url}/e")
    assert [path for path, _ in here.seen] == ["/a", "/e"]
    assert [path for path, _ in there.seen] == [
        "http://elsewhere.example/b?/c",
        "http://elsewhere.example/c",
        f"http://elsewhere.example/d?{here.url}/e",
    ]


def test_every_variable_of_certificates_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with Server("localhost", authority.issue_cert("localhost")) as server:
        with Session(retries=0) as session, pytest.raises(requests.exceptions.SSLError):
            session.get(server.url)
        # The first that is set counts, whatever those after it say.
        for name in reversed(BUNDLES):
            monkeypatch.setenv(name, str(bundle))
            with Session(retries=0) as session:
                assert session.get(server.url).status_code == 200
            monkeypatch.setenv(name, str(other))
            with Session(retries=0) as session, pytest.raises(requests.exceptions.SSLError):
                session.get(server.url)


def test_a_download_has_a_limit(here: Server, tmp_path: Path) -> None:
    with Session() as session:
        download(session, here.url, tmp_path / "file", most=2)
        assert (tmp_path / "file").read_bytes() == b"ok"
        with pytest.raises(OSError, match="it has more than 1 bytes"):
            download(session, here.url, tmp_path / "file", most=1)
