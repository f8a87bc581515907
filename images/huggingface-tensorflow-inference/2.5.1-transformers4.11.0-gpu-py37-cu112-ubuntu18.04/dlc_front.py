"""Stands at the port in multi-model mode, and answers a part of the management interface.

    dlc_front.py PORT INNER     answer on PORT for a model server that listens on INNER

multi-model-server has one interface for who asks models and who manages them, and that fetches
archives by URL, takes any folder as a model and any function as its handler. What SageMaker's
multi-model contract needs passes here: load a folder below /opt/ml/models or /opt/ml/model, list,
describe, unload, and invoke. Each request is read whole, written anew, and sent on its own
connection, so that both sides read the same.

Standard library only, Python 3.6 and later: this file is the same in every image.
"""

import asyncio
import json
import os
import re
import sys
from urllib.parse import parse_qs, quote, unquote

from dlc_limits import most_bytes
from dlc_ready import refusal, wait_for_change
from dlc_requirements import why_not_met

MODELS = ("/opt/ml/models", "/opt/ml/model")
HEAD_BYTES = 65536
IDLE_SECONDS = 75
REQUEST_SECONDS = 300
TYPES = {
    400: ("Bad Request", "BadRequestException"),
    404: ("Not Found", "ResourceNotFoundException"),
    405: ("Method Not Allowed", "MethodNotAllowedException"),
    408: ("Request Timeout", "BadRequestException"),
    413: ("Payload Too Large", "BadRequestException"),
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
NAME = re.compile(r"(?!\.\.?$)[^/\\\x00-\x1f\x7f]{1,256}")


class RefusedError(Exception):
    """An answer that the model server is not asked for; the connection ends after it."""

    def __init__(self, code, message):
        self.code = code
        self.message = message
        super(RefusedError, self).__init__(message)


class Request:
    """A request as both sides are to read it."""

    def __init__(self, method, target, headers, body):
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body

    def encoded(self):
        lines = ["{} {} HTTP/1.1".format(self.method, self.target)]
        lines += ["{}: {}".format(*pair) for pair in self.headers]
        lines += ["Content-Length: {}".format(len(self.body)), "Connection: close"]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


# What may pass


def allowed(request):
    """The request as the model server gets it; RefusedError if it may not pass."""
    target = re.sub(r"^https?://[^/?#]*", "", request.target, flags=re.IGNORECASE) or "/"
    path, _, query = target.partition("?")
    names = unquote(path, errors="strict").strip("/").split("/")
    path = "/" + "/".join(quote(name, safe="") for name in names)
    if request.method == "OPTIONS" or path == "/":
        raise RefusedError(405, "Requested method is not allowed, please refer to API document.")
    if names == ["models"]:
        return models(request, query)
    if names[0] == "models" and len(names) == 2:
        if request.method not in ("GET", "DELETE"):
            raise RefusedError(405, "Models are described by GET and unloaded by DELETE.")
        query = ""
    elif not passes(names):
        raise RefusedError(404, "Requested resource is not found, please refer to API document.")
    request.target = path + ("?" + query if query else "")
    return request


def passes(names):
    """Whether a path of this many names is one of inference."""
    return (
        names in (["ping"], ["invocations"], ["execution-parameters"])
        or (names[0] == "predictions" and len(names) == 2)
        or (names[0] == "models" and len(names) == 3 and names[2] == "invoke")
    )


def models(request, query):
    given = {name: values[-1] for name, values in parse_qs(query).items()}
    request.target = "/models"
    if request.method == "GET":
        if not all(value.isdigit() for value in given.values()):
            raise RefusedError(400, "next_page_token and limit must be numbers.")
        known = [(name, given[name]) for name in ("next_page_token", "limit") if name in given]
        if known:
            request.target += "?" + "&".join("=".join(pair) for pair in known)
        return request
    if request.method != "POST":
        raise RefusedError(405, "Models are listed by GET and loaded by POST.")
    if request.body.strip():
        try:
            body = json.loads(request.body.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            raise RefusedError(400, "The body is not JSON.") from None
        if not isinstance(body, dict):
            raise RefusedError(400, "The body must be a JSON object.")
        given.update(body)
    check_load(given)
    request.body = json.dumps(given).encode("utf-8")
    request.headers = [pair for pair in request.headers if pair[0].lower() != "content-type"]
    request.headers.append(("Content-Type", "application/json"))
    return request


def check_load(given):
    """What SageMaker sends, and no more: a name, and a folder of models."""
    if set(given) - {"model_name", "url"}:
        raise RefusedError(
            400, "A model is loaded by model_name and url; nothing else is accepted."
        )
    if not all(isinstance(value, str) for value in given.values()):
        raise RefusedError(400, "model_name and url must be texts.")
    name, url = given.get("model_name"), given.get("url")
    if name is not None and not NAME.fullmatch(name):
        raise RefusedError(400, "model_name must have 1 to 256 characters, none of them a slash.")
    if url is not None:
        inside = "\0" not in url and any(
            os.path.realpath(url).startswith(os.path.realpath(each) + os.sep) for each in MODELS
        )
        if not url.startswith("/") or not inside or os.path.isfile(url):
            raise RefusedError(400, "url must be the path of a folder below {}.".format(MODELS[0]))
        why = why_not_met(url)
        if why:
            raise RefusedError(400, why)


# HTTP


async def read_request(reader, writer, most):
    """The next request, whole; nothing at the end of the connection."""
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), IDLE_SECONDS)
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
    sizes = [value for name, value in headers if name.lower() == "content-length"]
    coding = [value.lower() for name, value in headers if name.lower() == "transfer-encoding"]
    if len(sizes) + len(coding) > 1 or coding not in ([], ["chunked"]):
        raise RefusedError(400, "How long the body is must be given once.")
    if sizes and not re.fullmatch(r"[0-9]{1,18}", sizes[0]):
        raise RefusedError(400, "Content-Length must be a number.")
    if sizes and int(sizes[0]) > most:
        raise too_large(most)
    if any(name.lower() == "expect" for name, _ in headers):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = read_chunks(reader, most) if coding else reader.readexactly(int((sizes or [0])[0]))
    try:
        body = await asyncio.wait_for(body, REQUEST_SECONDS)
    except asyncio.TimeoutError:
        raise RefusedError(408, "The body did not come in time.") from None
    kept = [pair for pair in headers if pair[0].lower() not in HOP]
    wishes = [value.lower() for name, value in headers if name.lower() == "connection"]
    request = Request(start.group(1), start.group(2), kept, body)
    request.last = "close" in ",".join(wishes) or start.group(3) == "0"
    return request


