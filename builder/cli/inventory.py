"""The command `dlc inventory`: what is in a built image."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from builder.cli.main import cli
from builder.cli.output import print_json, print_table
from builder.cli.progress import working
from builder.cli.selection import target_options
from builder.cli.settings import Settings
from builder.util.console import say

if TYPE_CHECKING:
    from builder.inventory.model import Inventory
    from builder.matrix.target import Target

__all__: list[str] = []


@cli.command()
@target_options
@click.option(
    "--image", metavar="NAME", help="Read this image of the engine instead of the target's."
)
@click.option(
    "--format",
    "output",
    type=click.Choice(["table", "json", "spdx", "cyclonedx"]),
    default="table",
    show_default=True,
    help="Output format; SPDX 2.3 and CycloneDX 1.6 are JSON.",
)
def inventory(_: Settings, target: Target, image: str | None, output: str) -> None:
    """List every package of a built image: Python's, the distribution's, Java's and the rest.

    It fails if what is installed is not what the image was locked to. Nothing of the image is run.
    """
    from builder.engine.connection import engine_client
    from builder.engine.namespace import local_name
    from builder.inventory.image import of_image
    from builder.inventory.model import to_json

    with engine_client() as client, working("reading the image"):
        found = of_image(client, image or local_name(target.name), image or target.name)
    if output == "json":
        print_json(to_json(found))
    elif output == "spdx":
        from builder.inventory import spdx

        print_json(spdx.document(found, name=found.image, digest=found.id))
    elif output == "cyclonedx":
        from builder.inventory import cyclonedx

        print_json(cyclonedx.document(found, name=found.image, digest=found.id))
    else:
        _table(found)
    found.require_locked()


def _table(found: Inventory) -> None:
    rows = [
        {
            "kind": each.kind,
            "package": each.name,
            "version": each.version or None,
            "from": each.layer or each.source or each.within.rpartition("/")[2] or None,
            "license": _short(each.license or ", ".join(each.licenses)),
        }
        for each in found.packages
    ]
    print_table(rows, ("kind", "package", "version", "from", "license"))
    counts = Counter(each.kind for each in found.packages)
    families = Counter(each.family for each in found.packages if each.family)
    told = [f"{number} {kind}" for kind, number in sorted(counts.items())]
    told += [f"{number} of {name.upper()}" for name, number in sorted(families.items())]
    say(f"{found.image}: {', '.join(told) or 'no packages'}")


def _short(text: str) -> str | None:
    return f"{text[:39]}…" if len(text) > 40 else text or None
