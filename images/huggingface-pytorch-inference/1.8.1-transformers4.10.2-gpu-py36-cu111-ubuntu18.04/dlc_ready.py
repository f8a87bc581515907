"""Whether every model can answer: the command `ready`, and a `/ping` that says so.

    dlc_ready.py gate PORT INNER MANAGEMENT
                     answer on PORT for a model server that listens on INNER, and whose management
                     interface is on MANAGEMENT
    dlc_ready.py workers MANAGEMENT COUNT
                     give the model of a server more workers once it is ready, and end

multi-model-server answers 200 to every GET /ping as soon as it listens. With DLC_PING=ready the
entrypoint starts the gate at the server's port and the server on the loopback behind it. Until
every model is loaded the gate answers /ping with 503 and the reason; from then on it passes every
connection through as it is. What once was ready is not asked again, so a worker that is replaced
does not take the container out of service.

By itself multi-model-server starts a worker per processor at once, and all of them import the
framework at the same time. The entrypoint has it start one, which answers sooner, and the others
after that.

Standard library only, Python 3.6 and later: this file is the same in every image.
"""

import os
import re
import sys
import tempfile

ANSWER_SECONDS = 5.0
POLL_SECONDS = 0.2
SCALE_TRIES = 10
PIECE_BYTES = 1 << 18  # as much as asyncio takes from a socket at once


# What the handler found


def run_directory():
    """Where the server runs and writes; the entrypoint makes it."""
    return os.path.join(tempfile.gettempdir(), "model-server")


def failure_directory():
    return os.path.join(run_directory(), "failed")


def failure_file(model, pid):
    """Where a worker keeps why it could not load its model."""
    from urllib.parse import quote  # noqa: PLC0415 slow to import, and seldom needed

    return os.path.join(failure_directory(), "{}.{}".format(quote(model, safe=""), pid))


def why_not_loaded(model):
    """What a worker that still runs has written there, or nothing."""
    prefix = os.path.basename(failure_file(model, ""))
    try:
        names = os.listdir(failure_directory())
    except OSError:
        return None
    for name in names:
        pid = name[len(prefix) :]
        if name.startswith(prefix) and pid.isdigit() and os.path.exists("/proc/" + pid):
            with open(os.path.join(failure_directory(), name), encoding="utf-8") as file:
                return file.read()
    return None


def one_line(error, limit=500):
    text = ": ".join(filter(None, [type(error).__name__, " ".join(str(error).split())]))
    return text if len(text) <= limit else text[: limit - 3] + "..."


# What the server says


def management_port():
    """Where the entrypoint put the server's management interface, or nothing."""
    given = os.environ.get("MMS_MANAGEMENT_ADDRESS", "").rpartition(":")[2].strip("/")
    if given.isdigit():
        return int(given)
    try:
        with open(os.path.join(run_directory(), "management-port")) as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def reason_not_ready(port):
    """Why the server whose management is at a port is not ready, whatever it says, or nothing."""
    try:
        return why_not_ready(port)
    except (OSError, ValueError, KeyError, TypeError) as error:
        cause = getattr(error, "reason", error)
        return "the model server does not answer yet: {}".format(cause)


def why_not_ready(port):
    """What the first model that cannot answer lacks, or nothing.

    OSError: no answer. ValueError, KeyError or TypeError: an answer that is not the model server's.
    """
    from urllib.parse import quote  # noqa: PLC0415

    names = model_names(port)
    if not names and os.environ.get("SAGEMAKER_MULTI_MODEL") != "true":
        return "no model is registered yet"
    loaded = models_loaded()
    for name in names:
        why = why_not_loaded(name)
        if why:
            return "model {} did not load: {}".format(name, why)
        workers = ask(port, "/models/" + quote(name, safe=""))["workers"]
        if not any(worker["status"] == "READY" for worker in workers):
            return "model {} has no worker".format(name)
        if name not in loaded:
            return "model {} is still loading".format(name)
    return None


def model_names(port):
    names, token = [], "0"
    while token:
        page = ask(port, "/models?next_page_token=" + token)
        names += [model["modelName"] for model in page["models"]]
        token = page.get("nextPageToken")
    return names


def ask(port, path, method="GET"):
    """The answer of the model server's management API, https://github.com/awslabs/multi-model-server."""
    import http.client  # noqa: PLC0415
    import json  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415

    # Without the caller's proxies: they cannot reach this container's loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    url = "http://127.0.0.1:{}{}".format(port, path)
    try:
        request = urllib.request.Request(url, method=method)  # noqa: S310
        with opener.open(request, timeout=ANSWER_SECONDS) as answer:
            return json.loads(answer.read().decode("utf-8"))
    except http.client.HTTPException as error:
        raise OSError("no whole answer: {!r}".format(error)) from None


