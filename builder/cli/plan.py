"""The command `dlc plan`: what would be built, and why."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from builder.cli.main import cli
from builder.cli.options import comparison_options, filled, output_option, whose_options
from builder.cli.output import print_json, print_table
from builder.cli.selection import selection_options
from builder.cli.settings import Settings
from builder.util.console import say
from builder.util.text import counted, human_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.build.build_times import Estimate
    from builder.build.plan import Planned
    from builder.matrix.target import Target

# Reasons last, and no longer than that: one that is long widens no other row.
COLUMNS = ("image", "state", "seconds", "size", "why")
WHY_WIDTH = 80


@cli.command()
@selection_options
@comparison_options
@click.option(
    "--why",
    callback=filled,
    metavar="TARGET",
    help="Show every input of one target, and what changed.",
)
@click.option(
    "--require-signed",
    is_flag=True,
    help="Fail if an image of the registry that is up to date is not signed; as `dlc verify`.",
)
@whose_options
@output_option
def plan(
    settings: Settings,
    targets: tuple[Target, ...],
    since: str | None,
    registry: str | None,
    why: str | None,
    require_signed: bool,
    key: str,
    identity: str,
    issuer: str,
    log: bool,
    output: str,
) -> None:
    """Show what would be built and why, and what is up to date.

    `dlc lock --check` and `dlc render --check` compare the committed files with the matrix alone.

    Seconds and bytes (unpacked) are those of the last build here; after a ~, of similar targets'.
    """
    from builder.build.build_times import estimates, load
    from builder.build.comparison import Comparison

    if require_signed and not registry:
        raise click.UsageError("--require-signed asks a registry: give --registry")
    if not require_signed and (key or identity or issuer or log):
        raise click.UsageError("nothing is verified: give --require-signed, too")
    comparison = Comparison(
        matrix=settings.matrix_path,
        images=settings.images,
        templates=settings.templates,
        since=since,
        registry=registry,
    )
    if why:
        from builder.matrix.select import select_one

        one = select_one(settings.targets, [why])
        _explain(comparison.plan([one])[0], output)
        return
    planned = comparison.plan(targets)
    if require_signed and registry:
        from builder.release.signing import verifier_of
        from builder.release.verify import require, verify_images

        verifier = verifier_of(key=key, identity=identity, issuer=issuer, log=log)
        up_to_date = [each.target for each in planned if each.up_to_date]
        require(verify_images(registry, up_to_date, verifier))
    expected = estimates(targets, settings.targets, load())
    rows = [_row(each, expected.get(each.target.name)) for each in planned]
    if output == "json":
        print_json(rows)
        return
    shown = [row for row in rows if row["state"] != "up to date"] if len(rows) > 1 else rows
    print_table([_short(row) for row in shown], COLUMNS)
    every = counted(len(rows), "target")
    say(_summary(rows) if shown else f"nothing to build: all {every} are up to date")


def _explain(planned: Planned, output: str) -> None:
    """Print every input of a target beside those of its image."""
    from builder.build.plan import compare

    if planned.inputs is None:
        say(f"{planned.target.name} {planned.reasons[0]}; {planned.remedy}")
    before = planned.image.inputs if planned.inputs and planned.image else {}
    differences = compare(planned.inputs.digests, before) if planned.inputs else []
    rows = [
        {"input": each.name, "before": each.before, "now": each.now, "state": each.state}
        for each in differences
    ]
    if output == "json":
        why = list(planned.reasons)
        print_json({"image": planned.target.name, "why": why, "inputs": rows})
        return
    if rows:
        print_table(rows, ("input", "before", "now", "state"))
        say(", ".join(planned.reasons) or f"{planned.target.name} is up to date")


def _row(each: Planned, expected: Estimate | None) -> dict[str, Any]:
    had = each.image.size if each.image else 0
    return {
        "image": each.target.name,
        "state": each.state,
        "why": [f"it is {each.other_name}"] if each.other_name else list(each.reasons),
        "key": each.inputs.key if each.inputs else None,
        "seconds": expected.seconds if expected and not each.up_to_date else None,
        "size": had if had and each.up_to_date else expected.size if expected else had or None,
        "estimated_from": expected.like if expected and not each.up_to_date else None,
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    about = "~" if row["estimated_from"] else ""
    size = about + human_size(row["size"]) if row["size"] else None
    seconds = None if row["seconds"] is None else f"{about}{row['seconds']:.1f}"
    why = ", ".join(row["why"])
    if len(why) > WHY_WIDTH:
        why = f"{why[: WHY_WIDTH - 1].rstrip()}…"
    return {**row, "why": why or None, "size": size, "seconds": seconds}


def _summary(rows: Sequence[dict[str, Any]]) -> str:
    count = Counter(row["state"] for row in rows)
    parts = [f"{count['build']} to build", f"{count['up to date']} up to date"]
    if count["stale"]:
        parts.append(f"{count['stale']} to lock first (`dlc lock`)")
    if count["blocked"]:
        parts.append(f"{count['blocked']} cannot be built")
    known = [row for row in rows if row["state"] == "build" and row["seconds"] is not None]
    if known:
        seconds, size = (sum(row[name] for row in known) for name in ("seconds", "size"))
        like = sum(bool(row["estimated_from"]) for row in known)
        which = f"the {len(known)} known" if len(known) < count["build"] else "all"
        parts.append(
            f"about {seconds:.0f} s, one after the other, and {human_size(size)} for {which}"
        )
        if like:
            parts.append(f"{like} of them estimated from similar targets")
    return ", ".join(parts)
