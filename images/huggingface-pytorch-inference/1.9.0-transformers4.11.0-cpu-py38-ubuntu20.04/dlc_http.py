"""HTTP for dlc_front: requests read whole and strictly, answers of the model server, and our own.

Each request is written anew for the model server, so that both sides read the same.

Standard library only, Python 3.6 and later: this file is the same in every image.
"""

import asyncio
import json
import os
import re

from dlc_waits import Within

HEAD_BYTES = 65536
LINE_BYTES = 4096  # as in multi-model-server
PIECE_BYTES = 1 << 18
IDLE_SECONDS = 75
REQUEST_SECONDS = 300
LINGER_SECONDS = 60
KEPT_CONNECTIONS = 32
TYPES = {
    400: ("Bad Request", "BadRequestException"),
    404: ("Not Found", "ResourceNotFoundException"),
    405: ("Method Not Allowed", "MethodNotAllowedException"),
    408: ("Request Timeout", "BadRequestException"),
    413: ("Payload Too Large", "BadRequestException"),
    417: ("Expectation Failed", "BadRequestException"),
    503: ("Service Unavailable", "ServiceUnavailableException"),
}
HOP = (
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "transfer-encoding",
    "content-length",
)


class RefusedError(Exception):
    """An answer that the model server is not asked for; the connection ends after it."""

    def __init__(self, code, message, retry=None):
        self.code = code
        self.message = message
        self.retry = retry  # seconds after which it may be asked again
        self.name = os.urandom(16).hex()  # of the request, as the model server names others
        super(RefusedError, self).__init__(message)

    def encoded(self):
        phrase, kind = TYPES[self.code]
        body = {"code": self.code, "type": kind, "message": self.message}
        body = json.dumps(body, indent=2).encode("utf-8") + b"\n"
        lines = ["HTTP/1.1 {} {}".format(self.code, phrase), "Content-Type: application/json"]
        lines += ["x-request-id: " + self.name]
        lines += ["Retry-After: {}".format(self.retry)] if self.retry else []
        lines += ["Content-Length: {}".format(len(body)), "Connection: close"]
        return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body


class Request:
    """A request as both sides are to read it; its body comes later."""

    body = b""

    def __init__(self, method, target, headers, size, last):
        self.method = method
        self.target = target
        self.headers = headers
        self.size = size  # of the body; None if it comes in chunks
        self.last = last  # on its connection
        self.first_line = "{} {} HTTP/1.1".format(method, target)
        self.expects = False
        self.loads = None  # what its query says of a model to be loaded

    def encoded(self):
        lines = ["{} {} HTTP/1.1".format(self.method, self.target)]
        lines += ["{}: {}".format(*pair) for pair in self.headers]
        lines += ["Content-Length: {}".format(len(self.body))]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


class Memory:
    """What is held of requests and answers of all connections, in bytes."""

    def __init__(self, most):
        self.most = most
        self.held = 0

    def take(self, count):
        if self.held + count > self.most:
            raise RefusedError(503, "The server has no memory for this request now.", retry=1)
        self.held += count

    def leave(self, count):
        self.held -= count


# Requests