def models_loaded():
    """Names of the models that at least one worker process has loaded, or failed to.

    The management API says READY from the moment a worker's thread exists, so look at the worker:
    once it has reported its model as loaded, it turns its standard output to a pipe named
    *-stdout (_remap_io in mms/model_service_worker.py, the same in MMS 1.1.4 to 1.1.11).
    """
    names = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/{}/cmdline".format(pid), "rb") as file:
                words = file.read().decode("utf-8", "replace").split("\0")
            output = os.readlink("/proc/{}/fd/1".format(pid))
        except OSError:
            continue
        worker = any(word.endswith("model_service_worker.py") for word in words[:3])
        if worker and "--model-name" in words and re.search(r"-stdout( \(deleted\))?$", output):
            names.add(words[words.index("--model-name") + 1])
    return names


def wait_for_change(reason, port):
    """What to tell after a moment; the server logs each request, so it is asked at the end only."""
    import time  # noqa: PLC0415

    time.sleep(POLL_SECONDS)
    loaded = models_loaded()
    for name in loaded:
        why = why_not_loaded(name)
        if why:
            return "model {} did not load: {}".format(name, why)
    if loaded or os.environ.get("SAGEMAKER_MULTI_MODEL") == "true":
        return reason_not_ready(port)
    return reason


# More workers


def workers(port, count):
    """Ask for so many workers once the one is ready; the exit code."""
    reason = "the model server is starting"
    while reason:
        reason = wait_for_change(reason, port)
    for name in model_names(port):
        path = "/models/{}?min_worker={}&max_worker={}".format(name, count, count)
        reason = scale(port, path)
        if reason:
            print("dlc: model {} keeps one worker: {}".format(name, reason), file=sys.stderr)
    return 0


def scale(port, path):
    """Why the server does not take the number, or nothing."""
    import time  # noqa: PLC0415

    for _ in range(SCALE_TRIES):
        try:
            ask(port, path, method="PUT")
        except (OSError, ValueError) as error:
            reason = error
            time.sleep(1)
        else:
            return None
    return reason


# The gate


def gate(port, inner, management):
    import asyncio  # noqa: PLC0415 the command `ready` does without

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # What the gate knows: why the server is not ready, or nothing once it is.
    state = {"reason": "the model server is starting, and has not loaded a model yet"}

    running = set()  # the loop itself holds its tasks by weak references only

    def client(reader, writer):
        task = loop.create_task(converse(reader, writer))
        running.add(task)
        task.add_done_callback(running.discard)

    async def converse(reader, writer):
        try:
            await answer(reader, writer, inner, state)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            pass  # one of both ends is gone, or does not speak HTTP
        finally:
            writer.close()

    async def watch():
        while state["reason"]:
            state["reason"] = await loop.run_in_executor(
                None, wait_for_change, state["reason"], management
            )

    listening = asyncio.start_server(client, "0.0.0.0", port, limit=PIECE_BYTES)  # noqa: S104
    running.add(loop.run_until_complete(listening))
    loop.run_until_complete(watch())
    loop.run_forever()


async def answer(reader, writer, inner, state):
    """Answer a connection's first request if it asks for readiness too early, or pass it on."""
    head = b""
    if state["reason"]:
        head = await reader.readuntil(b"\r\n\r\n")
    reason = state["reason"]
    if not reason:
        await connect(reader, writer, inner, head)
    elif is_ping(head):
        writer.write(refusal(reason))
    else:
        # One request only, so that this connection's next one is looked at again.
        await connect(reader, writer, inner, closing(head))


def is_ping(head):
    words = head.split(None, 2)
    return len(words) > 1 and words[1].partition(b"?")[0].rstrip(b"/") == b"/ping"


def closing(head):
    """The head of a request, with the wish that the connection ends after its answer."""
    lines = [
        line for line in head[:-4].split(b"\r\n") if not line.lower().startswith(b"connection:")
    ]
    return b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n"


def refusal(reason):
    """A whole answer, in the form of the model server's errors."""
    import json  # noqa: PLC0415

    error = {"code": 503, "type": "ServiceUnavailableException", "message": reason}
    body = json.dumps(error, indent=2).encode("utf-8") + b"\n"
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        "Content-Length: {}\r\nConnection: close\r\n\r\n"
    )
    return head.format(len(body)).encode("ascii") + body


async def connect(reader, writer, inner, head):
    """Pass a connection on to the model server, both ways, until both have ended."""
    import asyncio  # noqa: PLC0415

    try:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", inner, limit=PIECE_BYTES)
    except OSError:
        writer.write(refusal("the model server does not listen yet"))
        return
    try:
        to_writer.write(head)
        await asyncio.gather(pump(reader, to_writer), pump(to_reader, writer))
    finally:
        to_writer.close()


async def pump(reader, writer):
    """Pass on what comes, at the pace of who takes it; then that no more comes."""
    while True:
        piece = await reader.read(PIECE_BYTES)
        if not piece:
            break
        writer.write(piece)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


if __name__ == "__main__":
    name, *numbers = sys.argv[1:]
    sys.exit({"gate": gate, "workers": workers}[name](*map(int, numbers)))
