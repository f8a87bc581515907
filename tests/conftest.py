"""What the tests share: the real matrix, a small one with golden files, and the command."""

from __future__ import annotations

import gc
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from tests import compare

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"

# A shell's background jobs inherit that these are ignored, and so would all that tests start.
for ignored in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        usual = signal.default_int_handler if ignored is signal.SIGINT else signal.SIG_DFL
        signal.signal(ignored, usual)

# How long an example takes says nothing where several things run at once. The examples are the same
# on any day; `--hypothesis-profile thorough` looks for new ones.
settings.register_profile(
    "dlc",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
    database=None,
    max_examples=20,
)
settings.register_profile(
    "thorough", settings.get_profile("dlc"), derandomize=False, max_examples=300
)
settings.load_profile("dlc")


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run of the command did."""

    code: int
    out: str
    err: str


Dlc = Callable[..., Run]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite tests/golden/ from what is rendered"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(compare, "compare")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give image tests time for the builds that their fixtures make."""
    for item in items:
        if item.get_closest_marker("images") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1800))


def pytest_collection_finish() -> None:
    """Let no garbage collection look again at what stays: a tenth of all unit tests' time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 100)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def golden() -> Path:
    """The small matrix and what it renders to."""
    return GOLDEN


@pytest.fixture(scope="session")
def targets() -> tuple[Target, ...]:
    """All targets of the real matrix."""
    return load_targets(ROOT / "matrix.yaml", name="matrix.yaml")


@pytest.fixture(scope="session")
def small() -> dict[str, Target]:
    """The targets of the small matrix by name."""
    found = load_targets(GOLDEN / "matrix.yaml", name="matrix.yaml")
    return {target.name: target for target in found}


@pytest.fixture
def dlc(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Dlc:
    """Runs the command in this process: its exit code, stdout and stderr."""
    from builder.cli.main import main

    def run(*arguments: str | Path) -> Run:
        monkeypatch.setattr(sys, "argv", ["dlc", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Run(code=ended.value.code, out=told.out, err=told.err)

    return run


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of 127.0.0.1 that refuses connections, held so that nobody else listens there."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
