"""How the front waits: no longer than it should, in turn, and with few writes to its log."""

import asyncio
import importlib
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

FILES = Path(__file__).parents[3] / "runtime"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FILES)
    return importlib.import_module("dlc_waits")


def run(what: Coroutine[Any, Any, None]) -> None:
    async def whole() -> None:
        await asyncio.wait_for(what, 60)

    asyncio.run(whole())


def test_within_ends_what_takes_longer(waits: Any) -> None:
    async def wait() -> None:
        with pytest.raises(asyncio.TimeoutError), waits.Within(0.01):
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(0)  # and nothing after it

    run(wait())


def test_within_leaves_what_is_quick_and_its_errors(waits: Any) -> None:
    async def wait() -> None:
        with waits.Within(0.02):
            await asyncio.sleep(0)
        with pytest.raises(ValueError, match="own"), waits.Within(0.02):
            raise ValueError("own")
        await asyncio.sleep(0.1)

    run(wait())


def test_one_who_ends_the_task_is_not_a_timeout(waits: Any) -> None:
    async def wait() -> None:
        async def inner() -> None:
            with waits.Within(60):
                await asyncio.get_running_loop().create_future()

        task = asyncio.ensure_future(inner())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(wait())


def test_a_timeout_inside_is_that_of_the_inner(waits: Any) -> None:
    async def wait() -> None:
        with waits.Within(60):
            with pytest.raises(asyncio.TimeoutError), waits.Within(0.01):
                await asyncio.get_running_loop().create_future()
            await asyncio.sleep(0)

    run(wait())


class Output:
    """Standard output that keeps each piece that would be a write of its own."""

    def __init__(self) -> None:
        self.writes = [""]

    def write(self, text: str) -> None:
        self.writes[-1] += text

    def flush(self) -> None:
        self.writes.append("")


def test_lines_that_come_quickly_are_written_together(
    waits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Output()
    monkeypatch.setattr(waits, "TOGETHER_SECONDS", 0.2)
    lines = [f"{number:03d} {'x' * 90}" for number in range(100)]

    async def write() -> None:
        log = waits.Log()
        log.write("first")
        assert output.writes == ["first\n", ""]
        for line in lines:
            log.write(line)
        assert "".join(output.writes) != "".join(f"{line}\n" for line in ["first", *lines])
        while lines[-1] not in "".join(output.writes):
            await asyncio.sleep(0.01)
        log.write("last")
        log.flush()

    monkeypatch.setattr(waits.sys, "stdout", output)
    run(write())
    monkeypatch.undo()
    written = [text for text in output.writes if text]
    assert "".join(written).splitlines() == ["first", *lines, "last"]
    assert len(written) <= 6
    assert max(map(len, written)) <= os.pathconf("/", "PC_PIPE_BUF")


def test_nobody_reads_the_log(waits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(Output):
        def flush(self) -> None:
            raise BrokenPipeError

    async def write() -> None:
        waits.Log().write("a line")

    monkeypatch.setattr(waits.sys, "stdout", Closed())
    run(write())
