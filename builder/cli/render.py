"""The command `dlc render`: Dockerfiles from targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from builder.cli.main import cli
from builder.cli.selection import selection_options
from builder.cli.settings import Settings
from builder.errors import DriftError
from builder.util.console import say
from builder.util.text import counted

if TYPE_CHECKING:
    from builder.matrix.target import Target


@cli.command()
@selection_options
@click.option("--check", is_flag=True, help="Write nothing; show a diff and fail if there is one.")
def render(settings: Settings, targets: tuple[Target, ...], check: bool) -> None:
    """Write Dockerfiles and what they copy.

    Those of targets that the matrix no longer has are removed. `dlc lock --check` does for locks
    what --check does here; `dlc plan` tells which images to build.
    """
    from builder.dockerfile.render import Renderer, apply, changes

    everything = len(targets) == len(settings.targets)
    renderer = Renderer(settings.templates)
    found = list(changes(settings.images, targets, renderer, prune=everything))
    if check:
        for change in found:
            click.echo(change.diff(), nl=False)
        if found:
            raise DriftError(
                f"not as rendered: {counted(len(found), 'file')} below {settings.images}",
                remedy="run `dlc render` and commit the result",
            )
        return
    apply(found)
    for change in found:
        say(f"{'removed' if change.after is None else 'wrote'} {change.path}")
    say(f"{counted(len(targets), 'target')} rendered, {counted(len(found), 'file')} changed")
