"""The command `dlc inventory`: what is in a built image."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from builder.cli.main import cli
from builder.cli.output import print_json, print_table
from builder.cli.progress import working
from builder.cli.selection import target_names
from builder.cli.settings import Settings, pass_settings
from builder.util.console import say

if TYPE_CHECKING:
    from builder.inventory.model import Inventory


@cli.command()
@click.argument("name", metavar="TARGET", shell_complete=target_names)
@click.option(
    "--format",
    "output",
    type=click.Choice(["table", "json", "spdx", "cyclonedx"]),
    default="table",
    show_default=True,
    help="Output format; SPDX 2.3 and CycloneDX 1.6 are JSON.",
)
@pass_settings
def inventory(settings: Settings, name: str, output: str) -> None:
    """List every package of a built image: Python's, the distribution's, Java's and the rest.

    It fails if what is installed is not what the image was locked to. Nothing of the image is run.
    TARGET may also be any image of the engine, a file that this command wrote as JSON, or a release
    record.
    """
    from builder.inventory.model import to_json
    from builder.report.sides import Sides

    sides = Sides(targets=settings.targets, matrix=settings.matrix_path, images=settings.images)
    with working("reading the image"):
        found = sides.one(name)
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
    parts = [f"{number} {kind}" for kind, number in sorted(counts.items())]
    parts += [f"{number} of {name.upper()}" for name, number in sorted(families.items())]
    say(f"{found.image}: {', '.join(parts) or 'no packages'}")


def _short(text: str) -> str | None:
    return f"{text[:39]}…" if len(text) > 40 else text or None
