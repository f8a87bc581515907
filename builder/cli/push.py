"""`dlc push`: images to a registry, with all their tags."""

from __future__ import annotations

import datetime
import math
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.cli.main import cli
from builder.cli.options import output_option, releases_folder, releases_option, sign_options
from builder.cli.output import print_json, print_line
from builder.cli.selection import all_option, check_all, selection_options
from builder.cli.settings import Settings
from builder.errors import PushError
from builder.util.clock import today
from builder.util.console import say
from builder.util.text import counted

if TYPE_CHECKING:
    from builder.matrix.target import Target
    from builder.release.record import Released

_PROFILES = ("sagemaker", "oci")


def _revision(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if value and not re.fullmatch(r"(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)", value, re.ASCII):
        raise click.BadParameter("write a release as two numbers, like 1.0")
    return value


def _patience(_context: click.Context, _option: click.Parameter, value: float) -> float:
    if math.isnan(value):
        raise click.BadParameter("nan is no number of seconds")
    return value


@cli.command()
@selection_options
@all_option
@click.option(
    "--registry", required=True, metavar="HOST[:PORT][/PREFIX]", help="Where the images go."
)
@click.option(
    "--profile",
    type=click.Choice(_PROFILES),
    default="sagemaker",
    show_default=True,
    help="Docker's media types and gzip, or OCI's with zstd, SBOM and provenance.",
)
@click.option(
    "--release",
    "revision",
    default="",
    metavar="X.Y",
    callback=_revision,
    help="For the tag -vX.Y [default: that of the same image, else the next].",
)
@sign_options
@click.option("--immutable", is_flag=True, help="Move no tag that exists.")
@releases_option
@click.option(
    "--date",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="The day it is recorded under [default: today, in UTC].",
)
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=90,
    show_default=True,
    metavar="SECONDS",
    callback=_patience,
    help="Give up after so long without progress.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    metavar="N",
    help="Number of parallel pushes.",
)
@output_option
def push(
    settings: Settings,
    targets: tuple[Target, ...],
    every: bool,
    registry: str,
    profile: str,
    revision: str,
    sign: str | None,
    log: bool,
    immutable: bool,
    releases: Path | None,
    date: datetime.datetime | None,
    patience: float,
    jobs: int,
    output: str,
) -> None:
    """Push images to a registry with all their tags; prints where they are, by digest.

    What is there already is not uploaded again: after a failure, run the same once more.
    """
    from builder.cli.progress import watching_pushes
    from builder.dockerfile.render import Renderer
    from builder.registry.reference import parse_registry
    from builder.release.attestations import sealer
    from builder.release.push_many import push_all
    from builder.release.pusher import Sources, pusher_to
    from builder.release.record import check_writable, file_of, read, record
    from builder.release.signing import signer_of
    from builder.release.tags import check_revision

    parse_registry(registry)  # what is none is told first
    check_all("push", targets, every=every)
    if revision:
        check_revision(revision, targets)
    day = (date.date() if date else today()).isoformat()
    signer = signer_of(sign, log=log)
    folder = releases_folder(settings, releases)
    # Before anything is pushed that could not be recorded.
    read(file_of(folder, day))
    check_writable(folder)
    done: list[Released] = []

    def pushed(released: Released) -> None:
        try:
            record(folder, day, released)
        except PushError as error:
            raise PushError(
                f"{released.reference} was pushed, but not recorded: {error.message}",
                remedy="fix that, and push again: nothing is uploaded twice",
            ) from error
        done.append(released)
        if output != "json":
            print_line(released.reference)

    sources = Sources(
        targets=settings.targets,
        images=settings.images,
        renderer=Renderer(settings.templates),
    )
    with (
        watching_pushes() as watcher,
        pusher_to(
            registry,
            sources,
            watcher=watcher,
            profile=profile,
            revision=revision,
            patience=patience,
            immutable=immutable,
            records=folder,
            seal=sealer(signer, sources.commit) if signer else None,
        ) as pusher,
    ):
        failures = push_all(pusher, targets, at_once=jobs, pushed=pushed)
        pusher.store.done = not failures
    if output == "json":
        print_json([asdict(each) for each in sorted(done, key=lambda r: (r.image, r.tag))])
    if len(failures) == 1 and len(targets) == 1:
        raise failures[0].error
    for failure in failures:
        say(f"dlc: {failure.error}")
    if failures:
        raise PushError(
            f"{counted(len(failures), 'image')} of {len(targets)} not pushed",
            remedy="run the same again: what is there is not uploaded twice",
        )
