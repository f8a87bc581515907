"""Several pushes at a time; one that fails does not stop the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from builder.errors import DlcError, Interrupted
from builder.matrix.platforms import DEFAULT
from builder.matrix.target import Target
from builder.release.compare import Prepared
from builder.release.push import Pusher
from builder.release.record import Released

__all__ = ["Failure", "push_all"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A target that was not pushed, and why."""

    target: Target
    error: DlcError


def push_all(
    pusher: Pusher,
    targets: Sequence[Target],
    *,
    at_once: int,
    pushed: Callable[[Released], None],
) -> list[Failure]:
    """Push targets, several at a time, and tell of each that is there; those that failed.

    None is uploaded before all have been looked at. Ctrl-C lets none begin, ends what runs, and is
    passed on.
    """
    ready: dict[str, Prepared] = {}
    telling = threading.Lock()

    def prepare(target: Target) -> None:
        ready[target.name] = pusher.prepare(target)

    def push(target: Target) -> None:
        released = pusher.push(ready.pop(target.name))
        with telling:
            pushed(released)

    failures = _all(pusher, targets, at_once, prepare)
    for first in (True, False):  # an index has what is there of other platforms
        wave = [each for each in targets if (each.platform != DEFAULT) is first]
        failures += _all(pusher, [each for each in wave if each.name in ready], at_once, push)
    order = {target.name: number for number, target in enumerate(targets)}
    return sorted(failures, key=lambda failure: order[failure.target.name])


def _all(
    pusher: Pusher, targets: Sequence[Target], at_once: int, do: Callable[[Target], None]
) -> list[Failure]:
    """Do something for each target, several at a time; those that failed."""
    waiting = list(reversed(targets))
    failures: list[Failure] = []
    unforeseen: list[BaseException] = []
    lock = threading.Lock()
    over = threading.Event()
    working = min(at_once, len(targets))
    if not working:
        return []

    def one() -> bool:
        """Do it for the next target; whether there was one."""
        with lock:
            if not waiting or pusher.stop.is_set():
                return False
            target = waiting.pop()
        try:
            do(target)
        except Interrupted:
            return False
        except DlcError as error:
            with lock:
                failures.append(Failure(target=target, error=error))
        return True

    def work() -> None:
        nonlocal working
        try:
            while one():
                pass
        except BaseException as error:
            unforeseen.append(error)
            pusher.stop.set()
        finally:
            with lock:
                working -= 1
                if not working:
                    over.set()

    # Daemons: a registry that is silent must not keep the program from ending. They are not
    # joined: Python 3.11 takes a thread for ended when Ctrl-C interrupts its join.
    for _ in range(working):
        threading.Thread(target=work, daemon=True).start()
    try:
        while not over.wait(0.2):
            pass
    except KeyboardInterrupt:
        pusher.stop.set()
        over.wait(10)
        raise
    if unforeseen:
        raise unforeseen[0]
    return failures
