"""From targets to tagged images: contexts, engine, bases, bakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from builder import bases, history
from builder.bake import Baker, Job, Outcome, Watcher
from builder.contract import size
from builder.engine import state_directory, up
from builder.errors import BaseImageError, DlcError
from builder.local_images import images_of
from builder.mirrors import Mirrors
from builder.plan import Context, Inputs, inputs, prepare, why
from builder.render import Renderer, apply, changes
from builder.target import Target

if TYPE_CHECKING:
    from builder.bases import BaseImage
    from builder.engine import Engine
    from builder.matrix import Base

__all__ = ["build"]

Say = Callable[[str], None]


def build(
    targets: Sequence[Target],
    *,
    images: Path,
    renderer: Renderer,
    at_once: int,
    watcher: Watcher,
    say: Say,
    mirrors: Mirrors | None = None,
    again: bool = False,
) -> list[Outcome]:
    """Build targets and tag their images; one that fails does not stop the others.

    An image that is up to date is left as it is, unless it is to be built `again`. The outcomes
    come in the order of `targets`. EngineError if there is no engine to build with.
    """
    mirrors = mirrors or Mirrors()
    apply(changes(images, targets, renderer, prune=False))
    done: dict[str, Outcome] = {}
    wanted: list[Inputs] = []
    for target in targets:
        try:
            wanted.append(inputs(target, images, renderer))
        except DlcError as error:
            done[target.name] = _failure(target, error, watcher)
    if not wanted:
        return [done[target.name] for target in targets]

    engine = up(say=say)
    there = {} if again else images_of(engine)
    found: dict[str, BaseImage | BaseImageError] = {}
    jobs = []
    for each in wanted:
        target, image = each.target, there.get(each.target.name)
        if image and not why(each, image) and size.fits(image, target):
            done[target.name] = Outcome(
                target=target, seconds=0.0, image_id=image.id, size=image.size, up_to_date=True
            )
            continue
        try:
            base = _base(engine, target.base, mirrors, found, say)
            tools = _base(engine, target.tools_base, mirrors, found, say)
        except BaseImageError as error:
            done[target.name] = _failure(target, error, watcher)
            continue
        jobs.append(_job(prepare(each, state_directory() / "contexts"), base, tools))
    built = Baker(engine, watcher, check=size.check).build(jobs, at_once=at_once, mirrors=mirrors)
    history.record(built)
    done |= {outcome.target.name: outcome for outcome in built}
    return [done[target.name] for target in targets]


def _job(context: Context, base: BaseImage, tools: BaseImage) -> Job:
    return Job(
        target=context.target,
        context=context.folder,
        arguments={"BASE": base.reference, "TOOLS_BASE": tools.reference},
        labels={
            "dlc.base": f"{base.how} {base.id}",
            **context.inputs.labels(),
        },
    )


def _base(
    engine: Engine,
    base: Base,
    mirrors: Mirrors,
    found: dict[str, BaseImage | BaseImageError],
    say: Say,
) -> BaseImage:
    """A base's image, asked for once, however many targets start from it."""
    if base.image not in found:
        import docker.errors
        import requests

        image = mirrors.image(base.image)
        source = bases.BaseSource(name=base.name, image=image, bootstrap=base.bootstrap)
        try:
            found[base.image] = bases.ensure(engine, source, say=say)
        except BaseImageError as error:
            found[base.image] = error
        except (docker.errors.DockerException, requests.RequestException) as error:
            found[base.image] = BaseImageError(
                f"no base {base.name}: the engine says: {error}", remedy="see `dlc engine status`"
            )
    had = found[base.image]
    if isinstance(had, BaseImageError):
        raise had
    return had


def _failure(target: Target, error: DlcError, watcher: Watcher) -> Outcome:
    outcome = Outcome(target=target, seconds=0.0, error=str(error))
    watcher.ended(outcome)
    return outcome
