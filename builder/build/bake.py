"""Builds targets through `docker buildx bake` and tags what succeeded.

Each target is a bake of its own, several at a time: BuildKit merges their equal steps all the
same, and one that fails does not cancel the others, as it would within one bake. Images are tagged
only once they are whole, so an interruption leaves no half-built tag.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from builder.build.bakefile import Job, definition, target_id
from builder.build.builder import LOCAL, BuilderConfig, environment
from builder.build.buildkit_progress import Solve, Step, decode
from builder.build.contexts import is_anothers
from builder.build.identity import remember
from builder.engine.build_secrets import build_secrets
from builder.engine.containers import created
from builder.engine.image import KEY_LABEL
from builder.engine.tagging import name_image
from builder.engine.unpacked import unpacked_size
from builder.errors import BuildError, DlcError
from builder.matrix.mirrors import Mirrors
from builder.util.memory import memory_files
from builder.util.scratch import scratch

if TYPE_CHECKING:
    import docker

    from builder.engine.connection import Engine
    from builder.matrix.target import Target

__all__ = ["Baker", "Outcome", "Watcher"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one target. `size` in bytes unpacked; `error` is empty for an image.

    `from_cache` and `on_a_cached_framework` are as in `Solve`.
    """

    target: Target
    seconds: float
    image_id: str = ""
    size: int = 0
    error: str = ""
    step: str = ""
    output: tuple[str, ...] = ()
    up_to_date: bool = False
    from_cache: bool = False
    on_a_cached_framework: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class _Given:
    """What all bakes of a call are given: a bake file in memory, a folder for what they tell."""

    file: Path
    descriptors: tuple[int, ...]
    folder: Path


class ImageCheck(Protocol):
    """Raises a DlcError for an image, by its id, that must not have its target's tag."""

    def __call__(self, client: docker.DockerClient, image: str, target: Target) -> None: ...


class Watcher(Protocol):
    """Is told how builds go; called from several threads."""

    def began(self, target: Target) -> None: ...

    def stepped(self, target: Target, step: Step, done: int, known: int) -> None: ...

    def ended(self, outcome: Outcome) -> None: ...


def _with_remedy(error: str, failed: Step | None) -> str:
    """An error of BuildKit, with what to do if the disk was full."""
    texts = (error, *(failed.lines if failed else ()))
    if any("no space left on device" in text.lower() for text in texts):
        return f"{error}; the engine's disk is full, free some: dlc engine prune"
    return error


def _silent(code: int) -> str:
    """Why buildx failed that gave no reason."""
    if code >= 0:
        return f"buildx ended with code {code} and gave no reason"
    name = signal.Signals(-code).name
    return f"buildx was killed ({name}); build again, and free memory if that repeats"


