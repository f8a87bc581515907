"""From targets to tagged images: contexts, engine, bases, bakes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from builder.build import build_times, size_budget
from builder.build.bake import Baker, Outcome, Watcher
from builder.build.bakefile import NO_CACHE, Cache, Job
from builder.build.builder import LOCAL, BuilderConfig, choose, refuse_platform
from builder.build.contexts import Context, is_anothers, prepare, root
from builder.build.identity import derived_here
from builder.build.plan import Inputs, find_by_key, index_by_key, inputs
from builder.build.space import require_space
from builder.dockerfile.render import Renderer, apply, changes
from builder.engine import bases
from builder.engine.connection import engine_client
from builder.engine.failures import engine_errors
from builder.engine.image import ImageInfo
from builder.engine.images import images_here
from builder.engine.namespace import labels
from builder.engine.orphans import remove_orphans
from builder.engine.private import up
from builder.engine.tagging import name_image
from builder.errors import BaseImageError, BuildError, DlcError, EngineError
from builder.inventory.image import of_image
from builder.matrix.mirrors import Mirrors
from builder.matrix.target import Target
from builder.util.scratch import remove_left

if TYPE_CHECKING:
    import docker

    from builder.engine.bases import BaseImage
    from builder.engine.connection import Engine
    from builder.matrix.format import Base

__all__ = ["build", "rebuild"]

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
    builder: str = "",
    cache: Cache = NO_CACHE,
    check_space: bool = True,
) -> list[Outcome]:
    """Build targets and tag their images; one that fails does not stop the others.

    An image that is up to date is left as it is, and one with the right key under another name is
    taken, unless all are to be built `again`. The outcomes come in the order of `targets`.
    EngineError if there is no engine to build with, BuildError if there is no such builder, or,
    unless `check_space` is false, no space for what is to be built.
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

    here = images_here(up=lambda: up(say=say, build=False)) if wanted else {}
    keyed = {} if again else index_by_key(here)
    missing: list[Inputs] = []
    taken: dict[str, tuple[str, ImageInfo]] = {}
    for each in wanted:
        own = find_by_key(each, keyed, derived_here)
        if own and own[0] == each.target.name and size_budget.fits(own[1], each.target):
            done[each.target.name] = _up_to_date(each.target, own[1])
            continue
        missing.append(each)
        if own:
            taken[each.target.name] = own
    if missing:
        engine = up(say=say, build=any(each.target.name not in taken for each in missing))
        for each in missing:
            if each.target.name in taken:
                name, image = taken[each.target.name]
                done[each.target.name] = _take(engine, each, name, image, watcher, say)
        rest = [each for each in missing if each.target.name not in taken]
        how = choose(engine, builder, cache) if rest else LOCAL
        if check_space and not how.is_remote:
            require_space(engine, rest, here.values(), build_times.load())
        jobs = _jobs(engine, rest, images, mirrors, how, done, watcher, say)
        baker = Baker(engine, watcher, check=_accept, how=how)
        built = baker.build(jobs, at_once=at_once, mirrors=mirrors)
        build_times.record(built)
        done |= {outcome.target.name: outcome for outcome in built}
    if missing or remove_left():
        _remove_containers()
    return [done[target.name] for target in targets]


def _remove_containers() -> None:
    """Remove those of killed runs: one that was just making a container, or had named its image.

    The latter has left its folder too, so that nothing is asked where none was killed.
    """
    with suppress(EngineError), engine_client() as client:
        remove_orphans(client)


def rebuild(
    wanted: Inputs, *, images: Path, mirrors: Mirrors, watcher: Watcher, say: Say
) -> Outcome:
    """Build a target with no step from a cache; the image gets no name, and is the caller's."""
    engine = up(say=say)
    require_space(engine, [wanted], (), build_times.load())
    done: dict[str, Outcome] = {}
    jobs = _jobs(engine, [wanted], images, mirrors, LOCAL, done, watcher, say)
    aside = [replace(job, aside=True) for job in jobs]
    [outcome] = [*done.values(), *Baker(engine, watcher).build(aside, at_once=1, mirrors=mirrors)]
    return outcome


