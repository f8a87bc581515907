"""In which order several pushes go, and what one that fails does to the others."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, cast

import pytest

from builder.errors import PushError
from builder.matrix.target import Target
from builder.release.push import Pusher
from builder.release.push_many import push_all


class Counter:
    """In place of what pushes: writes down what it is asked, and fails where it is told to."""

    def __init__(self, failing: Sequence[str] = ()) -> None:
        self.stop = threading.Event()
        self.asked: list[str] = []
        self._failing = failing

    def prepare(self, target: Target) -> Target:
        self._ask(f"prepare {target.name}")
        return target

    def push(self, target: Target) -> str:
        self._ask(f"push {target.name}")
        return target.name

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if what in self._failing:
            raise PushError(what)


def run(counter: Counter, targets: Sequence[Target], at_once: int) -> tuple[list[Any], list[str]]:
    pushed: list[Any] = []
    pusher = cast("Pusher", counter)
    failures = push_all(pusher, targets, at_once=at_once, pushed=pushed.append)
    return pushed, [f"{each.target.name}: {each.error}" for each in failures]


@pytest.mark.parametrize("at_once", [1, 4])
def test_all_are_looked_at_before_the_first_is_uploaded(
    targets: Sequence[Target], at_once: int
) -> None:
    some = targets[:6]
    names = [target.name for target in some]
    broken = (f"prepare {names[4]}", f"push {names[1]}")
    counter = Counter(broken)
    pushed, failures = run(counter, some, at_once)
    assert set(counter.asked[:6]) == {f"prepare {name}" for name in names}
    assert set(counter.asked[6:]) == {f"push {name}" for name in names if name != names[4]}
    assert sorted(pushed) == sorted({*names} - {names[1], names[4]})
    assert failures == [f"{names[1]}: push {names[1]}", f"{names[4]}: prepare {names[4]}"]


def test_nothing_is_left_to_upload(targets: Sequence[Target]) -> None:
    [one, *_] = targets
    counter = Counter([f"prepare {one.name}"])
    assert run(counter, [one], 4) == ([], [f"{one.name}: prepare {one.name}"])
    assert counter.asked == [f"prepare {one.name}"]
