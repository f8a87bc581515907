"""Watches a container while it is sent hostile requests: `python fuzz_watch.py LOG CANARY`.

Writes a line to LOG for each time that something opens the file CANARY or a shell, and for each
program that was not there at the start. It ends once it watches, and leaves a process that does.
Runs inside an image, Python 3.6 or later, as root.
"""

import ctypes
import os
import struct
import sys
import time
from pathlib import Path

OPENED = 0x20  # IN_OPEN of sys/inotify.h
HEADER = struct.Struct("iIII")
SHELLS = ("/bin/sh", "/bin/bash", "/usr/bin/env", "/usr/bin/touch", "/usr/bin/id")
PAUSE = 0.05


def programs() -> "set[str]":
    """The names of all programs that run."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            found.add(path.read_text().strip())
        except OSError:  # it has ended
            continue
    return found


def main(log: str, canary: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    inotify = libc.inotify_init1(os.O_NONBLOCK)
    watched = {}
    for path in (canary, *SHELLS):
        number = libc.inotify_add_watch(inotify, path.encode(), OPENED)
        if number >= 0:
            watched[number] = path
    known = programs()
    with Path(log).open("w", buffering=1) as file:
        if os.fork():
            return
        os.setsid()
        for number in range(3):  # whoever started it waits for their end
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        while True:
            try:
                events = os.read(inotify, 65536)
            except BlockingIOError:
                events = b""
            while events:
                number, _, _, length = HEADER.unpack_from(events)
                events = events[HEADER.size + length :]
                file.write(f"opened {watched.get(number)}\n")
            for name in programs() - known:
                known.add(name)
                file.write(f"started {name}\n")
            time.sleep(PAUSE)


if __name__ == "__main__":
    main(*sys.argv[1:])