class Baker:
    """Runs bakes on one engine."""

    def __init__(
        self,
        engine: Engine,
        watcher: Watcher,
        check: ImageCheck | None = None,
        how: BuilderConfig = LOCAL,
    ) -> None:
        """`check` sees every image before it gets its tag; what it raises keeps the tag back."""
        self._engine, self._watcher, self._check, self._how = engine, watcher, check, how
        self._running: set[subprocess.Popen[str]] = set()
        self._stopping = False

    def build(
        self, jobs: Iterable[Job], *, at_once: int, mirrors: Mirrors | None = None
    ) -> list[Outcome]:
        """Build and tag every job, `at_once` at a time; KeyboardInterrupt stops them all."""
        jobs = list(jobs)
        # A bake file may have proxies with passwords: neither it nor a secret outlives a kill.
        with (
            memory_files() as files,
            scratch("bake") as folder,
        ):
            secrets = build_secrets(mirrors or Mirrors(), files)
            text = json.dumps(definition(jobs, secrets, cache=self._how.cache), indent=2)
            file = files.add("dlc-bake", text)
            given = _Given(file=file, descriptors=tuple(files.descriptors), folder=folder)
            pool = ThreadPoolExecutor(max_workers=at_once)
            try:
                return list(pool.map(lambda job: self._one(job, given), jobs))
            except BaseException:
                self._stop()
                raise
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _one(self, job: Job, given: _Given) -> Outcome:
        import docker.errors

        self._watcher.began(job.target)
        begin = time.monotonic()
        try:
            outcome = self._bake(job, given, begin)
        except (DlcError, docker.errors.DockerException, OSError, KeyError, ValueError) as error:
            outcome = Outcome(target=job.target, seconds=time.monotonic() - begin, error=str(error))
        self._watcher.ended(outcome)
        return outcome

    def _bake(self, job: Job, given: _Given, begin: float) -> Outcome:
        metadata = given.folder / f"{target_id(job.target)}.json"
        command = [
            *self._engine.buildx,
            *("bake", "--file", str(given.file), "--progress", "rawjson"),
            *("--metadata-file", str(metadata)),
            *(("--builder", self._how.builder) if self._how.builder else ()),
            target_id(job.target),
        ]
        solve, text = Solve(), []
        if self._stopping:
            return Outcome(target=job.target, seconds=0.0, error="not begun")
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment(self._engine, self._how.builder),
            pass_fds=given.descriptors,
            # Ctrl-C is ours to pass on, once.
            start_new_session=True,
        ) as process:
            self._running.add(process)
            if self._stopping:  # the interruption came while it started
                os.killpg(process.pid, signal.SIGINT)
            assert process.stderr is not None  # noqa: S101 - asked for above
            for message in decode(process.stderr):
                if isinstance(message, str):
                    text.append(message)
                    continue
                for step in solve.feed(message):
                    self._watcher.stepped(job.target, step, *solve.counts)
        self._running.discard(process)
        seconds = time.monotonic() - begin
        if process.returncode == 0:
            results = json.loads(metadata.read_text("utf-8"))[target_id(job.target)]
            return replace(
                self._tag(job, results, seconds),
                from_cache=solve.from_cache,
                on_a_cached_framework=solve.on_a_cached_framework,
            )
        failed = solve.failed
        error = failed.error if failed else "\n".join(text[-5:]) or _silent(process.returncode)
        return Outcome(
            target=job.target,
            seconds=seconds,
            error=_with_remedy(error, failed),
            step=failed.title if failed else "",
            output=tuple(failed.lines) if failed else (),
        )

    def _tag(self, job: Job, results: Mapping[str, str], seconds: float) -> Outcome:
        import docker.errors

        target = job.target
        # The key that holds an image's id: classic stores name images by config, containerd's and
        # Engine 20.10 by the other.
        image_id = results.get("containerimage.config.digest") or results["containerimage.digest"]
        with contextlib.closing(self._engine.client()) as client:
            try:
                try:
                    image = client.images.get(image_id)
                except docker.errors.ImageNotFound:
                    image = client.images.get(results["containerimage.digest"])
                # An image of a container is no waste, however old its date makes it.
                with created(client, str(image.id), command=["unused"], network_mode="none"):
                    if self._check:
                        self._check(client, str(image.id), target)
                    if not job.aside:
                        self._name(client, str(image.id), job)
            except docker.errors.APIError as error:
                raise BuildError(f"{target.name} cannot be tagged: {error.explanation}") from error
            size = unpacked_size(client, str(image.id))
        return Outcome(target=target, seconds=seconds, image_id=str(image.id), size=size)

    def _name(self, client: docker.DockerClient, image: str, job: Job) -> None:
        if key := job.labels.get(KEY_LABEL, ""):
            remember(image, key)
        name_image(
            client,
            image,
            job.target,
            key,
            keeps=partial(is_anothers, job.target, than=key),
            superseded=job.superseded,
        )

    def _stop(self) -> None:
        self._stopping = True
        for process in list(self._running):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
