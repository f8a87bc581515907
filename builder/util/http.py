"""The one way in which the tool itself speaks HTTP: certificates, proxies and credentials.

Certificates are the caller's (see `certificates`). Proxies are those of the environment, but none
leads to this machine itself. Credentials are those of the address, of the site's mirrors, else of
the caller's netrc; an answer that leads to another host takes none of them there.
"""

from __future__ import annotations

import netrc
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.utils import get_netrc_auth
from urllib3.util.retry import Retry

from builder.errors import LockError
from builder.util.certificates import ca_bundle
from builder.util.memory import memory_files

__all__ = ["BUSY", "Session", "download", "is_loopback"]

# What servers answer that have too much to do just now.
BUSY = frozenset({429, 500, 502, 503, 504})
_LOOPBACK = re.compile(r"(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?")

TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two bytes
LONGEST_PAUSE = 120.0


class _Patience(Retry):
    def parse_retry_after(self, retry_after: str) -> float:
        return min(super().parse_retry_after(retry_after), LONGEST_PAUSE)


class Session(requests.Session):
    """A session of requests with the tool's idea of certificates, proxies and credentials."""

    def __init__(
        self,
        *,
        credentials: str = "",
        logins: Mapping[str, tuple[str, str]] = {},
        pause: float = 0.5,
        retries: int = 5,
        pool: int = 4,
    ) -> None:
        """`credentials` is the text of a netrc file, which goes before the caller's own.

        `logins` are users and passwords by host, and go before both.

        What breaks off, or is refused for the moment, is tried again `retries` times; the first
        pause has `pause` seconds. BuildError if certificates are named that are not there.
        """
        super().__init__()
        again = _Patience(
            total=retries,
            connect=min(4, retries),
            backoff_factor=pause,
            status_forcelist=BUSY,
            # Each of ours may come twice: POST only begins an upload, or asks for a token.
            allowed_methods={"GET", "HEAD", "POST", "PUT"},
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            self.mount(scheme, HTTPAdapter(max_retries=again, pool_maxsize=pool))
        self._bundle = str(ca_bundle() or "") or True
        self._logins = {
            **_logins(credentials),
            **{host: HTTPBasicAuth(*login) for host, login in logins.items()},
        }

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send it, and whatever its answer leads to; requests calls this for every hop."""
        if options.get("timeout") is None:
            options["timeout"] = TIMEOUT
        # requests itself knows two of the variables, and prefers them to what a session is told.
        options["verify"] = self._bundle
        # No proxy leads to this machine itself.
        if is_loopback(urlsplit(str(request.url)).netloc.rpartition("@")[2]):
            options["proxies"] = {}
        return super().send(request, **options)

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Add what is known of the host, unless the request or its address says who asks."""
        address = urlsplit(str(request.url))
        if request.auth is None and not address.username:
            request.auth = self._logins.get(address.hostname or "")
        return super().prepare_request(request)

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Take no credentials to another host; what is known of that one is its own."""
        url, before = str(prepared_request.url), str(response.request.url)
        if not self.should_strip_auth(before, url):  # type: ignore[no-untyped-call]
            return
        prepared_request.headers.pop("Authorization", None)
        address = urlsplit(url)
        if address.scheme == "https" or is_loopback(address.netloc):
            login = self._logins.get(address.hostname or "") or get_netrc_auth(url)
            if login and self.trust_env:
                prepared_request.prepare_auth(login)


def download(session: Session, url: str, into: Path, *, most: int) -> None:
    """Write what an address has to a file; OSError, which requests' errors are, if it cannot.

    It may have `most` bytes.
    """
    with session.get(url, stream=True) as answer:
        answer.raise_for_status()
        with into.open("wb") as file:
            for block in answer.iter_content(1 << 16):
                file.write(block)
                if file.tell() > most:
                    raise OSError(f"it has more than {most} bytes")


def _logins(credentials: str) -> Mapping[str, HTTPBasicAuth]:
    """Logins by host, of the text of a netrc file; LockError if it is none."""
    if not credentials:
        return {}
    with memory_files() as files:
        try:
            hosts = netrc.netrc(files.add("dlc-netrc", credentials)).hosts
        except netrc.NetrcParseError as error:
            raise LockError(
                f"the netrc file of the mirrors is none, see its line {error.lineno}",
                remedy="fix it, or remove `netrc` from the mirrors",
            ) from error
    return {
        # `machine http://HOST` is how apt is told that plain HTTP will do.
        host.rpartition("://")[2]: HTTPBasicAuth(login, password or "")
        for host, (login, _, password) in hosts.items()
    }


def is_loopback(host: str) -> bool:
    """Whether a host is on this machine, so that it may speak plain HTTP, as for Docker.

    >>> is_loopback("127.0.0.1:5000"), is_loopback("localhost.example.com")
    (True, False)
    """
    return _LOOPBACK.fullmatch(host) is not None
