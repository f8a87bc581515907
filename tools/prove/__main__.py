"""`make prove`: prove targets and write docs/proof.json, and docs/proof.md and more from it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from builder.cli.main import run_command
from builder.errors import Interrupted
from builder.matrix.select import select
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from builder.util.console import say
from tests.own_namespace import own_part, taking_turns
from tools.prove.bases import default_interpreters
from tools.prove.prove import Prover
from tools.prove.result import Row, load, not_tried, passed, picture, save, table
from tools.prove.sizes import page

ROOT = Path(__file__).parents[2]


@click.command()
@click.argument("selectors", nargs=-1, metavar="[SELECTOR]...")
@click.option("--resume", is_flag=True, help="Leave out what was proven as it is now.")
@click.option("--pages", is_flag=True, help="Prove nothing: write the pages of what is recorded.")
@click.option(
    "--interpreters",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of CPython prefixes [default: DLC_INTERPRETERS, else pyenv's].",
)
@click.option(
    "--docs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=ROOT / "docs",
    help="Where proof.json and proof.md are written [default: docs/].",
)
def prove(
    selectors: tuple[str, ...], resume: bool, pages: bool, interpreters: Path | None, docs: Path
) -> None:
    """Prove targets: build each, check it, and remove it again."""
    targets = load_targets(ROOT / "matrix.yaml")
    chosen = select(targets, selectors)
    names = {target.name for target in targets}
    rows = {name: row for name, row in load(docs / "proof.json").items() if name in names}

    if pages:
        _write_pages(docs, rows, targets)
        return

    def keep(row: Row) -> None:
        with taking_turns(docs):
            rows.update(load(docs / "proof.json") | {row.image: row})
            save(docs / "proof.json", rows, targets)
        say(f"{row.image}: {'proven' if row.passed else 'NOT PROVEN'}")

    known = dict(rows) if resume else {}
    try:
        with own_part() as shared:
            folder = interpreters or default_interpreters()
            prover = Prover(ROOT / "images", folder, say, shared.engine)
            prover.prove(chosen, known, keep, cold=not selectors and not resume)
    except KeyboardInterrupt:
        raise Interrupted("interrupted", remedy="RESUME=1 goes on") from None
    _write_pages(docs, rows, targets)
    done = [target.name for target in chosen if target.name not in prover.skipped]
    good = passed(rows[name] for name in done)
    say(f"{good} of {len(chosen)} targets proven, {len(prover.skipped)} skipped")
    sys.exit(int(good < len(chosen)))


def _write_pages(docs: Path, rows: Mapping[str, Row], targets: Sequence[Target]) -> None:
    """Write what is made of the rows; each file is replaced whole or not at all."""
    ordered = [rows[target.name] for target in targets if target.name in rows]
    for name, text in (
        ("proof.md", table(ordered, not_tried(targets, ROOT / "images", rows))),
        ("layers.svg", picture(ordered)),
        ("size.md", page(ordered, targets)),
    ):
        temporary = docs / f".{name}.new"
        temporary.write_text(text, "utf-8")
        temporary.replace(docs / name)


if __name__ == "__main__":
    run_command(prove, "prove")
