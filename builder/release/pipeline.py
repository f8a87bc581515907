"""Targets on their way to registries, one after the other: built, tested, pushed, forgotten.

One at a time, since a machine that builds them all has seldom room for more than a few. What a
registry has is not built again, so the same run goes on where another broke off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

from builder.build.plan import Planned
from builder.errors import BuildError, DlcError, Interrupted, PushError
from builder.matrix.target import Target
from builder.release.record import Released
from builder.util.text import counted

__all__ = [
    "FAILED",
    "LEFT",
    "PUSHED",
    "UP_TO_DATE",
    "Result",
    "Steps",
    "Wanted",
    "github_errors",
    "raise_if_failed",
    "release",
    "wanted",
    "with_rest",
]

PUSHED, UP_TO_DATE, FAILED, LEFT = "pushed", "up to date", "failed", "left"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A target, the registries that lack it, and why it cannot be built, if so."""

    target: Target
    registries: tuple[str, ...]
    problem: BuildError | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What became of a target; `errors` by the step that failed, `released` where it was pushed."""

    target: Target
    state: str
    released: tuple[Released, ...] = ()
    errors: tuple[tuple[str, DlcError], ...] = ()
    seconds: float = 0.0

    @property
    def why(self) -> str:
        """What failed, in a line for each step."""
        return "\n".join(f"{step}: {error}" for step, error in self.errors)

    def as_json(self) -> dict[str, Any]:
        """What programs are told of it."""
        return {
            "image": self.target.name,
            "state": self.state,
            "seconds": self.seconds,
            "pushed": [asdict(each) for each in self.released],
            "errors": [{"step": step, "message": str(error)} for step, error in self.errors],
        }


class Steps(Protocol):
    """What is done with each target; each raises a DlcError if it fails."""

    def build(self, target: Target) -> None: ...

    def test(self, target: Target) -> None: ...

    def push(self, target: Target, registry: str) -> Released: ...

    def forget(self, target: Target) -> None: ...


def wanted(targets: Sequence[Target], planned: Mapping[str, Iterable[Planned]]) -> list[Wanted]:
    """What is to be done of targets, by the plans beside each registry."""
    found: dict[str, Wanted] = {}
    for registry, plans in planned.items():
        for each in plans:
            before = found.get(each.target.name)
            had = before.registries if before else ()
            problem = None
            if each.inputs is None:
                problem = BuildError(f"{each.target.name} {each.reasons[0]}", remedy=each.remedy)
            found[each.target.name] = Wanted(
                target=each.target,
                registries=had if each.up_to_date else (*had, registry),
                problem=problem,
            )
    return [found[target.name] for target in targets]


def release(
    targets: Iterable[Wanted], steps: Steps, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Result]:
    """Bring each target to the registries that lack it; one that fails stops no other.

    What is interrupted is kept as it is, so that the next run has less to do.
    """
    for each in targets:
        if not each.registries:
            yield Result(target=each.target, state=UP_TO_DATE)
        elif each.problem:
            yield Result(target=each.target, state=FAILED, errors=(("build", each.problem),))
        else:
            yield _one(each, steps, clock)


def _one(wanted: Wanted, steps: Steps, clock: Callable[[], float]) -> Result:
    target, begin = wanted.target, clock()
    errors: list[tuple[str, DlcError]] = []
    released: list[Released] = []

    def done(step: str, do: Callable[[], None]) -> bool:
        try:
            do()
        except Interrupted:
            raise
        except DlcError as error:
            errors.append((step, error))
            return False
        return True

    def push(registry: str) -> None:
        released.append(steps.push(target, registry))

    if done("build", partial(steps.build, target)):
        if done("test", partial(steps.test, target)):
            for registry in wanted.registries:
                # A registry that refuses keeps the image from no other.
                done("push", partial(push, registry))
        steps.forget(target)
    return Result(
        target=target,
        state=FAILED if errors else PUSHED,
        released=tuple(released),
        errors=tuple(errors),
        seconds=round(clock() - begin, 1),
    )


def with_rest(results: Sequence[Result], targets: Sequence[Target]) -> list[Result]:
    """Results, and those of the targets that come after them as left."""
    rest = targets[len(results) :]
    return [*results, *(Result(target=target, state=LEFT) for target in rest)]


def raise_if_failed(results: Sequence[Result]) -> None:
    """PushError that names what was not pushed; of a single target, what was wrong with it."""
    failed = [each for each in results if each.state == FAILED]
    if not failed:
        return
    if len(results) == 1 and len(failed[0].errors) == 1:
        raise failed[0].errors[0][1]
    raise PushError(
        f"{counted(len(failed), 'target')} of {len(results)} not pushed: "
        + ", ".join(each.target.name for each in failed),
        remedy="run the same again: what is pushed is left out",
    )


def github_errors(results: Iterable[Result]) -> Iterator[str]:
    """What a workflow of GitHub's shows of the targets that were not pushed."""
    for each in results:
        if each.state in (FAILED, LEFT):
            text = ": ".join(filter(None, (f"not pushed: {each.target.name}", each.why)))
            escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
            yield f"::error::{escaped}"