async def read_head(reader):
    """The next request without its body; nothing at the end of the connection."""
    try:
        with Within(IDLE_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise RefusedError(400, "The request ends in its head.") from None
        return None
    except asyncio.LimitOverrunError:
        raise RefusedError(400, "The head of the request is too long.") from None
    except asyncio.TimeoutError:
        return None
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    start = re.fullmatch(r"([A-Z]{1,20}) ([\x21-\x7e]+) HTTP/1\.([01])", first)
    headers = [parse_header(line) for line in lines]
    if not start:
        raise RefusedError(400, "The request is not HTTP/1.1.")
    if len(first) > LINE_BYTES:
        raise RefusedError(400, "The first line of the request is too long.")
    sizes = [value for name, value in headers if name.lower() == "content-length"]
    coding = [value.lower() for name, value in headers if name.lower() == "transfer-encoding"]
    if len(sizes) + len(coding) > 1 or coding not in ([], ["chunked"]):
        raise RefusedError(400, "How long the body is must be given once.")
    if sizes and not re.fullmatch(r"[0-9]{1,18}", sizes[0]):
        raise RefusedError(400, "Content-Length must be a number.")
    wishes = [value.lower() for name, value in headers if name.lower() == "connection"]
    last = "close" in ",".join(wishes) or start.group(3) == "0"
    kept = [pair for pair in headers if pair[0].lower() not in HOP]
    size = None if coding else int((sizes or [0])[0])
    request = Request(start.group(1), start.group(2), kept, size, last)
    for name, value in headers:
        if name.lower() == "expect":
            request.expects = True
            if value.lower() != "100-continue":
                raise RefusedError(417, "The only expectation that is met is 100-continue.")
    return request


def parse_header(line):
    name, colon, value = line.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise RefusedError(400, "The request has a header that is not HTTP's.")
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
        raise RefusedError(400, "A header has a character that it must not.")
    return name, value.strip(" \t")


class Body:
    """The bytes of a body as they come; they count as held until they are left."""

    def __init__(self, memory, most):
        self._memory = memory
        self._most = most
        self.taken = 0

    def check(self, size):
        if size > self._most:
            raise too_large(self._most)

    def leave(self):
        self._memory.leave(self.taken)
        self.taken = 0

    def turn_into(self, answer):
        """Count an answer in the place of the request."""
        self.leave()
        self.taken = len(answer)
        self._memory.leave(-self.taken)

    async def read(self, reader, size):
        """The whole body, of a size or in chunks."""
        body = bytearray()
        if size is not None:
            await self._piece(reader, size, body)
            return body
        while True:
            line = await reader.readuntil(b"\r\n")
            found = re.fullmatch(rb"([0-9A-Fa-f]{1,8})[ \t]*(;[^\r\n]*)?\r\n", line)
            if not found:
                raise RefusedError(400, "A chunk of the body has no size.")
            count = int(found.group(1), 16)
            self.check(len(body) + count)
            if count == 0:
                while await reader.readuntil(b"\r\n") != b"\r\n":
                    pass
                return body
            await self._piece(reader, count, body)
            if await reader.readexactly(2) != b"\r\n":
                raise RefusedError(400, "A chunk of the body is longer than its size.")

    async def _piece(self, reader, count, body):
        while count:
            piece = await reader.read(min(count, PIECE_BYTES))
            if not piece:
                raise asyncio.IncompleteReadError(bytes(), count)
            try:
                self._memory.take(len(piece))
            except RefusedError:
                self.leave()  # at once: others may ask before this is answered
                raise
            self.taken += len(piece)
            body += piece
            count -= len(piece)


def too_large(most):
    return RefusedError(
        413, "The body is larger than {} bytes (SAGEMAKER_MAX_PAYLOAD_IN_MB).".format(most)
    )


async def linger(reader, writer):
    """Read what the client still sends, as it would not see the answer otherwise."""
    try:
        if writer.can_write_eof():
            writer.write_eof()
        with Within(LINGER_SECONDS):
            await discard(reader)
    except (OSError, asyncio.TimeoutError):
        pass


async def discard(reader):
    while await reader.read(PIECE_BYTES):
        pass


# The model server's answers


class Inner:
    """Connections to the model server, kept for the next request."""

    def __init__(self, port):
        self._port = port
        self._kept = []

    async def ask(self, request):
        """An answer: its status, its head without what is between two hops, and its body."""
        headless = request.method == "HEAD"  # whose answer the model server gives a body
        request.method = "GET" if headless else request.method
        while self._kept:
            reader, writer = self._kept.pop()
            if reader.at_eof() or writer.transport.is_closing():
                writer.close()
                continue
            try:
                return await self._ask(reader, writer, request, headless)
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    raise
                # It was closed as we wrote, so nothing was asked.
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=PIECE_BYTES)
        return await self._ask(reader, writer, request, headless)

    async def _ask(self, reader, writer, request, headless):
        whole = False
        try:
            writer.write(request.encoded())
            for start in range(0, len(request.body), PIECE_BYTES):
                writer.write(request.body[start : start + PIECE_BYTES])
                await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head[:-4].decode("latin-1").split("\r\n")
            headers = [line.partition(":")[::2] for line in lines]
            of_name = {name.lower(): value.strip().lower() for name, value in headers}
            size = of_name.get("content-length")
            body = await (reader.read() if size is None else reader.readexactly(int(size)))
            whole = size is not None and of_name.get("connection") != "close"
            kept = ["{}:{}".format(*pair) for pair in headers if pair[0].lower() not in HOP]
            line = first.partition(" ")[2]
            return int(line[:3]), ["HTTP/1.1 " + line, *kept], b"" if headless else body
        finally:
            if whole and len(self._kept) < KEPT_CONNECTIONS:
                self._kept.append((reader, writer))
            else:
                writer.close()
