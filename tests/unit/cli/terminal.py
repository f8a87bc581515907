"""The command on a terminal: a process of its own whose three streams are one."""

from __future__ import annotations

import contextlib
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from fcntl import ioctl
from pathlib import Path

from tests.conftest import ROOT

__all__ = ["in_a_terminal", "on_a_terminal"]


def on_a_terminal(
    *arguments: str | Path,
    answer: str = "",
    columns: int = 80,
    environment: Sequence[tuple[str, str]] = (),
) -> tuple[int, str]:
    """The exit code of `dlc` and what stands on its terminal; `answer` is what is typed there."""
    words = ["-m", "builder", *map(str, arguments)]
    return in_a_terminal(words, answer=answer, columns=columns, environment=environment)


def in_a_terminal(
    words: Sequence[str],
    *,
    answer: str = "",
    columns: int = 80,
    environment: Sequence[tuple[str, str]] = (),
    stdout: Path | None = None,
) -> tuple[int, str]:
    """The same of Python; `stdout` may be a file instead."""
    ours, its = pty.openpty()
    ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    without = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
    with (
        contextlib.nullcontext(its) if stdout is None else stdout.open("wb") as out,
        subprocess.Popen(
            [sys.executable, *words],
            stdin=its,
            stdout=out,
            stderr=its,
            cwd=ROOT,
            env={
                **{name: value for name, value in os.environ.items() if name not in without},
                "TERM": "xterm-256color",
                **dict(environment),
            },
        ) as process,
    ):
        os.close(its)
        os.write(ours, answer.encode())
        shown = bytearray()
        try:
            while some := os.read(ours, 65536):
                shown += some
        except OSError:  # the last one closed it
            pass
        code = process.wait()
    os.close(ours)
    return code, shown.decode().replace("\r\n", "\n")
