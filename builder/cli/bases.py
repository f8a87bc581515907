"""The command `dlc bases`: where bases come from, whether they last, and pinning them anew."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from builder.cli.main import cli
from builder.cli.options import output_option
from builder.cli.output import print_json, print_table
from builder.cli.settings import Settings, pass_settings
from builder.errors import BaseImageError, EngineError, MatrixError, SelectionError
from builder.util import atomic
from builder.util.console import say

if TYPE_CHECKING:
    from builder.engine.connection import Engine
    from builder.matrix.format import Base, Matrix

__all__: list[str] = []

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
    if offline and update:
        raise click.UsageError("--update asks registries, --offline asks none: give one.")
    matrix = _matrix(settings.matrix_path, str(settings.matrix_path))
    chosen = _choose(matrix, names)
    engine = _engine()
    if update:
        _update(settings, matrix, chosen, engine, output)
    else:
        _list(settings, chosen, engine, offline, output)


def _choose(matrix: Matrix, names: Sequence[str]) -> list[Base]:
    from builder.util.text import did_you_mean

    for name in names:
        if name not in matrix.bases:
            raise SelectionError(
                f"the matrix has no base {name!r}", remedy=did_you_mean(name, matrix.bases)
            )
    return [base for name, base in matrix.bases.items() if not names or name in names]


def _list(
    settings: Settings, chosen: list[Base], engine: Engine | None, offline: bool, output: str
) -> None:
    from builder.engine.base_pins import is_over, pinned_digest
    from builder.registry.digests import ask

    images = {base.name: settings.mirrors.image(base.image) for base in chosen}
    answers = {} if offline else ask(images.values(), engine)
    sources = _sources(engine, chosen)
    rows: list[dict[str, object]] = []
    for base in chosen:
        digest, resolves = pinned_digest(base), None
        if answer := answers.get(images[base.name]):
            other = "" if answer.digest == digest else "its registry has another digest"
            why = answer.problem or other
            resolves = f"no: {why}" if why else "yes"
        rows.append(
            {
                "name": base.name,
                "image": base.image.partition("@")[0],
                "digest": digest,
                "source": sources.get(base.name),
                "end_of_life": base.end_of_life.isoformat(),
                "expired": is_over(base, today()),
                "resolves": resolves,
            }
        )
    if output == "json":
        print_json(rows)
        return
    for row in rows:
        row["digest"] = _short(str(row["digest"]))
        row["end_of_life"] = f"{row['end_of_life']}{', over' if row['expired'] else ''}"
    print_table(rows, LISTED)


def _update(
    settings: Settings, matrix: Matrix, chosen: list[Base], engine: Engine | None, output: str
) -> None:
    from builder.engine.base_pins import pinned_digest
    from builder.registry.digests import Answer, ask

    # Its own ends of lines, which reading it as text would change.
    content = settings.matrix_path.read_bytes()
    images = {base.name: base.image.partition("@")[0] for base in chosen}
    tagged = {
        name: settings.mirrors.image(image)
        for name, image in images.items()
        if ":" in image.rpartition("/")[2]
    }
    answers = ask(tagged.values(), engine)
    no_tag = Answer(problem="the matrix names no tag of it")
    found = {name: answers[tagged[name]] if name in tagged else no_tag for name in images}
    new = {
        base.name: found[base.name].digest
        for base in chosen
        if found[base.name].digest not in ("", pinned_digest(base))
    }
    if new:
        _write(settings.matrix_path, content, matrix, new)
    rows = [
        {
            "name": base.name,
            "image": images[base.name],
            "before": pinned_digest(base),
            "digest": found[base.name].digest or pinned_digest(base),
            "problem": found[base.name].problem or None,
        }
        for base in chosen
    ]
    if output == "json":
        print_json(rows)
    else:
        print_table([{**row, "result": _result(row)} for row in rows], ("name", "image", "result"))
    if new:
        say("locks stay fresh; `dlc render` writes the new digests into the Dockerfiles")
    if failed := [row for row in rows if row["problem"]]:
        raise BaseImageError(
            f"{len(failed)} of {len(rows)} bases could not be asked for",
            remedy="connect to their registries, or name a mirror of them in mirrors.yaml",
        )


def _result(row: Mapping[str, str | None]) -> str:
    if row["problem"]:
        return f"not asked: {row['problem']}"
    if row["before"] == row["digest"]:
        return "unchanged"
    return f"{_short(str(row['before']))} -> {_short(str(row['digest']))}"


def _write(path: Path, content: bytes, matrix: Matrix, digests: Mapping[str, str]) -> None:
    """Write the matrix with new digests; BaseImageError, and nothing written, if that cannot be."""
    from builder.engine.base_pins import pinned_digest, repinned

    changed = repinned(content.decode("utf-8"), matrix.bases.values(), digests).encode()
    wanted = {
        name: replace(base, image=base.image.replace(pinned_digest(base), digests[name]))
        if name in digests
        else base
        for name, base in matrix.bases.items()
    }
    with tempfile.TemporaryDirectory(prefix="dlc-matrix-") as folder:
        candidate = Path(folder, "matrix.yaml")
        candidate.write_bytes(changed)
        # A digest is as long as another, so that even all positions stay.
        try:
            right = _matrix(candidate, str(path)) == replace(matrix, bases=wanted)
        except MatrixError:
            right = False
    if not right:
        raise BaseImageError(
            f"{path} is written in a way that {' and '.join(digests)} cannot be pinned anew; "
            "nothing was written",
            remedy="write each image on one line, like `image: debian:bookworm@sha256:...`",
        )
    if path.read_bytes() != content:
        raise BaseImageError(
            f"{path} was changed while the registries were asked; nothing was written",
            remedy="run the command again",
        )
    atomic.write(path, changed)


def _matrix(path: Path, name: str) -> Matrix:
    """All of a matrix, bases that no target uses too; MatrixError with all its mistakes."""
    from builder.matrix.read import read
    from builder.matrix.targets import expand
    from builder.matrix.yaml_nodes import Report

    report = Report()
    matrix = read(path, report, name=name)
    if matrix is not None:
        expand(matrix, report)
    report.raise_if_any()
    assert matrix is not None  # noqa: S101 - else there was something to report
    return matrix


def _engine() -> Engine | None:
    """The engine that runs, if one does; none is started."""
    from builder.engine.connection import find

    try:
        return find()
    except EngineError as error:
        say(f"warning: {error}")
        return None


def _sources(engine: Engine | None, chosen: list[Base]) -> dict[str, str]:
    """How the engine got the bases that it has."""
    if engine is None:
        return {}
    import docker.errors
    import requests

    from builder.engine import bases as base_images

    found: dict[str, str] = {}
    try:
        with closing(engine.client()) as client:
            for base in chosen:
                source = base_images.BaseSource(name=base.name, image=base.image)
                if had := base_images.existing(client, source):
                    found[base.name] = had.how
    except (docker.errors.DockerException, requests.RequestException) as error:
        say(f"warning: the engine says: {error}")
    return found


def today() -> datetime.date:
    """The day, by UTC."""
    return datetime.datetime.now(tz=datetime.timezone.utc).date()


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
