"""The command `dlc size`: what fills built images, and what they may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.cli.main import cli
from builder.cli.options import output_option
from builder.cli.output import print_json, print_table
from builder.cli.progress import working
from builder.cli.selection import selection_options
from builder.cli.settings import Settings
from builder.errors import BuildError
from builder.util.console import say
from builder.util.text import human_size

if TYPE_CHECKING:
    from builder.build.size_budget import Size
    from builder.matrix.target import Target

COLUMNS = ("image", "size", "budget", "locked", "java", "system", "rest", "largest")


@cli.command()
@selection_options
@output_option
def size(_: Settings, targets: tuple[Target, ...], output: str) -> None:
    """Show the size of built images against their budgets, and what fills them.

    It fails if one is over its budget. What is not built is left out, unless it is named.
    """
    from builder.build.size_budget import explain, measure
    from builder.engine.connection import engine_client
    from builder.engine.namespace import local_name

    found: dict[str, Size] = {}
    with engine_client() as client, working("measuring"):
        built = {name for image in client.api.images() for name in image["RepoTags"] or ()}
        for target in targets:
            name = local_name(target.name)
            if name in built or len(targets) == 1:
                found[target.name] = measure(client, name, target)
    rows = [_row(name, size) for name, size in found.items()]
    if output == "json":
        print_json(rows)
    else:
        print_table([_short(row) for row in rows], COLUMNS)
        if not rows:
            say(f"none of the {len(targets)} selected targets is built; run `dlc build`")
    over = [f"{name}: {explain(size)}" for name, size in found.items() if size.over]
    if over:
        raise BuildError("\n".join(over))


def _row(name: str, size: Size) -> dict[str, Any]:
    found = size.contents
    largest = sorted(found.packages.items(), key=lambda item: -item[1][1])
    return {
        "image": name,
        "size": size.size,
        "budget": size.limit,
        **found.sums,
        "packages": {package: taken for package, (_, taken) in largest},
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    sizes = {name: human_size(value) for name, value in row.items() if isinstance(value, int)}
    largest = list(row["packages"].items())[:3]
    texts = ", ".join(f"{name} {human_size(taken)}" for name, taken in largest)
    return {"image": row["image"], **sizes, "largest": texts}
