"""The command `dlc bake`: a bake file that needs no dlc."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.cli.main import cli
from builder.cli.selection import selection_options
from builder.cli.settings import Settings
from builder.errors import BuildError, DriftError, LockError
from builder.util import atomic
from builder.util.console import say
from builder.util.text import counted

if TYPE_CHECKING:
    from builder.build.bakefile import Job
    from builder.matrix.format import Base
    from builder.matrix.target import Target


@cli.command()
@selection_options
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write it there [default: print it].",
)
@click.option(
    "--local-bases", is_flag=True, help="Start from the bases that the engine has by `dlc build`."
)
def bake(
    settings: Settings, targets: tuple[Target, ...], output: Path | None, local_bases: bool
) -> None:
    """Write a bake file that needs no dlc: docker buildx bake -f FILE [GROUP or TARGET]...

    Groups are the framework layers, training and inference; without a name everything is built.
    """
    from builder.build.bakefile import standalone

    text = json.dumps(standalone(_jobs(settings, targets, local_bases)), indent=2) + "\n"
    if output is None:
        click.echo(text, nl=False)
    else:
        atomic.write(output, text)
    variables = _variables(settings)
    words = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    say(" ".join(["build with:", *words, "docker buildx bake -f", str(output or "FILE")]))


def _jobs(settings: Settings, targets: tuple[Target, ...], local_bases: bool) -> list[Job]:
    """What the file says of each target; those that cannot be built are said and left out."""
    from builder.build.bakefile import Job
    from builder.build.plan import inputs
    from builder.dockerfile.render import Renderer, changes

    renderer = Renderer(settings.templates)
    drift = list(changes(settings.images, targets, renderer, prune=False))
    if drift:
        raise DriftError(
            f"not as rendered: {counted(len(drift), 'file')}, {drift[0].path} is the first",
            remedy="run `dlc render`",
        )
    jobs = []
    for target in targets:
        try:
            made_of = inputs(target, settings.images, renderer)
        except LockError as error:
            say(f"skipped: {error}")
            continue
        if target.build.wheels:
            _warn_of_wheelhouse(target)
        bases = {"BASE": target.base, "TOOLS_BASE": target.tools_base}
        references = {
            name: _base(settings, base, target.platform, local_bases)
            for name, base in bases.items()
        }
        jobs.append(
            Job(
                target=target,
                context=settings.images / target.folder,
                # What the Dockerfile says by itself need not be said again.
                arguments={name: text for name, text in references.items() if text},
                labels=made_of.labels(),
            )
        )
    if not jobs:
        raise BuildError("there is nothing to bake", remedy="see what was skipped, and why")
    return jobs


def _base(settings: Settings, base: Base, platform: str, local: bool) -> str:
    """What to start from; empty where that is what the Dockerfile names."""
    from builder.engine.bases import BaseSource

    if local:
        return BaseSource(name=base.name, image=base.image, platform=platform).reference
    image = settings.mirrors.image(base.image)
    return "" if image == base.image else image


def _warn_of_wheelhouse(target: Target) -> None:
    """A wheelhouse is staged into our own contexts only."""
    from builder.locks import wheelhouse

    folders = wheelhouse.directories()
    for wheel in target.build.wheels:
        if wheelhouse.find(wheel, folders):
            say(f"{target.name} downloads {wheel.filename}: a bake file knows of no wheelhouse")


def _variables(settings: Settings) -> dict[str, str]:
    """What this caller's own site asks for, by the variables of the file."""
    from builder.engine.build_secrets import certificates_secret
    from builder.matrix.mirrors import Mirrors

    found = {}
    if bundle := certificates_secret():
        found["CA_BUNDLE"] = str(bundle)
    if settings.mirrors != Mirrors():
        site = Path("dlc-site")
        found["SITE"] = str(site)
        say(f"SITE names the mirrors' script; write it: {settings.mirrors_command(site)}")
    return found
