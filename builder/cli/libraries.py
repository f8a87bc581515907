"""The command `dlc libraries`: what the framework in an image wants, and where it is."""

from __future__ import annotations

from dataclasses import asdict

import click

from builder.cli.main import Settings, cli, output_option, pass_settings
from builder.cli.output import print_json, print_table
from builder.errors import ContainerError

__all__: list[str] = []


@cli.command()
@click.argument("selector", metavar="TARGET")
@output_option
@pass_settings
def libraries(settings: Settings, selector: str, output: str) -> None:
    """Show the libraries that a built image's framework wants, and where each is found.

    It fails if one is missing, or if a CPU image has an accelerator's library. `driver` is what the
    machine brings.
    """
    from builder.engine.connection import engine_client
    from builder.engine.namespace import local_name
    from builder.matrix.select import select_one
    from builder.report.libraries import checks, compare, look

    target = select_one(settings.targets, selector)
    with engine_client() as client:
        report = look(client, local_name(target.name), target)
    found, done = compare(report, target), checks(report, target)
    if output == "json":
        print_json(
            {
                "image": target.name,
                "libraries": [asdict(library) for library in found],
                "accelerator": report["accelerator"],
                "checks": [asdict(check) for check in done],
            }
        )
    else:
        rows = [
            {
                "library": library.soname,
                "state": library.state,
                "wanted_by": len(library.wanted_by),
                "found": ", ".join(library.found) or None,
            }
            for library in found
        ]
        print_table(rows, ("library", "state", "wanted_by", "found"))
    failed = [f"{check.name}: {check.detail}" for check in done if not check.passed]
    if failed:
        raise ContainerError(
            f"{target.name}: {'; '.join(failed)}",
            remedy="mend the packages of its accelerator or framework",
        )
