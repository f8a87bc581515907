"""The command `dlc sdk-config`: the SageMaker SDK's own files, for images of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.cli.main import cli
from builder.cli.selection import selection_options
from builder.cli.settings import Settings
from builder.errors import SelectionError
from builder.util import atomic
from builder.util.console import say

if TYPE_CHECKING:
    from builder.matrix.target import Target


@cli.command("sdk-config")
@selection_options
@click.option("--account", help="[default: the official one of each region]")
@click.option(
    "--region",
    "regions",
    multiple=True,
    help="Where the images are; may be given often [default: all with official images].",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="DIR",
    help="Where the files go [default: here].",
)
def sdk_config(
    _: Settings,
    targets: tuple[Target, ...],
    account: str | None,
    regions: tuple[str, ...],
    folder: Path,
) -> None:
    """Write what the SageMaker SDK finds its images by: huggingface.json, and those of Neuron.

    What the format cannot say is left out, and named.
    """
    from builder.matrix import uris
    from builder.report.sdk_config import sdk_config as make

    named = regions or tuple(uris.regions())
    for region in named:
        uris.registry_host(region, account)
    made = make(targets, account, named)
    for name, why in made.left_out.items():
        say(f"skipped {name}: {why}")
    if not made.files:
        raise SelectionError("no image is left", remedy="name an --account that has them")
    atomic.write_all(
        atomic.File(path=folder / name, content=text.encode()) for name, text in made.files.items()
    )
    for name in made.files:
        say(f"wrote {folder / name}")