def parse_header(line):
    name, colon, value = line.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise RefusedError(400, "The request has a header that is not HTTP's.")
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
        raise RefusedError(400, "A header has a character that it must not.")
    return name, value.strip(" \t")


async def read_chunks(reader, most):
    body = bytearray()
    while True:
        line = await reader.readuntil(b"\r\n")
        size = re.fullmatch(rb"([0-9A-Fa-f]{1,8})[ \t]*(;[^\r\n]*)?\r\n", line)
        if not size:
            raise RefusedError(400, "A chunk of the body has no size.")
        count = int(size.group(1), 16)
        if len(body) + count > most:
            raise too_large(most)
        if count == 0:
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
            return bytes(body)
        body += await reader.readexactly(count)
        if await reader.readexactly(2) != b"\r\n":
            raise RefusedError(400, "A chunk of the body is longer than its size.")


def too_large(most):
    return RefusedError(
        413, "The body is larger than {} bytes (SAGEMAKER_MAX_PAYLOAD_IN_MB).".format(most)
    )


def refused(error):
    phrase, kind = TYPES[error.code]
    body = {"code": error.code, "type": kind, "message": error.message}
    body = json.dumps(body, indent=2).encode("utf-8") + b"\n"
    head = (
        "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.format(error.code, phrase, len(body)).encode("ascii") + body


async def ask(request, inner):
    """The model server's answer: its head without what is between two hops, and its body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", inner, limit=HEAD_BYTES)
    headless = request.method == "HEAD"  # whose answer the model server gives a body
    try:
        request.method = "GET" if headless else request.method
        writer.write(request.encoded())
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        headers = [line.partition(":")[::2] for line in lines]
        sizes = [int(value) for name, value in headers if name.lower() == "content-length"]
        body = await (reader.readexactly(sizes[0]) if sizes else reader.read())
        kept = ["{}:{}".format(*pair) for pair in headers if pair[0].lower() not in HOP]
        return ["HTTP/1.1 " + first.partition(" ")[2]] + kept, b"" if headless else body
    finally:
        writer.close()


async def converse(reader, writer, inner, state, most):
    """Answer the requests of a connection, one after the other."""
    try:
        while True:
            request = await read_request(reader, writer, most)
            if request is None:
                return
            try:
                request = allowed(request)
            except ValueError:  # UTF-8 that is none, or a query that is none
                raise RefusedError(400, "The request cannot be read.") from None
            if request.target.partition("?")[0] == "/ping" and state["reason"]:
                writer.write(refusal(state["reason"]))
                return
            try:
                head, body = await ask(request, inner)
            except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
                writer.write(refusal("the model server does not answer"))
                return
            head += ["Content-Length: {}".format(len(body))]
            head += ["Connection: close"] if request.last else []
            writer.write("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)
            await writer.drain()
            if request.last:
                return
    except RefusedError as error:
        writer.write(refused(error))
    except (OSError, EOFError, asyncio.LimitOverrunError):
        pass  # the client has gone, or sends a line without end
    finally:
        writer.close()


def main(port, inner):
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    waits = os.environ.get("DLC_PING") == "ready"
    state = {"reason": "the model server is starting" if waits else None}
    most = most_bytes(os.environ)
    running = set()  # the loop itself holds its tasks by weak references only

    def client(reader, writer):
        task = loop.create_task(converse(reader, writer, inner, state, most))
        running.add(task)
        task.add_done_callback(running.discard)

    async def watch():
        while state["reason"]:
            state["reason"] = await loop.run_in_executor(
                None, wait_for_change, state["reason"], inner
            )

    listening = asyncio.start_server(client, "0.0.0.0", port, limit=HEAD_BYTES)  # noqa: S104
    running.add(loop.run_until_complete(listening))
    running.add(loop.create_task(watch()))
    loop.run_forever()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
