"""The global options, before or after the command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GLOBAL_OPTIONS", "GlobalOption", "given"]

_GIVEN = f"{__name__}.given"


class GlobalOption(click.Option):
    """An option that stands before or after the command; in both places it is refused."""

    def __init__(self, name: str, field: str, **settings: Any) -> None:
        super().__init__([name, field], expose_value=False, callback=self._keep, **settings)

    def _keep(self, context: click.Context, _: click.Parameter, value: str | None) -> str | None:
        if value is not None:
            found = context.meta.setdefault(_GIVEN, {})
            if self.name in found:
                raise click.UsageError(f"{self.opts[0]} is given twice: give it once.", context)
            found[self.name] = value
        return value


GLOBAL_OPTIONS = (
    GlobalOption(
        "--matrix",
        "matrix",
        type=click.Path(),
        metavar="FILE",
        help="Matrix file [default: matrix.yaml].",
    ),
    GlobalOption(
        "--images",
        "images_folder",
        type=click.Path(),
        metavar="DIR",
        help="Rendered files and locks [default: images/ next to it].",
    ),
    GlobalOption(
        "--templates",
        "templates_folder",
        type=click.Path(),
        metavar="DIR",
        help="Your own templates [default: templates/ next to it].",
    ),
    GlobalOption(
        "--mirrors",
        "mirrors_file",
        type=click.Path(),
        metavar="FILE",
        help="Mirrors of your site [default: mirrors.yaml next to it].",
    ),
)


def given(context: click.Context) -> dict[str, Path]:
    """The paths that a command line gives, by the names of the options' values."""
    from pathlib import Path  # `dlc --help` has no use for it, and it takes time

    return {name: Path(value) for name, value in context.meta.get(_GIVEN, {}).items()}