def _take(
    engine: Engine, made_of: Inputs, name: str, image: ImageInfo, watcher: Watcher, say: Say
) -> Outcome:
    """Give an image that was built of the same, wherever it came from, its target's names."""
    target = made_of.target
    try:
        with (
            engine_errors(f"{name} cannot be reused", kind=BuildError),
            closing(engine.client(timeout=300)) as client,
        ):
            _accept(client, image.id, target)
            keeps = partial(is_anothers, target, than=made_of.key)
            name_image(client, image.id, target, made_of.key, keeps=keeps)
    except DlcError as error:
        return _failure(target, error, watcher)
    if name != target.name:
        say(f"{target.name}: reused image {name}, which has the same build key")
    return _up_to_date(target, image)


def _accept(client: docker.DockerClient, image: str, target: Target) -> None:
    """A DlcError for an image that is too large, or that is not as locked.

    What is in it is recorded under its build key.
    """
    size_budget.check(client, image, target)
    of_image(client, image, target.name).require_locked()


def _up_to_date(target: Target, image: ImageInfo) -> Outcome:
    return Outcome(target=target, seconds=0.0, image_id=image.id, size=image.size, up_to_date=True)


def _jobs(
    engine: Engine,
    wanted: Sequence[Inputs],
    images: Path,
    mirrors: Mirrors,
    how: BuilderConfig,
    done: dict[str, Outcome],
    watcher: Watcher,
    say: Say,
) -> list[Job]:
    """What is to be baked; a target that cannot be run or has no base is `done`."""
    found: dict[tuple[str, str], BaseImage | BaseImageError] = {}
    jobs = []
    for each in wanted:
        target = each.target
        try:
            refuse_platform(engine, target.platform, how)
            if how.is_remote:
                base, tools = (_pulled(each, mirrors) for each in (target.base, target.tools_base))
            else:
                base = _base(engine, target.base, target.platform, mirrors, found, say)
                tools = _base(engine, target.tools_base, target.platform, mirrors, found, say)
        except (BaseImageError, BuildError) as error:
            done[target.name] = _failure(target, error, watcher)
            continue
        jobs.append(_job(prepare(each, root(), images), base, tools))
    return jobs


def _job(context: Context, base: BaseImage, tools: BaseImage) -> Job:
    return Job(
        target=context.target,
        context=context.folder,
        arguments={"BASE": base.reference, "TOOLS_BASE": tools.reference},
        labels={
            "dlc.base": f"{base.how} {base.id}",
            **context.inputs.labels(),
            **labels(),
        },
        superseded=context.superseded,
    )


def _pulled(base: Base, mirrors: Mirrors) -> BaseImage:
    """A base as a builder elsewhere pulls it: what the engine here has is not there."""
    image = mirrors.image(base.image)
    digest = bases.BaseSource(name=base.name, image=image).digest
    return bases.BaseImage(name=base.name, reference=image, id=digest, how="pulled")


def _base(
    engine: Engine,
    base: Base,
    platform: str,
    mirrors: Mirrors,
    found: dict[tuple[str, str], BaseImage | BaseImageError],
    say: Say,
) -> BaseImage:
    """A base's image, asked for once, however many targets start from it."""
    source = bases.BaseSource(
        name=base.name,
        image=mirrors.image(base.image),
        bootstrap=base.bootstrap,
        platform=platform,
    )
    if (base.image, platform) not in found:
        try:
            with engine_errors(f"no base {source.local_name}", kind=BaseImageError):
                found[base.image, platform] = bases.ensure(engine, source, say=say)
        except BaseImageError as error:
            found[base.image, platform] = error
    had = found[base.image, platform]
    if isinstance(had, BaseImageError):
        raise had
    return had


def _failure(target: Target, error: DlcError, watcher: Watcher) -> Outcome:
    outcome = Outcome(target=target, seconds=0.0, error=str(error))
    watcher.ended(outcome)
    return outcome
