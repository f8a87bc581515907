"""Every task of the reference pages: answered in its form, or refused for a reason that is known.

What an image can do follows from what is installed in it: tasks.py. A task has a server of its own,
as HF_TASK is the server's; two servers start at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from time import monotonic, sleep
from typing import TYPE_CHECKING

import pytest

from builder.contract import hostile
from builder.contract.subject import Subject
from builder.contract.task_models import Makings, make
from builder.contract.task_requests import ASKS, refused
from builder.contract.tasks import TASKS, Facts, Task
from builder.engine.connection import engine_client
from builder.errors import ContainerError
from builder.serve.run import run
from builder.serve.server import Response, Server

if TYPE_CHECKING:
    import docker

pytestmark = pytest.mark.inference

AT_ONCE = 2
SECONDS = 300
POLL_SECONDS = 0.5
# Any model will do for a task that the image refuses before it looks at the model.
ANY_MODEL = "text-classification"

Record = Callable[[str, object], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The answers to a task's requests, seconds from the server's start to the first, a ping.

    `faults` are hostile requests that were not refused as they should be.
    """

    answers: Sequence[Response]
    seconds: float
    ping: Response
    faults: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What the image has, its models, and the outcomes by the task's name, to wait for."""

    facts: Facts
    makings: Makings
    outcomes: dict[str, Future[dict[str, Outcome]]]


@pytest.fixture(scope="module")
def asked(
    request: pytest.FixtureRequest,
    client: docker.DockerClient,
    subject: Subject,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Asked]:
    """Ask for all tasks that are to be tested, two servers at a time."""
    makings = make(client, subject.image, tmp_path_factory.mktemp("tasks"))
    facts = Facts(
        framework=subject.repository.framework,
        packages=subject.packages,
        programs=makings.programs,
    )
    calls = (getattr(item, "callspec", None) for item in request.session.items)
    chosen = {call.params["task"].name for call in calls if call and "task" in call.params}
    tasks = [task for task in TASKS if task.name in chosen]
    outcomes: dict[str, Future[dict[str, Outcome]]] = {}
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        for _, group in groupby(tasks, key=lambda task: (task.variable, task.model)):
            together = tuple(group)
            future = pool.submit(_ask, subject.image, together, makings)
            outcomes |= {task.name: future for task in together}
        yield Asked(facts=facts, makings=makings, outcomes=outcomes)
        pool.shutdown(cancel_futures=True)


def _ask(image: str, tasks: Sequence[Task], makings: Makings) -> dict[str, Outcome]:
    """Start a server for tasks that share it, and ask all their requests."""
    made = makings.models.get(tasks[0].model) or makings.models[ANY_MODEL]
    environment = {"HF_TASK": tasks[0].variable, "SAGEMAKER_MODEL_SERVER_WORKERS": "1"}
    outcomes = {}
    with (
        engine_client() as client,
        run(client, image, model=made.path, environment=environment) as server,
    ):
        _wait(server)
        for task in tasks:
            answers, seconds = [], 0.0
            for ask in ASKS[task.name]:
                body, kind = ask.body()
                answers.append(server.invoke(body, content_type=kind, timeout=SECONDS))
                seconds = seconds or monotonic() - server.started
            faults = hostile.ask(server, task.name, ASKS[task.name][0].inputs)
            ping = server.ask("GET", "/ping")
            outcomes[task.name] = Outcome(
                answers=answers, seconds=seconds, ping=ping, faults=faults
            )
    return outcomes


def _wait(server: Server) -> None:
    """Wait until the server listens: it keeps the first request until the model is loaded.

    Asking whether it is ready would start an interpreter each time, next to one that starts.
    """
    deadline = monotonic() + SECONDS
    while True:
        try:
            if server.ask("GET", "/ping", timeout=POLL_SECONDS).status == 200:
                return
        except ContainerError:
            server.container.reload()
            if server.container.status != "running" or monotonic() > deadline:
                raise
        sleep(POLL_SECONDS)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_task(task: Task, asked: Asked, record_property: Record) -> None:
    """A task is answered where it can be, else refused for a known reason, and the server lives."""
    limit = task.limit(asked.facts)
    limits = [ask.limits(limit, asked.facts) for ask in ASKS[task.name]]
    reason = next((found[0].why for found in limits if found), "")
    record_property("task", task.name)
    record_property("supported", limit is None)
    record_property("reason", reason)
    assert limit or task.model in asked.makings.models, asked.makings.failed[task.model]

    outcome = asked.outcomes[task.name].result()[task.name]
    record_property("seconds", f"{outcome.seconds:.1f}")
    made = asked.makings.models.get(task.model)
    details: list[str] = []
    earlier: list[object] = []
    for ask, answer, refusals in zip(ASKS[task.name], outcome.answers, limits, strict=True):
        if refusals:
            details.append(refused(answer, refusals))
        else:
            assert made
            details.append(ask.found(answer, made.config, earlier))
    record_property("detail", "; ".join(details))
    if not limit:
        assert not outcome.faults, "\n".join(outcome.faults)
    assert outcome.ping.status == 200
    assert b'"Healthy"' in outcome.ping.body
