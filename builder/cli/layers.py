"""The command `dlc layers`: what images share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder.cli.main import cli
from builder.cli.options import output_option
from builder.cli.output import print_json, print_table
from builder.cli.selection import selection_options
from builder.cli.settings import Settings
from builder.errors import ContainerError
from builder.util import atomic
from builder.util.console import say
from builder.util.text import human_size

if TYPE_CHECKING:
    from builder.engine.layers import ImageLayers, Sharing
    from builder.matrix.target import Target

_FILE = click.Path(path_type=Path)


@cli.command()
@selection_options
@click.option(
    "--recorded", type=_FILE, metavar="FILE", help="Read layers from JSON, not from the engine."
)
@click.option("--picture", type=_FILE, metavar="FILE", help="Write an SVG too.")
@output_option
def layers(
    settings: Settings,  # noqa: ARG001 - selection_options passes it to every command
    targets: tuple[Target, ...],
    recorded: Path | None,
    picture: Path | None,
    output: str,
) -> None:
    """Show what images share: a registry keeps equal layers once.

    A recorded FILE holds {"rows": [{"image": NAME, "layers": [{"digest", "size", "step"}]}]}.
    """
    from builder.engine.layers import sharing
    from builder.report.layers_svg import draw, summary

    images = _built(targets) if recorded is None else _recorded(targets, recorded)
    found = sharing(images)
    if picture is not None:
        atomic.write(picture, draw(images, found))
        say(f"wrote {picture}")
    if output == "json":
        print_json(_document(images, found))
        return
    rows = [
        {
            "layer": layer.digest.removeprefix("sha256:")[:12],
            "size": human_size(layer.size),
            "used_by": f"{len(layer.users)} of {len(images)}",
            "step": layer.step,
        }
        for layer in found.layers
    ]
    print_table(rows, ("layer", "size", "used_by", "step"))
    click.echo(f"\n{summary(found)}")


def _document(images: Sequence[ImageLayers], found: Sharing) -> dict[str, Any]:
    return {
        "images": [{"image": image.name, "size": image.size} for image in images],
        "total": found.total,
        "unique": found.unique,
        "ratio": found.ratio,
        "layers": [{**asdict(layer), "saved": layer.saved} for layer in found.layers],
    }


def _built(targets: Sequence[Target]) -> list[ImageLayers]:
    """The layers of the images that the engine has; ContainerError if it has none."""
    from builder.engine.connection import engine_client
    from builder.engine.layers import from_engine
    from builder.engine.namespace import local_name

    found, missing = [], []
    with engine_client() as client:
        for target in targets:
            try:
                found.append(
                    replace(from_engine(client, local_name(target.name)), name=target.name)
                )
            except ContainerError:
                missing.append(target.name)
    if not found:
        which = missing[0] if len(missing) == 1 else f"any of the {len(missing)} selected targets"
        raise ContainerError(f"there is no image of {which}", remedy="run `dlc build`")
    for name in missing:
        say(f"{name}: not built, skipped")
    return found


def _recorded(targets: Sequence[Target], path: Path) -> list[ImageLayers]:
    """The layers that a file has of the targets; ContainerError if it has none.

    click.BadParameter, with the reason, if it is no such file.
    """
    import json

    try:
        every = _rows(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        wrong = (error.strerror or str(error)).lower()
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        wrong = f"not JSON ({error})"
    except ValueError as error:
        wrong = str(error)
    else:
        found = [every[target.name] for target in targets if target.name in every]
        if not found:
            raise ContainerError(
                f"{path} has no layers of the selected targets", remedy="select some that it has"
            )
        for target in targets:
            if target.name not in every:
                say(f"{target.name}: no layers recorded, skipped")
        return found
    raise click.BadParameter(
        f"{path}: {wrong}; name a file as `dlc layers --help` shows it", param_hint="--recorded"
    )


def _rows(document: Any) -> Mapping[str, ImageLayers]:
    """The rows with layers, by the name of their target; ValueError if this is no such record."""
    from builder.engine.layers import ImageLayers, from_json
    from builder.matrix.target import STAND_IN

    rows = document.get("rows") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise ValueError("no object with a list `rows`")
    found: dict[str, ImageLayers] = {}
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"row {number} is not an object")
        bare = row.get("layers") in (None, [])
        try:
            image = from_json({**row, "layers": []} if bare else row)
        except ValueError as error:
            raise ValueError(f"row {number}: {error}") from error
        if bare:
            continue
        name = image.name.removeprefix(f"{STAND_IN}/")
        if name in found:
            raise ValueError(f"row {number}: a second row with layers of {name}")
        found[name] = ImageLayers(name=name, layers=image.layers)
    return found
