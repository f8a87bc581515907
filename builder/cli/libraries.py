"""The command `dlc libraries`: what the framework in an image wants, and where it is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from builder.cli.main import cli
from builder.cli.options import output_option
from builder.cli.output import print_json, print_table
from builder.cli.progress import working
from builder.cli.selection import target_options
from builder.cli.settings import Settings
from builder.errors import ContainerError

if TYPE_CHECKING:
    from builder.matrix.target import Target


@cli.command()
@target_options
@output_option
def libraries(_: Settings, target: Target, output: str) -> None:
    """Show the libraries that a built image's framework wants, and where each is found.

    It fails if one is missing, or if a CPU image has an accelerator's library. `driver` is what the
    machine brings.
    """
    from builder.engine.connection import engine_client
    from builder.engine.namespace import local_name
    from builder.report.libraries import checks, compare, look

    with engine_client() as client, working("looking for libraries"):
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
            remedy="fix the packages of its accelerator or framework",
        )
