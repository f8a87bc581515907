"""How dlc_front waits: for so long and no longer, for its turn, and with lines of the log.

Standard library only, Python 3.6 and later: this file is the same in every image.
"""

import asyncio
import contextlib
import sys
import time
from collections import deque

# A write costs more than the line itself. What another process writes to the same pipe comes not
# in the middle of one that has at most so many bytes: PIPE_BUF of pipe(7).
TOGETHER_SECONDS, TOGETHER_BYTES = 0.05, 4096

current_task = getattr(asyncio, "current_task", None) or asyncio.Task.current_task


class Within:
    """asyncio.TimeoutError if what is inside takes more seconds.

    asyncio.wait_for does the same with a task of its own for each wait.
    """

    def __init__(self, seconds):
        self._task, self._late = current_task(), False
        self._timer = asyncio.get_event_loop().call_later(seconds, self._end)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self._timer.cancel()
        if self._late and kind is asyncio.CancelledError:
            raise asyncio.TimeoutError from None

    def _end(self):
        self._late = True
        self._task.cancel()


class Share:
    """Bytes that may be with the model server at once; who comes first is let in first."""

    def __init__(self, most):
        self._free = most
        self._waiting = deque()

    async def take(self, count):
        if not self._waiting and count <= self._free:
            self._free -= count
            return
        turn = asyncio.get_event_loop().create_future()
        self._waiting.append((turn, count))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(count)
            raise

    def leave(self, count):
        self._free += count
        while self._waiting:
            turn, wanted = self._waiting[0]
            if not turn.cancelled():
                if wanted > self._free:
                    return
                self._free -= wanted
                turn.set_result(None)
            self._waiting.popleft()


class Log:
    """Lines for standard output: at once where they are few, some at a time where they are many."""

    def __init__(self):
        self._lines, self._bytes = [], 0
        self._timer, self._last = None, 0.0
        self._second, self._when = 0, ""

    def write(self, line):
        if self._bytes + len(line) >= TOGETHER_BYTES:
            self.flush()
        self._lines.append(line + "\n")
        self._bytes += len(line) + 1
        if time.monotonic() - self._last > TOGETHER_SECONDS:
            self.flush()
        elif self._timer is None:
            loop = asyncio.get_event_loop()
            self._timer = loop.call_later(TOGETHER_SECONDS, self.flush)

    def flush(self):
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        text = "".join(self._lines)
        self._lines, self._bytes, self._last = [], 0, time.monotonic()
        with contextlib.suppress(OSError):  # nobody reads it any more
            sys.stdout.write(text)
            sys.stdout.flush()

    def now(self):
        """The time, as multi-model-server writes it."""
        now = time.time()
        if int(now) != self._second:
            self._second = int(now)
            self._when = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(now))
        return "{},{:03d}".format(self._when, int(now % 1 * 1000))
