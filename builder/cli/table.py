"""The command `dlc table`: the reference tables from the matrix, and the page of all images."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.cli.main import cli
from builder.cli.output import print_json, print_table
from builder.cli.selection import selection_options
from builder.cli.settings import Settings
from builder.errors import DriftError
from builder.util import atomic
from builder.util.console import say

if TYPE_CHECKING:
    from builder.matrix.target import Target

COLUMNS = ("transformers", "datasets", "framework", "type", "device", "python")
_FILE = click.Path(path_type=Path, dir_okay=False)
_FILE_THERE = click.Path(path_type=Path, dir_okay=False, exists=True)


@cli.command()
@selection_options
@click.option(
    "--format",
    "output",
    type=click.Choice(["markdown", "json", "table"]),
    default="markdown",
    help="For pages, for programs or for people.",
)
@click.option(
    "--write", type=_FILE, metavar="FILE", help="Write the page of all images there, as Markdown."
)
@click.option("--check", is_flag=True, help="Only say whether the page of --write is current.")
@click.option(
    "--proof",
    type=_FILE_THERE,
    metavar="FILE",
    help="What says which are proven [default: proof.json beside the page].",
)
def table(
    _: Settings,
    targets: tuple[Target, ...],
    output: str,
    write: Path | None,
    check: bool,
    proof: Path | None,
) -> None:
    """Print the tables of the reference page, in its order, and what came after them."""
    from builder.report import catalog

    found = catalog.tables(targets)
    if write is not None:
        source = proof or write.parent / "proof.json"
        proven, site = None, catalog.SITE
        if (write.parent / "site.md").is_file():
            site = "the [site](site.md) has a page for each (`make site`)"
        if proof or source.is_file():
            proven = catalog.proof(source.read_bytes(), name=str(source))
        _page(write, catalog.page(found, proven, site=site), check)
        return
    if check or proof:
        raise click.UsageError("--check and --proof are about the page: name it with --write.")
    if output == "markdown":
        click.echo(catalog.markdown(found), nl=False)
        return
    if output == "json":
        rows = [
            {**row.cells, "table": each.name or None, "image": row.target.name}
            for each in found
            for row in each.rows
        ]
        print_json([{**row, "datasets": row["datasets"] or None} for row in rows])
        return
    cells = [
        {**row.cells, "datasets": row.cells["datasets"] or None} for t in found for row in t.rows
    ]
    print_table(cells, COLUMNS)


def _page(path: Path, text: str, check: bool) -> None:
    there = path.read_bytes() if path.is_file() else b""
    changed = there != text.encode()
    if not check:
        if changed:
            atomic.write(path, text)
        say(f"{'wrote' if changed else 'left'} {path}")
        return
    if changed:
        before = there.decode("utf-8", "replace")
        lines = difflib.unified_diff(
            before.splitlines(keepends=True),
            text.splitlines(keepends=True),
            fromfile=f"{path} (committed)",
            tofile=f"{path} (from the matrix)",
        )
        click.echo("".join(lines), nl=False)
        raise DriftError(
            f"{path} is not as the matrix says", remedy=f"run `dlc table --write {path}`"
        )
