"""Fetches what a request names by URL, if the operator allowed that address.

By default nothing is fetched. DLC_INPUT_URLS lists prefixes that are. The host's addresses are
checked after they are resolved, and the connection goes to the address that was checked: those of
private networks are refused, but for DLC_INPUT_NETWORKS. Redirects are refused. Size and time have
limits, which are those of a request: all of its URLs share them.

Standard library only, Python 3.6 and later: this file is the same in every image.
"""

import contextlib
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from urllib.parse import unquote, urlsplit

from dlc_limits import RequestError, limit, split_names, too_large

PREFIXES = "DLC_INPUT_URLS"
NETWORKS = "DLC_INPUT_NETWORKS"
NOT_ALLOWED = (
    "inputs cannot be URLs: send the content itself. The operator of this endpoint can allow some "
    "with DLC_INPUT_URLS=https://example.com/folder/"
)
PORTS = {"http": 80, "https": 443}
PIECE_BYTES = 65536


def is_url(text):
    return re.match(r"\s*[A-Za-z][A-Za-z0-9+.-]*:/", text[:100]) is not None


class Budget:
    """The time and the bytes that the URLs of one request may take together."""

    def __init__(self):
        self._seconds = limit("DLC_MAX_DOWNLOAD_SECONDS")
        self._end = None
        self.most = limit("DLC_MAX_DOWNLOAD_MB") * 1000000

    def left(self):
        """Seconds that are left, of a clock that starts when it is asked first."""
        now = time.monotonic()
        self._end = self._end or now + self._seconds
        if now >= self._end:
            raise self.slow()
        return self._end - now

    def ended(self):
        return self._end is not None and time.monotonic() >= self._end - 0.1

    def slow(self):
        message = "the URL did not answer within {} s (DLC_MAX_DOWNLOAD_SECONDS)"
        return RequestError(message.format(self._seconds))


def fetch(url, budget):
    """The content of a URL, as bytes; RequestError if it cannot be had."""
    if not any(matches(url, prefix) for prefix in split_names(PREFIXES)):
        raise RequestError(NOT_ALLOWED)
    parts = urlsplit(url)
    try:
        return download(parts, checked_address(parts, budget), budget)
    except RequestError:
        raise
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise RequestError("the URL cannot be fetched: {}".format(type(error).__name__)) from None


def matches(url, prefix):
    """Whether a URL is below a prefix: same scheme, host and port, and a path below its path."""
    try:
        found, allowed = urlsplit(url), urlsplit(prefix)
        same = (
            found.scheme.lower() in PORTS
            and found.scheme.lower() == allowed.scheme.lower()
            and bool(found.hostname)
            and found.hostname == allowed.hostname
            and port_of(found) == port_of(allowed)
        )
    except ValueError:
        return False
    path, below = found.path or "/", allowed.path or "/"
    plain = unquote(unquote(path))
    return (
        same
        and "@" not in found.netloc
        and "\\" not in plain
        and not re.search(r"[\x00-\x20\x7f-\U0010ffff]", url)
        and ".." not in plain.split("/")
        and (path == below or path.startswith(below if below.endswith("/") else below + "/"))
    )


def port_of(parts):
    return parts.port or PORTS.get(parts.scheme.lower())


def checked_address(parts, budget):
    """An address of the host that may be asked; RequestError if one of them may not."""
    found = resolved(parts.hostname, port_of(parts), budget)
    addresses = [each[4][0].partition("%")[0] for each in found]
    allowed = [ipaddress.ip_network(each) for each in split_names(NETWORKS)]
    for address in addresses:
        if not may_ask(ipaddress.ip_address(address), allowed):
            raise RequestError("the URL's host has an address that is not public")
    return addresses[0]


def resolved(host, port, budget):
    """What the name server says, which has no time limit of its own that is ours to set."""
    found = []

    def ask():
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, ValueError) as error:
            found.append(error)

    thread = threading.Thread(target=ask)
    thread.daemon = True
    thread.start()
    thread.join(budget.left())
    if not found:
        raise budget.slow()
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def may_ask(address, allowed):
    """Whether an address is public, or in a network that the operator allowed."""
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    if address.version == 6 and inner is None and int(address) >> 32 == 0x64FF9B << 64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)  # NAT64
    if inner is not None:
        return may_ask(inner, allowed)
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    if any(address in network for network in allowed if network.version == address.version):
        return True
    return address.is_global and not address.is_reserved


class Connection(http.client.HTTPConnection):
    """To an address that was checked, under the name of its host."""

    def __init__(self, parts, address, timeout):
        super(Connection, self).__init__(parts.hostname, port_of(parts), timeout=timeout)
        self._address = address
        self.answer = None
        self._secure = parts.scheme.lower() == "https"

    def connect(self):
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        self.raw = self.sock  # http.client forgets its own once an answer says that it closes
        if self._secure:
            context = ssl.create_default_context()
            # Not in one step: `shut` must know the socket that shakes hands.
            self.sock = self.raw = context.wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
            self.sock.do_handshake()


def download(parts, address, budget):
    seconds = budget.left()
    connection = Connection(parts, address, seconds)
    # A timeout of the socket alone starts again with each byte of a slow answer.
    watch = threading.Timer(seconds, lambda: shut(connection))
    watch.daemon = True
    watch.start()
    try:
        path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        connection.connect()
        budget.left()  # from here on, the watch has a socket to shut
        connection.request("GET", path, headers={"Accept-Encoding": "identity"})
        answer = connection.answer = connection.getresponse()
        if 300 <= answer.status < 400:
            raise RequestError("the URL redirects elsewhere, which is not followed")
        if answer.status != 200:
            raise RequestError("the URL answers with status {}".format(answer.status))
        content = bytearray()
        while True:
            piece = answer.read(min(PIECE_BYTES, budget.most + 1))
            content += piece
            budget.most -= len(piece)
            if budget.most < 0:
                raise too_large("what the URLs hold, in MB", "more", "DLC_MAX_DOWNLOAD_MB")
            budget.left()
            if not piece:
                return bytes(content)
    except (OSError, ValueError, http.client.HTTPException):
        if budget.ended():
            raise budget.slow() from None
        raise
    finally:
        watch.cancel()
        if connection.answer:
            connection.answer.close()
        connection.close()


def shut(connection):
    with contextlib.suppress(OSError, AttributeError):
        # Not SSLSocket's own, which takes from the reader what it reads with.
        socket.socket.shutdown(connection.raw, socket.SHUT_RDWR)
