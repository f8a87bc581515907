"""Stands at the port, before the model server: what may pass, and how much at once.

    dlc_front.py PORT INNER MANAGEMENT WORKERS

answers on PORT for a model server that listens on INNER of the loopback, and whose management
interface is on MANAGEMENT. Once a model is loaded, it asks that for WORKERS workers, if not 0.

Requests are read whole before the model server sees them, and answers before the client does, so
a slow client occupies no worker. What there is no memory for is refused. While no worker can be
had, requests are answered with the reason. After SIGTERM new requests are refused, and it ends once
those in flight are answered. With DLC_PING=ready, /ping says why until the model is loaded.

Standard library only, Python 3.6 and later: this file is the same in every image.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time

from dlc_http import (
    HEAD_BYTES,
    PIECE_BYTES,
    REQUEST_SECONDS,
    Body,
    Inner,
    Memory,
    RefusedError,
    linger,
    read_head,
)
from dlc_memory import budget
from dlc_ready import (
    death,
    failure_directory,
    management_port,
    models_dead,
    more_workers,
    wait_for_change,
    why_dead,
)
from dlc_routes import allowed, rewrite_load
from dlc_waits import Log, Share, Within, current_task

WATCH_SECONDS = 0.5
CONNECTIONS = 1024
STARTING = "the model server is starting, and has not loaded a model yet"
DIED = b"Worker died."


class Front:
    """What is known of the server, and the conversations with its clients."""

    def __init__(self, inner, environment):
        sizes = budget(environment)
        self.many = environment.get("SAGEMAKER_MULTI_MODEL") == "true"
        self.waits = environment.get("DLC_PING") == "ready"
        self.logs = environment.get("DLC_LOG_LEVEL", "info").lower() in ("debug", "info")
        self.output = Log()
        self.request_bytes = sizes.request
        self.memory = Memory(sizes.held)
        self.share = Share(sizes.java)
        self.inner = Inner(inner)
        self.starting = STARTING  # why no model is ready, until one is
        self.dead = {}  # models that no worker can be had of, and why
        self.stopping = False
        self.drained = asyncio.get_event_loop().create_future()
        self.count = 0  # of requests in flight
        self.asking = {}  # tasks that wait for the model server, and the models that they ask
        self.running = set()  # the loop itself holds its tasks by weak references only

    def accept(self, reader, writer):
        task = asyncio.get_event_loop().create_task(self.converse(reader, writer))
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    async def converse(self, reader, writer):
        """Answer the requests of a connection, one after the other."""
        writer.transport.set_write_buffer_limits(high=0)  # to know what the client has
        try:
            while await self.answer_next(reader, writer):
                pass
        except (OSError, EOFError, asyncio.LimitOverrunError):
            pass  # the client has gone, or sends a line without end
        finally:
            writer.close()

    async def answer_next(self, reader, writer):
        """Answer one request; whether another may follow."""
        request, body, first = None, Body(self.memory, self.request_bytes), time.monotonic()
        counted, refused = False, None
        try:
            if len(self.running) > CONNECTIONS:
                raise RefusedError(503, "The server has too many connections.", retry=1)
            request = await read_head(reader)
            if request is None:
                return False
            self.check_stopping()
            self.count, counted, first = self.count + 1, True, time.monotonic()
            status, head, content = await self.answer(request, reader, writer, body)
            last = request.last or self.stopping or status >= 400
            head += ["Content-Length: {}".format(len(content))]
            head += ["Connection: close" if last else "Connection: keep-alive"]
            self.log(writer, request, status, first)
            head = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n"
            writer.write(head + content[:PIECE_BYTES])
            for start in range(PIECE_BYTES, len(content), PIECE_BYTES):
                with Within(REQUEST_SECONDS):
                    await writer.drain()
                writer.write(content[start : start + PIECE_BYTES])
            if writer.transport.get_write_buffer_size():
                with Within(REQUEST_SECONDS):
                    await writer.drain()
        except RefusedError as error:
            refused = error.encoded()
            self.log(writer, request, error.code, first)
            if self.logs:
                self.output.write("dlc: request {} refused: {}".format(error.name, error.message))
        except asyncio.TimeoutError:
            return False
        finally:
            body.leave()
            if counted:
                self.count -= 1
                self.check_drained()
        if refused is None:
            return not last
        request = None  # what is held of it is for others now
        writer.write(refused)
        await linger(reader, writer)
        return False

    async def answer(self, request, reader, writer, body):
        """The status, head and body of the answer to a request."""
        try:
            model = allowed(request, self.many)
        except ValueError:  # UTF-8 that is none, or a query that is none
            raise RefusedError(400, "The request cannot be read.") from None
        if request.target.partition("?")[0] == "/ping":
            self.check_ping()
        else:
            self.check_alive(model)
        if request.size != 0:
            await self.read_body(request, reader, writer, body)
        if request.loads is not None:
            rewrite_load(request)
        status, head, content = await self.ask(request, model)
        # Held until the client has it; an answer that is here is not refused any more.
        body.turn_into(content)
        request.body = b""
        if status == 503 and not any(line.lower().startswith("retry-after:") for line in head):
            head.append("Retry-After: 1")
        if status == 500 and DIED in content:
            content = await self.explain(model, content)
        return status, head, content

    async def read_body(self, request, reader, writer, body):
        if request.size is not None:
            body.check(request.size)
        if request.expects:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            with Within(REQUEST_SECONDS):
                request.body = await body.read(reader, request.size)
        except asyncio.TimeoutError:
            raise RefusedError(408, "The body did not come in time.") from None

    async def ask(self, request, model):
        """The model server's answer, unless it has no worker any more."""
        task, size = current_task(), len(request.body)
        self.asking[task] = model
        try:
            await self.share.take(size)
            try:
                return await self.inner.ask(request)
            finally:
                self.share.leave(size)
        except asyncio.CancelledError:
            self.check_alive(model)
            raise
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            raise RefusedError(503, "The model server does not answer.", retry=1) from None
        finally:
            del self.asking[task]

    async def explain(self, model, content):
        """An answer that says how the worker died, if that is told in a moment."""
        for _ in range(20):
            found = death(model or "model")
            if found:
                why = "Worker died: it {}.".format(found["why"])
                return content.replace(DIED, why.encode("utf-8"))
            await asyncio.sleep(0.05)
        return content

    # What is not well

    def check_stopping(self):
        if self.stopping:
            raise RefusedError(503, "The server is stopping.", retry=1)

    def check_ping(self):
        if self.waits and self.starting:
            raise RefusedError(503, self.starting)
        if not self.many:
            for name, (_, why) in self.dead.items():
                raise RefusedError(503, "model {} did not load: {}".format(name, why))

    def check_alive(self, model):
        why = self.why_lost(model)
        if why:
            raise RefusedError(503, "The model did not load: {}.".format(why), retry=10)

    def why_lost(self, model):
        """Why a model that is asked for has no worker, or nothing.

        Of a single model, its name may be left out, or be any.
        """
        if model is None:  # its management
            return None
        for name in [model] if self.many else self.dead:
            if name in self.dead:
                return self.dead[name][0]
        return None

    async def watch(self, management, workers):
        """Know when the models are ready, and then when they are not."""
        loop = asyncio.get_event_loop()
        changed = None
        while True:
            if self.starting:
                self.starting = await loop.run_in_executor(
                    None, wait_for_change, self.starting, management
                )
                if not self.starting and workers:
                    loop.run_in_executor(None, more_workers, management, workers)
            else:
                await asyncio.sleep(WATCH_SECONDS)
            with contextlib.suppress(OSError):
                now = os.stat(failure_directory()).st_mtime_ns
                if now != changed or self.dead:
                    changed = now
                    names = models_dead()
                    self.dead = {
                        name: (why_dead(name, lines=False), why_dead(name)) for name in names
                    }
            for task, model in self.asking.items():
                if self.why_lost(model):
                    task.cancel()

    def stop(self):
        """Refuse what is new; end once what is in flight is answered."""
        self.stopping = True
        self.check_drained()

    def check_drained(self):
        if self.stopping and self.count == 0 and not self.drained.done():
            self.drained.set_result(None)

    def log(self, writer, request, status, first):
        """A line as multi-model-server writes it, with the client that it does not see."""
        if not self.logs:
            return
        host, number = (writer.get_extra_info("peername") or ("unknown", 0))[:2]
        client = host.replace("::ffff:", ""), number
        line = '{} [INFO ] front ACCESS_LOG - /{}:{} "{}" {} {}'
        text = request.first_line if request else "-"
        seconds = time.monotonic() - first
        self.output.write(
            line.format(self.output.now(), *client, text, status, int(seconds * 1000))
        )


def listen(port):
    """A socket at a port of all addresses, those of IPv6 too where there are any."""
    with contextlib.suppress(OSError):
        found = socket.socket(socket.AF_INET6)
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            found.bind(("::", port))
            return found
        found.close()
    found = socket.socket(socket.AF_INET)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(("0.0.0.0", port))  # noqa: S104
    return found


def main(port, inner, management, workers):
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    front = Front(inner, os.environ)
    management = management_port() or management
    loop.add_signal_handler(signal.SIGTERM, front.stop)

    listening = asyncio.start_server(
        front.accept, sock=listen(port), limit=HEAD_BYTES, backlog=CONNECTIONS
    )
    front.running.add(loop.run_until_complete(listening))
    front.running.add(loop.create_task(front.watch(management, workers)))
    loop.run_until_complete(front.drained)
    front.output.flush()
    os._exit(0)  # threads may still wait for the model server


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
