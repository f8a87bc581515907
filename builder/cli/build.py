"""The command `dlc build`: images from targets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.cli.main import cli
from builder.cli.options import builder_options, output_option
from builder.cli.output import print_failures, print_json, print_table
from builder.cli.progress import watching
from builder.cli.selection import all_option, check_all, selection_options
from builder.cli.settings import Settings
from builder.errors import BaseImageError, BuildError
from builder.util.clock import today
from builder.util.console import say
from builder.util.text import counted, human_size

if TYPE_CHECKING:
    from builder.build.bakefile import Cache
    from builder.matrix.format import Base
    from builder.matrix.target import Target


@cli.command()
@selection_options
@all_option
@click.option("--dry-run", is_flag=True, help="Only report what can be built; ask no engine.")
@click.option("--again", is_flag=True, help="Build targets that are up to date, too.")
@click.option("--strict", is_flag=True, help="Fail if a base has reached its end of life.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    metavar="N",
    help="Number of parallel builds [default: one for each CPU].",
)
@click.option(
    "--skip-space-check", is_flag=True, help="Build even if the engine's disk seems too full."
)
@builder_options
@output_option
def build(
    settings: Settings,
    targets: tuple[Target, ...],
    every: bool,
    dry_run: bool,
    again: bool,
    strict: bool,
    jobs: int,
    skip_space_check: bool,
    builder_name: str,
    cache: Cache,
    output: str,
) -> None:
    """Render, build and tag images.

    A target whose image is up to date is not built.
    """
    if not dry_run:
        check_all("build", targets, every=every)
    if strict or not dry_run:
        _warn_of_expired(targets, strict=strict)
    if dry_run:
        _dry_run(settings, targets, output)
        return
    from builder.build.build import build as build_targets
    from builder.dockerfile.render import Renderer

    with watching() as watcher:
        outcomes = build_targets(
            targets,
            images=settings.images,
            renderer=Renderer(settings.templates),
            at_once=jobs,
            watcher=watcher,
            say=say,
            mirrors=settings.mirrors,
            again=again,
            builder=builder_name,
            cache=cache,
            check_space=not skip_space_check,
        )
    built = [outcome for outcome in outcomes if not outcome.error]
    rows = [
        {
            "image": each.target.name,
            "id": each.image_id,
            "size": each.size,
            "seconds": None if each.up_to_date else round(each.seconds, 1),
        }
        for each in built
    ]
    if output == "json":
        print_json(rows)
    elif rows:
        short = [
            {
                "image": each.target.name,
                "id": each.image_id[7:19],
                "size": human_size(each.size),
                "seconds": "up to date" if each.up_to_date else round(each.seconds, 1),
            }
            for each in built
        ]
        print_table(short, ("image", "id", "size", "seconds"))
    if len(built) < len(outcomes):
        print_failures(outcomes)
        failed, total = len(outcomes) - len(built), counted(len(outcomes), "target")
        raise BuildError(f"{failed} of {total} did not build")


def _warn_of_expired(targets: Sequence[Target], *, strict: bool) -> None:
    """Say which bases of targets have reached their end of life; BaseImageError if `strict`."""
    from builder.engine.base_pins import expired

    found = expired(targets, today())
    if found and strict:
        lines = [f"{each}: {', '.join(target.name for target in each.targets)}" for each in found]
        raise BaseImageError(
            "\n".join(lines), remedy="select targets on other bases, or build without --strict"
        )
    for each in found:
        say(f"warning: {each} ({counted(len(each.targets), 'target')})")


def _dry_run(settings: Settings, targets: tuple[Target, ...], output: str) -> None:
    from builder.build.bakefile import Job, definition
    from builder.build.plan import plan
    from builder.dockerfile.render import Renderer
    from builder.engine.bases import BaseSource
    from builder.engine.build_secrets import certificates_secret
    from builder.matrix.mirrors import Mirrors

    def reference(base: Base, platform: str) -> str:
        return BaseSource(name=base.name, image=base.image, platform=platform).reference

    if output == "json":
        jobs = [
            Job(
                target=target,
                context=(settings.images / target.folder).absolute(),
                arguments={
                    "BASE": reference(target.base, target.platform),
                    "TOOLS_BASE": reference(target.tools_base, target.platform),
                },
                labels={},
            )
            for target in targets
        ]
        bundle = certificates_secret()
        secrets = {"ca-bundle": bundle} if bundle else {}
        if settings.mirrors != Mirrors():
            secrets["site"] = Path("dlc-site").absolute()
            write = settings.mirrors_command(secrets["site"])
            say(f"the secret `site` is not written; where it is to be: {write}")
        print_json(definition(jobs, secrets, printed=True))
        return
    rows = [
        {
            "image": each.target.name,
            "base": each.target.base.image.split("@", maxsplit=1)[0],
            "state": each.state,
            "why": None if each.inputs else each.reasons[0],
        }
        # No engine is asked for images.
        for each in plan(targets, settings.images, Renderer(settings.templates), {})
    ]
    print_table(rows, ("image", "base", "state", "why"))
