"""The command `dlc plan`: what would be built, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from builder.cli import Settings, cli, output_option, selection_options
from builder.output import human_size, print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.plan import Planned
    from builder.target import Target

__all__: list[str] = []

COLUMNS = ("image", "state", "why", "seconds", "size")


@cli.command()
@selection_options
@click.option(
    "--since", metavar="GIT_REF", help="Compare with that commit, not with the engine's images."
)
@output_option
def plan(settings: Settings, targets: tuple[Target, ...], since: str | None, output: str) -> None:
    """Show what would be built and why, and what is up to date.

    Seconds and sizes are those of the last build here. One target is shown with all its inputs.
    """
    from builder.engine import find
    from builder.history import load
    from builder.local_images import images_of
    from builder.plan import plan as plan_targets
    from builder.render import Renderer

    if since:
        from builder.since import built_at

        there = built_at(since, settings.matrix_path, settings.images)
    else:
        engine = find()
        there = images_of(engine) if engine else {}
    planned = plan_targets(targets, settings.images, Renderer(settings.templates), there)
    past = load()
    rows = [_row(each, past.get(each.target.name)) for each in planned]
    if output == "json":
        print_json(rows)
        return
    shown = planned if len(planned) == 1 else [each for each in planned if not each.up_to_date]
    print_table([_short(row) for row in rows if _is_in(row, shown)], COLUMNS)
    if len(planned) == 1 and planned[0].inputs:
        for name, digest in sorted(planned[0].inputs.digests.items()):
            say(f"  {name} {digest[:16]}")
    say(_summary(planned, rows))


def _row(each: Planned, past: Any) -> dict[str, Any]:
    blocked = each.inputs is None
    return {
        "image": each.target.name,
        "state": "up to date" if each.up_to_date else "blocked" if blocked else "build",
        "why": list(each.reasons),
        "key": each.inputs.key if each.inputs else None,
        "seconds": past.seconds if past and not each.up_to_date else None,
        "size": past.size if past else each.image.size if each.image else None,
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    size = human_size(row["size"]) if row["size"] else None
    return {**row, "why": ", ".join(row["why"]) or None, "size": size}


def _is_in(row: dict[str, Any], shown: Sequence[Planned]) -> bool:
    return any(each.target.name == row["image"] for each in shown)


def _summary(planned: Sequence[Planned], rows: Sequence[dict[str, Any]]) -> str:
    fresh = sum(each.up_to_date for each in planned)
    blocked = sum(each.inputs is None for each in planned)
    known = [row["seconds"] for row in rows if row["seconds"]]
    told = [f"{len(planned) - fresh - blocked} to build", f"{fresh} up to date"]
    if blocked:
        told.append(f"{blocked} cannot be built")
    if known:
        told.append(f"about {sum(known):.0f} s, one after the other, for the {len(known)} known")
    return ", ".join(told)
