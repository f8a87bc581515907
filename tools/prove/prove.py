"""Proves targets: builds each, checks it, writes down what was found, and removes it again."""

from __future__ import annotations

import datetime
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import docker
import requests

from builder.build.build import build
from builder.build.plan import inputs
from builder.build.size_budget import measure
from builder.cli.progress import Builds, Progress
from builder.contract.basics import basics, predicts, trains
from builder.dockerfile.render import Renderer
from builder.engine import bases
from builder.engine.connection import Engine
from builder.engine.layers import from_engine, to_json
from builder.engine.namespace import local_name
from builder.engine.tagging import remove_image
from builder.errors import BaseImageError, DlcError
from builder.locks import wheelhouse
from builder.locks.direct import address
from builder.matrix.format import Base, Wheel
from builder.matrix.target import Target
from builder.util.state import state_directory
from tools.prove import bases as stand_in_bases
from tools.prove.result import Row
from tools.prove.room import Room
from tools.prove.targets import StandIn, lock, locks_digest, requirements, stand_in

__all__ = ["Prover", "in_groups"]

Say = Callable[[str], None]

PROBE_SECONDS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A target ready to be built, really or on stand-ins."""

    real: Target
    built: StandIn
    images: Path
    key: str


def in_groups(targets: Iterable[Target]) -> list[Target]:
    """Targets that share a framework layer next to each other, Pythons together."""
    return sorted(targets, key=_framework)


def _framework(target: Target) -> tuple[str, ...]:
    return (
        *(target.python, target.base.name),
        *(target.framework, target.framework_version, target.build.name, target.toolchain),
    )


class Prover:
    """Proves targets one after the other; the next is built while one is checked."""

    def __init__(self, images: Path, interpreters: Path | None, say: Say, engine: Engine) -> None:
        self._images, self._say = images, say
        self._interpreters = stand_in_bases.interpreters(interpreters) if interpreters else {}
        self._engine = engine
        self._stand_ins = state_directory() / "stand-ins"
        self._bases: dict[tuple[str, str], Base | None] = {}
        self._reached: dict[str, bool] = {}
        self._room = Room(self._engine, say)
        self.skipped: list[str] = []

    def prove(
        self,
        targets: Sequence[Target],
        known: Mapping[str, Row],
        keep: Callable[[Row], None],
        *,
        cold: bool,
    ) -> None:
        """Prove every target that `known` has not proven as it is now; `keep` gets each row.

        `cold` is without a layer of earlier builds, so that the seconds are those of a whole build.
        """
        if cold:
            self._room.drop(layers_only=True)
        pending: Future[Row] | None = None
        framework: tuple[str, ...] = ()
        with ThreadPoolExecutor(max_workers=1) as checks:
            for target in in_groups(targets):
                try:
                    prepared = self._prepare(target)
                except BaseImageError as error:  # nothing was tried: what was proven stays
                    self._say(f"{target.name}: skipped: {error}")
                    self.skipped.append(target.name)
                    continue
                except DlcError as error:
                    keep(_row(target, error=str(error)))
                    continue
                row = known.get(target.name)
                if row and row.passed and row.key == prepared.key:
                    self._say(f"{target.name}: proven on {row.proven}")
                    continue
                if pending and framework != _framework(target):  # no check while room is made
                    keep(pending.result())
                    pending = None
                if framework and framework != _framework(target):
                    self._room.make()
                framework = _framework(target)
                made = self._build(prepared)
                if pending:
                    keep(pending.result())
                    pending = None
                if made.error:
                    keep(made)
                else:
                    pending = checks.submit(self._check, prepared, made)
            if pending:
                keep(pending.result())

    def key(self, target: Target) -> str:
        """The build key of what is built for a target."""
        return self._prepare(target).key

    @contextmanager
    def image(self, target: Target) -> Iterator[Target]:
        """A target's image for as long as it is looked at.

        DlcError if it cannot be built. Gives the target that was really built.
        """
        prepared = self._prepare(target)
        built = prepared.built.target
        with closing(self._engine.client(timeout=600)) as client:
            row = self._build(prepared)
            if row.error:
                raise DlcError(f"{built.name}: {row.error}", remedy="fix what it says")
            try:
                yield built
            finally:
                remove_image(client, local_name(built.name))

    def _prepare(self, target: Target) -> Prepared:
        base = self._base(target)
        wheels = not all(self._reaches(target, wheel) for wheel in target.build.wheels)
        built = stand_in(target, base=base, wheels=wheels)
        images = self._images
        if built.target.stand_in:
            images = self._stand_ins
            lock(target, built.target, self._images, images)
        made_of = inputs(built.target, images, Renderer())
        return Prepared(real=target, built=built, images=images, key=made_of.key)

    def _base(self, target: Target) -> Base | None:
        """The base to stand in for the target's own; None if that can be had."""
        key = (target.base.name, target.python)
        if key not in self._bases:
            real = target.base
            source = bases.BaseSource(name=real.name, image=real.image, bootstrap=real.bootstrap)
            try:
                bases.ensure(self._engine, source, say=self._say)
                self._bases[key] = None
            except BaseImageError as error:
                interpreter = self._interpreters.get(target.python)
                if interpreter is None:
                    raise BaseImageError(
                        f"{error.message}, and there is no CPython {target.python} for a stand-in",
                        remedy="name a folder of interpreters: DLC_INTERPRETERS",
                    ) from error
                self._bases[key] = stand_in_bases.make(
                    self._engine, real, target.python, interpreter, target.tools_base, self._say
                )
        return self._bases[key]

    def _reaches(self, target: Target, wheel: Wheel) -> bool:
        """Whether a direct wheel can be had: from a wheelhouse, or from its address."""
        if wheelhouse.find(wheel, wheelhouse.directories()):
            return True
        where = address(wheel.url, target.sources)
        if where not in self._reached:
            request = urllib.request.Request(where, method="HEAD")  # noqa: S310 - of the matrix
            try:
                with urllib.request.urlopen(request, timeout=PROBE_SECONDS):  # noqa: S310
                    self._reached[where] = True
            except (urllib.error.URLError, OSError):
                self._reached[where] = False
        return self._reached[where]

    def _build(self, prepared: Prepared) -> Row:
        target = prepared.built.target
        [outcome] = build(
            [target],
            images=prepared.images,
            renderer=Renderer(),
            at_once=1,
            watcher=Builds(Progress()),
            say=self._say,
            again=True,
        )
        row = _row(prepared.real, prepared.built, key=prepared.key, images=self._images)
        error = outcome.error
        if error and outcome.output:
            error += "\n" + "\n".join(outcome.output[-20:])
        return replace(row, seconds=round(outcome.seconds, 1), size=outcome.size, error=error)

    def _check(self, prepared: Prepared, row: Row) -> Row:
        """Run the contract, then remove the image."""
        target = prepared.built.target
        name = local_name(target.name)
        with closing(self._engine.client(timeout=600)) as client:
            try:
                wanted = requirements(prepared.images / target.folder)
                checks = basics(client, name, target, wanted)
                work = predicts(client, name, self._say) if target.mode == "inference" else None
                checks.append(work or trains(client, name))
                layers = to_json(from_engine(client, name))["layers"]
                size = measure(client, name, target)
                return replace(
                    row,
                    limit=size.limit,
                    fills=size.contents.sums,
                    checks=tuple(checks),
                    layers=tuple(layers),
                )
            except (DlcError, docker.errors.DockerException, requests.RequestException) as error:
                return replace(row, error=str(error))
            finally:
                with suppress(docker.errors.APIError):
                    remove_image(client, name)


def _row(
    target: Target,
    built: StandIn | None = None,
    *,
    key: str = "",
    images: Path | None = None,
    error: str = "",
) -> Row:
    stands_in = built.target.stand_in if built else ""
    base = target.base.name
    if built and built.target.base is not target.base:
        base = f"{target.tools_base.name} for {base}"
    return Row(
        image=target.name,
        base=base,
        stand_in=stands_in,
        gaps=built.gaps if built else (),
        locked=target.locked.isoformat(),
        date=target.date.isoformat(),
        locks=locks_digest(images / target.folder) if images else "",
        key=key,
        proven=datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
        error=error,
    )
