"""The commands of `dlc` for the records of what was pushed."""

from __future__ import annotations

from pathlib import Path

import click

from builder.cli.main import cli
from builder.cli.options import releases_folder, releases_option
from builder.cli.settings import Settings, pass_settings
from builder.util.console import say
from builder.util.text import counted


@cli.group()
def releases() -> None:
    """What was pushed, by day."""


@releases.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@releases_option
@pass_settings
def merge(settings: Settings, sources: tuple[Path, ...], releases: Path | None) -> None:
    """Add what other machines recorded, in SOURCES, to the files here.

    SOURCES are such files, or folders that have some below them. Their order does not matter, and
    what is there already stays once. Inventories and notes of folders come along.
    """
    from builder.release.inventories import beside, copy
    from builder.release.record import merge as merge_files

    found = [
        path
        for source in sources
        for path in (sorted(source.rglob("*.json")) if source.is_dir() else [source])
    ]
    paths = [path for path in found if not beside(path)]
    folder = releases_folder(settings, releases)
    for path in merge_files(folder, paths):
        click.echo(path)
    copy(folder, (source for source in sources if source.is_dir()))
    say(f"{counted(len(paths), 'file')} merged")
