"""Pins of bases: whether they still resolve, and new ones in the matrix and Dockerfiles."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from builder.dockerfile.render import Change, Renderer, changes
from builder.engine import bases as base_images
from builder.engine.base_pins import is_over, pinned_digest
from builder.engine.connection import Engine
from builder.engine.failures import engine_errors
from builder.errors import BaseImageError, EngineError, MatrixError
from builder.matrix.format import Base
from builder.matrix.mirrors import Mirrors
from builder.matrix.rewrite import Original
from builder.registry.digests import Answer, ask

__all__ = ["Listed", "Pin", "current", "listed", "repin"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """A base; how the engine got it, and whether its registry has it, as far as that is known."""

    name: str
    image: str
    digest: str
    source: str | None
    end_of_life: str
    expired: bool
    resolves: str | None


def listed(
    bases: Sequence[Base],
    mirrors: Mirrors,
    engine: Engine | None,
    *,
    offline: bool,
    today: datetime.date,
    say: Callable[[str], None],
) -> list[Listed]:
    """What is known of bases; their registries are asked unless `offline`."""
    images = {base.name: mirrors.image(base.image) for base in bases}
    answers = {} if offline else ask(images.values(), engine)
    sources = _sources(engine, bases, say)
    found = []
    for base in bases:
        digest, resolves = pinned_digest(base), None
        if answer := answers.get(images[base.name]):
            other = "" if answer.digest == digest else "its registry has another digest"
            why = answer.problem or other
            resolves = f"no: {why}" if why else "yes"
        found.append(
            Listed(
                name=base.name,
                image=base.image.partition("@")[0],
                digest=digest,
                source=sources.get(base.name),
                end_of_life=base.end_of_life.isoformat(),
                expired=is_over(base, today),
                resolves=resolves,
            )
        )
    return found


def _sources(
    engine: Engine | None, bases: Sequence[Base], say: Callable[[str], None]
) -> dict[str, str]:
    """How the engine got the bases that it has."""
    if engine is None:
        return {}
    found: dict[str, str] = {}
    try:
        with engine_errors(), closing(engine.client()) as client:
            for base in bases:
                source = base_images.BaseSource(name=base.name, image=base.image)
                if had := base_images.existing(client, source):
                    found[base.name] = had.how
    except EngineError as error:
        say(f"warning: {error.message}")
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Pin:
    """A base, its digest in the matrix and that of its tag now; why that is not known, if so."""

    name: str
    image: str
    before: str
    digest: str
    problem: str | None

    @property
    def is_new(self) -> bool:
        """Whether the matrix pins it to something else."""
        return self.digest != self.before


def current(bases: Sequence[Base], mirrors: Mirrors, engine: Engine | None) -> list[Pin]:
    """What the tags of bases are now; one that cannot be asked for stays as it is."""
    images = {base.name: base.image.partition("@")[0] for base in bases}
    tagged = {
        name: mirrors.image(image)
        for name, image in images.items()
        if ":" in image.rpartition("/")[2]
    }
    answers = ask(tagged.values(), engine)
    no_tag = Answer(problem="the matrix names no tag of it")
    found = {name: answers[tagged[name]] if name in tagged else no_tag for name in images}
    return [
        Pin(
            name=base.name,
            image=images[base.name],
            before=pinned_digest(base),
            digest=found[base.name].digest or pinned_digest(base),
            problem=found[base.name].problem or None,
        )
        for base in bases
    ]


def repin(
    original: Original, pins: Sequence[Pin], images: Path, renderer: Renderer
) -> list[Change]:
    """Write new pins into the matrix and the Dockerfiles that are there; what was rendered.

    BaseImageError, and nothing is written, if the matrix cannot be changed so.
    """
    new = [pin for pin in pins if pin.is_new]
    if not new:
        return []
    wanted = {name: base.image for name, base in original.matrix.bases.items()}
    text = original.text
    try:
        for pin in new:
            text = text.pin_base(pin.name, pin.before, pin.digest)
            wanted[pin.name] = f"{wanted[pin.name].partition('@')[0]}@{pin.digest}"
        edit = original.edited(text)
    except MatrixError as error:
        raise BaseImageError(f"{error.problems[0]}; nothing was written") from error
    if {name: base.image for name, base in edit.matrix.bases.items()} != wanted:
        raise BaseImageError(
            f"{original.path} is written in a way that {' and '.join(pin.name for pin in new)} "
            "cannot be updated; nothing was written",
            remedy="write each image on one line, like `image: debian:bookworm@sha256:...`",
        )
    names = {pin.name for pin in new}
    concerned = [
        target
        for target in edit.targets
        if names & {target.base.name, target.tools_base.name}
        and (images / target.folder / "Dockerfile").is_file()
    ]
    rendered = list(changes(images, concerned, renderer, prune=False))
    edit.save(change.file for change in rendered)
    return rendered
