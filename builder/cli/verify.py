"""`dlc verify`: whether images in a registry are signed, and what is stated of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from builder.cli.main import cli
from builder.cli.options import filled, output_option, whose_options
from builder.cli.output import print_json, print_table
from builder.cli.selection import selection_options

if TYPE_CHECKING:
    from builder.cli.settings import Settings
    from builder.matrix.target import Target

__all__: list[str] = []


@cli.command()
@selection_options
@click.option(
    "--registry",
    required=True,
    callback=filled,
    metavar="HOST[:PORT][/PREFIX]",
    help="Where the images are.",
)
@whose_options
@output_option
def verify(
    settings: Settings,
    targets: tuple[Target, ...],
    registry: str,
    key: str,
    identity: str,
    issuer: str,
    log: bool,
    output: str,
) -> None:
    """Verify that images in a registry are signed, by cosign; prints them by digest.

    Deploy what it prints: a tag may move, a digest cannot.
    """
    from builder.release.signing import verifier_of
    from builder.release.verify import require, verify_images

    del settings
    verifier = verifier_of(key=key, identity=identity, issuer=issuer, log=log)
    found = verify_images(registry, targets, verifier)
    rows = [
        {
            "image": each.reference,
            "signed": not each.problem,
            "statements": list(each.statements),
            "why": each.problem or None,
        }
        for each in found
    ]
    if output == "json":
        print_json(rows)
    else:
        shown = [
            {
                "image": row["image"],
                "signed": "yes" if row["signed"] else "no",
                "statements": ", ".join(each.statements) or None,
            }
            for row, each in zip(rows, found, strict=True)
        ]
        print_table(shown, ("image", "signed", "statements"))
    require(found)
