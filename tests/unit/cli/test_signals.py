"""A command that is told to end cleans up, whoever told it and whatever became of its terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# As a command with a container: it says something on its way out, and must come to its end.
COMMAND = """
import pathlib, sys, time
import click
from builder.cli.main import run_command
from builder.util.console import say
@click.command()
def serve():
    try:
        pathlib.Path(sys.argv[2]).write_text("")
        time.sleep(600)
    finally:
        for number in range(1000):
            say(f"stopping {number}")
            print("stopped", number)
        pathlib.Path(sys.argv[1]).write_text("clean")
sys.argv = ["dlc", *sys.argv[1:]]
serve.params = [click.Argument(["words"], nargs=-1, expose_value=False)]
run_command(serve, "dlc")
"""


def wait(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.integration
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_as_ctrl_c_does(how: signal.Signals, tmp_path: Path) -> None:
    clean, begun = tmp_path / "clean", tmp_path / "begun"
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, clean, begun],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        wait(begun)
        process.send_signal(how)
        assert process.wait(60) == 130
    assert clean.read_text() == "clean"


@pytest.mark.integration
def test_a_closed_terminal_ends_it_too(tmp_path: Path) -> None:
    """Nothing can be written there any more, which must not keep it from its end."""
    clean, begun = tmp_path / "clean", tmp_path / "begun"
    pid, terminal = pty.fork()
    if pid == 0:
        words = [sys.executable, "-c", COMMAND, str(clean), str(begun)]
        os.execv(sys.executable, words)  # noqa: S606
    wait(begun)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert clean.read_text() == "clean"


@pytest.mark.integration
def test_nohup_is_heeded(tmp_path: Path) -> None:
    clean, begun = tmp_path / "clean", tmp_path / "begun"
    with subprocess.Popen(
        ["nohup", sys.executable, "-c", COMMAND, clean, begun],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        wait(begun)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
    assert clean.read_text() == "clean"
