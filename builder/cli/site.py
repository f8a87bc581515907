"""The command `dlc site`: a static site of all images."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

import click

from builder.cli.main import cli
from builder.cli.options import filled, releases_folder, releases_option
from builder.cli.progress import working
from builder.cli.settings import Settings, pass_settings
from builder.util.console import say
from builder.util.text import counted


@cli.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Write the site there: a folder of its own, which need not exist.",
)
@click.option(
    "--docs",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="Folder of proof.json and tasks.json [default: docs/ beside the matrix].",
)
@releases_option
@click.option(
    "--inventory",
    "inventories",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Show what this file of `dlc inventory --format json` has; repeatable.",
)
@click.option(
    "--advisories",
    multiple=True,
    callback=filled,
    metavar="FILE|DIR|URL",
    help="Show advisories too, from where `dlc audit` takes them; repeatable.",
)
@click.option(
    "--address",
    callback=filled,
    metavar="URL",
    help="Where the site will be, for the links of its feed.",
)
@pass_settings
def site(
    settings: Settings,
    output: Path,
    docs: Path | None,
    releases: Path | None,
    inventories: tuple[Path, ...],
    advisories: tuple[str, ...],
    address: str | None,
) -> None:
    """Write a static site of all images: search, a page for each, matrix, feed and data.

    It needs no server and asks no other host: open its index.html, or publish the folder.
    """
    from builder.dockerfile.render import default_templates
    from builder.site.collect import Sources, collect
    from builder.site.folder import write
    from builder.site.pages import files

    begin = time.monotonic()
    ours = default_templates()
    own = settings.templates
    folders = {"": ours}
    if own is not None and own.resolve() != ours.resolve():
        folders = {"": own, "dlc/": ours}
    sources = Sources(
        targets=settings.targets,
        images=settings.images,
        docs=docs or settings.matrix_path.parent / "docs",
        releases=releases_folder(settings, releases),
        templates=folders,
        today=datetime.datetime.now(datetime.timezone.utc).date(),
        inventories=inventories,
        advisories=advisories,
    )
    with working("writing the site"):
        catalog = collect(sources)
        found = files(catalog, address=address or "")
        changed = write(output, found)
    say(
        f"{output}: {counted(len(catalog.images), 'image')}, {counted(len(found), 'file')}, "
        f"{changed} changed, {time.monotonic() - begin:.1f} s"
    )
