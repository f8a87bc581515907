"""What of the container's memory goes to the server."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

FILES = Path(__file__).parents[3] / "runtime"
MEBIBYTE = 1 << 20


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.syspath_prepend(FILES)
    module = importlib.import_module("dlc_memory")
    monkeypatch.setattr(module, "CGROUP", str(tmp_path))
    (tmp_path / "memory").mkdir()
    return module


@pytest.mark.parametrize(
    ("file", "content", "limit"),
    [
        ("memory.max", "1048576\n", MEBIBYTE),
        ("memory.max", "max\n", None),
        ("memory/memory.limit_in_bytes", "2097152\n", 2 * MEBIBYTE),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", None),
        ("other", "", None),
    ],
)
def test_limit_of_both_cgroups(
    memory: Any, tmp_path: Path, file: str, content: str, limit: int | None
) -> None:
    (tmp_path / file).write_text(content)
    total = int(re.findall(r"MemTotal: +([0-9]+)", Path("/proc/meminfo").read_text())[0]) * 1024
    assert memory.memory_limit() == (limit or total)


@pytest.mark.parametrize(
    ("file", "content", "kills"),
    [
        ("memory.events", "low 0\noom 4\noom_kill 3\n", 3),
        ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", 2),
        ("memory/memory.oom_control", "oom_kill_disable 0\n", 0),  # of an old kernel
    ],
)
def test_kills_of_both_cgroups(
    memory: Any, tmp_path: Path, file: str, content: str, kills: int
) -> None:
    (tmp_path / file).write_text(content)
    assert memory.kills_for_memory() == kills


@pytest.mark.parametrize("gibibytes", [1, 2, 8, 64, 1024])
@pytest.mark.parametrize(
    "environment",
    [{}, {"SAGEMAKER_MAX_PAYLOAD_IN_MB": "100"}, {"MMS_MAX_REQUEST_SIZE": "1000"}],
)
def test_shares_fit_the_container(memory: Any, gibibytes: int, environment: dict[str, str]) -> None:
    limit = gibibytes * 1024 * MEBIBYTE
    found = memory.Budget(environment, limit)
    assert found.request <= found.java <= max(limit // 64, found.request)
    assert found.request <= found.held <= limit // 8
    assert found.answer >= 6_553_500
    heap, beside = map(int, re.findall(r"(?:-Xmx|MemorySize=)([0-9]+)m", found.vmargs()))
    assert heap + beside <= limit // MEBIBYTE * 1.2 + 192
    assert heap > memory.ON_HEAP * found.request // MEBIBYTE


def test_sizes_are_the_operator_s(memory: Any) -> None:
    limit = 64 * 1024 * MEBIBYTE
    request = {
        "": memory.Budget({}, limit).request,
        "megabytes": memory.Budget({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "2"}, limit).request,
        "bytes": memory.Budget(
            {"SAGEMAKER_MAX_PAYLOAD_IN_MB": "2", "MMS_MAX_REQUEST_SIZE": "5"}, limit
        ).request,
    }
    assert request == {"": 6_553_500, "megabytes": 2 * MEBIBYTE, "bytes": 5}
    assert memory.Budget({"MMS_MAX_RESPONSE_SIZE": "7"}, limit).answer == 7
    # More than the container has is refused, whatever is set.
    small = memory.Budget({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "1000"}, 1024 * MEBIBYTE)
    assert small.request == 128 * MEBIBYTE


def test_pixels_follow_the_memory(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    del memory  # it puts the files on the path
    limits = importlib.import_module("dlc_limits")
    monkeypatch.setattr(limits, "memory_limit", lambda: 2 * 1024 * MEBIBYTE)
    assert limits.limit("DLC_MAX_PIXELS") == 33_554_432
    assert limits.limit("DLC_MAX_ROWS") == 10_000
    monkeypatch.setattr(limits, "memory_limit", lambda: 64 * 1024 * MEBIBYTE)
    assert limits.limit("DLC_MAX_PIXELS") == 50_000_000
    monkeypatch.setenv("DLC_MAX_PIXELS", "60000000")  # the operator knows better
    monkeypatch.setattr(limits, "memory_limit", lambda: MEBIBYTE)
    assert limits.limit("DLC_MAX_PIXELS") == 60_000_000


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 4),
        ({"cpu.max": "max 100000\n"}, 4),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "900000 100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu.max": "nonsense"}, 4),
    ],
)
def test_processors_of_the_container(
    memory: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    files: dict[str, str],
    count: int,
) -> None:
    (tmp_path / "cpu").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(memory, "CGROUP", str(tmp_path))
    monkeypatch.setattr(memory.os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert memory.processors() == count
