"""The steps of a release on this machine: its engine builds, tests, pushes and forgets."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path

from builder.build.bake import Outcome, Watcher
from builder.build.build import build
from builder.engine.base_pins import expired
from builder.engine.connection import engine_client, find
from builder.engine.failures import engine_errors
from builder.engine.images import find_image
from builder.engine.namespace import local_name
from builder.engine.tagging import remove_image
from builder.errors import BuildError, EngineError
from builder.matrix.mirrors import Mirrors
from builder.matrix.target import Target
from builder.release import notes
from builder.release.attestations import Seal
from builder.release.progress import PushWatcher
from builder.release.push_many import push_all
from builder.release.pusher import Sources, pusher_to
from builder.release.record import Released, record
from builder.serve.run import smoke
from builder.util.clock import today

__all__ = ["Here", "smoke_test"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Here:
    """The steps as `dlc build`, `dlc push` and their like take them.

    `check` is given the engine's name of an image before it is pushed, and raises a DlcError for
    one that must not be; what is pushed is signed by `seal`, and recorded below
    `records` under `day`.
    """

    sources: Sources
    mirrors: Mirrors
    profile: str
    records: Path
    day: str
    remove_images: bool
    check: Callable[[Target, str], None] | None
    seal: Seal | None
    watch_builds: Callable[[], AbstractContextManager[Watcher]]
    watch_pushes: Callable[[], AbstractContextManager[PushWatcher]]
    failed: Callable[[list[Outcome]], None]
    say: Callable[[str], None]

    def build(self, target: Target) -> None:
        """Build it, unless the engine has it."""
        for each in expired([target], today()):
            self.say(f"warning: {each}")
        with self.watch_builds() as watcher:
            outcomes = build(
                [target],
                images=self.sources.images,
                renderer=self.sources.renderer,
                at_once=1,
                watcher=watcher,
                say=self.say,
                mirrors=self.mirrors,
            )
        if outcomes[0].error:
            self.failed(outcomes)
            raise BuildError(f"{target.name}: {outcomes[0].error.strip().splitlines()[-1]}")

    def test(self, target: Target) -> None:
        """Look whether it may be pushed."""
        if self.check is not None:
            with engine_client() as client:
                image = find_image(client, target)
            self.check(target, image)

    def push(self, target: Target, registry: str) -> Released:
        """Push it with all its tags, and record it."""
        pushed: list[Released] = []

        def keep(released: Released) -> None:
            record(self.records, self.day, released)
            if path := notes.write(self.records, released):
                self.say(f"{released.tag}: what is new is in {path}")
            pushed.append(released)

        with (
            self.watch_pushes() as watcher,
            pusher_to(
                registry,
                self.sources,
                watcher=watcher,
                profile=self.profile,
                records=self.records,
                seal=self.seal,
            ) as pusher,
        ):
            failures = push_all(pusher, [target], at_once=1, pushed=keep)
            pusher.store.done = not failures
        if failures:
            raise failures[0].error
        return pushed[0]

    def forget(self, target: Target) -> None:
        """Remove its image by all names, if that is wanted; layers stay in the builder's cache."""
        if not self.remove_images:
            return
        try:
            if engine := find():
                with (
                    engine_errors(f"{target.name} is still there"),
                    closing(engine.client(timeout=300)) as client,
                ):
                    remove_image(client, local_name(target.name))
        except EngineError as error:
            self.say(f"warning: {error.message}")


def smoke_test(target: Target, image: str, *, say: Callable[[str], None]) -> None:
    """One request to an inference image; ContainerError if it does not answer."""
    if target.mode == "inference":
        with engine_client() as client:
            smoke(client, image, say=say)
