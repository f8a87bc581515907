"""The command `dlc bases`: where bases come from, how long they last, and new pins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from builder.cli.main import cli
from builder.cli.options import output_option
from builder.cli.output import print_json, print_table
from builder.cli.progress import working
from builder.cli.settings import Settings, pass_settings
from builder.errors import BaseImageError, EngineError, SelectionError
from builder.util.clock import today
from builder.util.console import say
from builder.util.text import counted

if TYPE_CHECKING:
    from builder.engine.connection import Engine
    from builder.matrix.format import Base, Matrix
    from builder.matrix.mirrors import Mirrors
    from builder.matrix.rewrite import Original

LISTED = ("name", "image", "digest", "source", "end_of_life", "resolves")


@cli.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--offline", is_flag=True, help="Ask no registry.")
@click.option("--update", is_flag=True, help="Pin to what the tags are now, in the matrix.")
@output_option
@pass_settings
def bases(
    settings: Settings, names: tuple[str, ...], offline: bool, update: bool, output: str
) -> None:
    """List bases, and whether their registries still have them; all without a NAME."""
    from builder.matrix.rewrite import Original

    if offline and update:
        raise click.UsageError("--update asks registries, --offline asks none: give one.")
    original = Original(settings.matrix_path)
    chosen = _choose(original.matrix, names)
    engine = _engine()
    if update:
        _update(settings, original, chosen, engine, output)
    else:
        mirrors = settings.mirrors_of(lambda: original.targets)
        _list(mirrors, chosen, engine, offline, output)


def _choose(matrix: Matrix, names: Sequence[str]) -> list[Base]:
    from builder.util.text import did_you_mean

    for name in names:
        if name not in matrix.bases:
            raise SelectionError(
                f"the matrix has no base {name!r}", remedy=did_you_mean(name, matrix.bases)
            )
    return [base for name, base in matrix.bases.items() if not names or name in names]


def _list(
    mirrors: Mirrors, chosen: list[Base], engine: Engine | None, offline: bool, output: str
) -> None:
    from builder.authoring.pins import listed

    with working("asking registries"):
        found = listed(chosen, mirrors, engine, offline=offline, today=today(), say=say)
    rows = [asdict(each) for each in found]
    if output == "json":
        print_json(rows)
        return
    for row in rows:
        row["digest"] = _short(row["digest"])
        row["end_of_life"] = f"{row['end_of_life']}{' (passed)' if row['expired'] else ''}"
    print_table(rows, LISTED)


def _update(
    settings: Settings,
    original: Original,
    chosen: list[Base],
    engine: Engine | None,
    output: str,
) -> None:
    from builder.authoring.pins import current, repin
    from builder.dockerfile.render import Renderer

    with working("asking registries"):
        pins = current(chosen, settings.mirrors_of(lambda: original.targets), engine)
    rendered = repin(original, pins, settings.images, Renderer(settings.templates))
    rows = [asdict(pin) for pin in pins]
    if output == "json":
        print_json(rows)
    else:
        print_table([{**row, "result": _result(row)} for row in rows], ("name", "image", "result"))
    for change in rendered:
        say(f"{'removed' if change.after is None else 'wrote'} {change.path}")
    if any(pin.is_new for pin in pins):
        say(f"wrote {settings.matrix_path}; locks stay fresh")
    if failed := [pin for pin in pins if pin.problem]:
        raise BaseImageError(
            f"{counted(len(failed), 'base')} of {len(pins)} could not be asked for",
            remedy="connect to their registries, or name a mirror of them in mirrors.yaml",
        )


def _result(row: Mapping[str, str | None]) -> str:
    if row["problem"]:
        return f"not asked: {row['problem']}"
    if row["before"] == row["digest"]:
        return "unchanged"
    return f"{_short(str(row['before'])) or 'none'} -> {_short(str(row['digest']))}"


def _engine() -> Engine | None:
    """The engine that runs, if one does; none is started."""
    from builder.engine.connection import find

    try:
        return find()
    except EngineError as error:
        say(f"warning: {error}")
        return None


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
