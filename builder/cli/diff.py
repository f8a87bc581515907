"""The command `dlc diff`: what differs between two images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from builder.cli.main import cli
from builder.cli.options import document_option, filled
from builder.cli.output import print_json, print_table
from builder.cli.progress import working
from builder.cli.selection import target_names
from builder.cli.settings import Settings, pass_settings
from builder.util.console import say
from builder.util.text import counted, human_size

if TYPE_CHECKING:
    from builder.inventory.diff import Difference


@cli.command()
@click.argument("before", metavar="A", shell_complete=target_names)
@click.argument("after", metavar="B", shell_complete=target_names)
@click.option("--locks", is_flag=True, help="Compare the locks of targets, which needs no images.")
@click.option(
    "--advisories",
    "sources",
    multiple=True,
    callback=filled,
    metavar="FILE|DIR|URL",
    help="Show advisories gained and lost too, from where `dlc audit` takes them; repeatable.",
)
@document_option
@pass_settings
def diff(
    settings: Settings,
    before: str,
    after: str,
    locks: bool,
    sources: tuple[str, ...],
    output: str,
) -> None:
    """Show what differs from A to B: packages, environment, labels, layers and bytes.

    Each is a file that `dlc inventory --format json` wrote, a release record (FILE:TAG, if it has
    several images), a target, a target of a commit (REF:TARGET; the locks only), or any image of
    the engine.
    """
    from builder.inventory.diff import compare, to_json
    from builder.inventory.markdown import markdown
    from builder.report.sides import Sides

    sides = Sides(targets=settings.targets, matrix=settings.matrix_path, images=settings.images)
    with working("comparing"):
        found = compare(*sides.both(before, after, locks=locks))
        if sources:
            from builder.audit.change import with_advisories

            found = with_advisories(found, sources)
    if output == "json":
        print_json(to_json(found))
    elif output == "markdown":
        click.echo(markdown(found), nl=False)
    else:
        _table(found)


def _table(found: Difference) -> None:
    rows: list[dict[str, Any]] = [
        {
            "what": each.what,
            "kind": each.kind,
            "name": each.name,
            "before": each.before or None,
            "after": each.after or None,
        }
        for each in found.packages
    ]
    rows += [
        {
            "what": "set" if each.before is None else "unset" if each.after is None else "changed",
            "kind": each.what,
            "name": each.name,
            "before": each.before,
            "after": each.after,
        }
        for each in found.settings
    ]
    rows += [
        {
            "what": each.what,
            "kind": "advisory",
            "name": each.advisory,
            "before": f"{each.package} {each.version}" if each.what == "lost" else None,
            "after": f"{each.package} {each.version}" if each.what == "gained" else None,
        }
        for each in found.advisories
    ]
    print_table(rows, ("what", "kind", "name", "before", "after"))
    if found.locks_only:
        say(f"{counted(len(found.packages), 'requirement')} of the locks differ")
        return
    new = sum(size for _, size in found.new_layers)
    say(
        f"{found.shared_layers} of {counted(len(found.after.layers), 'layer')} shared, "
        f"{human_size(new)} in new ones; {human_size(found.before.size)} before, "
        f"{human_size(found.after.size)} after"
    )
