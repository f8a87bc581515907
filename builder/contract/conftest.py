"""What the contract's tests share: the image under test, and containers of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from builder.contract.subject import Subject, examine, parse
from builder.contract.training_job import tiny, train  # noqa: F401 - fixtures
from builder.engine.connection import engine_client
from builder.serve.run import run
from builder.serve.server import Server

if TYPE_CHECKING:
    import docker

MODES = ("inference", "training")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The image, and its name if that of the image says nothing."""
    parser.addoption("--image", required=True, help="the image under test")
    parser.addoption("--name", help="what its name promises, as repository:tag [default: --image]")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of the other mode."""
    repository, _ = parse(_name(config))
    other = [mode for mode in MODES if mode != repository.mode]
    left_out = [item for item in items if any(item.get_closest_marker(mode) for mode in other)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def client() -> Iterator[docker.DockerClient]:
    """A client of the engine that has the image."""
    with engine_client() as found:
        yield found


@pytest.fixture(scope="session")
def subject(client: docker.DockerClient, pytestconfig: pytest.Config) -> Subject:
    """The image under test."""
    image: str = pytestconfig.getoption("--image")
    return examine(client, image, _name(pytestconfig))


class Serve:
    """Starts servers of the image; all of them end with the test, or whatever had it made."""

    def __init__(self, client: docker.DockerClient, image: str, stack: ExitStack) -> None:
        self._client, self._image, self._stack = client, image, stack

    def __call__(self, *, timeout: float = 300, ready: bool = True, **how: Any) -> Server:
        """A server as builder.serve.run.run makes it, ready unless told not to wait for that."""
        server = self._stack.enter_context(run(self._client, self._image, **how))
        if ready:
            server.wait_ready(timeout)
        return server


@pytest.fixture
def serve(client: docker.DockerClient, subject: Subject) -> Iterator[Serve]:
    """Starts servers that end with the test."""
    with ExitStack() as stack:
        yield Serve(client, subject.image, stack)


@pytest.fixture(scope="module")
def server(client: docker.DockerClient, subject: Subject) -> Iterator[Server]:
    """One server of a tiny text-classification model, for all tests of a module that only ask."""
    with ExitStack() as stack:
        yield Serve(client, subject.image, stack)()


def _name(config: pytest.Config) -> str:
    named: str | None = config.getoption("--name")
    image: str = config.getoption("--image")
    return named or image
