"""What follows from the global options."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder.cli.global_options import given
from builder.errors import ArgumentError
from builder.util.package import PACKAGE

if TYPE_CHECKING:
    from builder.matrix.mirrors import Mirrors
    from builder.matrix.target import Target

__all__ = ["Settings", "pass_settings", "settings_of"]

_SETTINGS = f"{__name__}.settings"


@dataclass(kw_only=True)
class Settings:
    """The global options, and what follows from them."""

    matrix: Path | None = None
    images_folder: Path | None = None
    templates_folder: Path | None = None
    mirrors_file: Path | None = None

    @cached_property
    def matrix_path(self) -> Path:
        """--matrix, else matrix.yaml here, else the one that came with this program."""
        if self.matrix is not None:
            return self.matrix
        here = Path("matrix.yaml")
        ours = (PACKAGE / "matrix.yaml", PACKAGE.parent / "matrix.yaml")
        return next((path for path in (here, *ours) if path.is_file()), here)

    @property
    def images(self) -> Path:
        """--images, else images/ beside the matrix; for the matrix that came along, here."""
        if self.images_folder is not None:
            return self.images_folder
        packed = self.matrix is None and self.matrix_path.parent == PACKAGE
        return Path("images") if packed else self.matrix_path.parent / "images"

    @property
    def templates(self) -> Path | None:
        """--templates, else templates/ beside the matrix; None without either."""
        beside = self.matrix_path.parent / "templates"
        return self.templates_folder or (beside if beside.is_dir() else None)

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """All targets of the matrix; MatrixError with all its mistakes."""
        from builder.matrix.targets import load_targets

        return load_targets(self.matrix_path)

    @cached_property
    def mirrors(self) -> Mirrors:
        """--mirrors, else DLC_MIRRORS, else mirrors.yaml beside the matrix; else none."""
        return self.mirrors_of(lambda: self.targets)

    def mirrors_of(self, targets: Callable[[], tuple[Target, ...]]) -> Mirrors:
        """The same, for a matrix whose targets are read in another way."""
        from builder.matrix.mirrors import PACKAGE_SOURCES, Mirrors, find, read

        path = self.mirrors_file or find(self.matrix_path.parent)
        if path is None:
            return Mirrors()
        known = targets()
        bases = {each.base.name for each in known} | {known[0].tools_base.name}
        return read(path, bases=sorted(bases), sources=[*known[0].sources, *PACKAGE_SOURCES])

    def mirrors_command(self, file: Path) -> str:
        """The command that writes the mirrors' script, for the same matrix and mirrors.

        >>> Settings(matrix=Path("a b")).mirrors_command(Path("site"))
        "dlc --matrix 'a b' mirrors script site"
        """
        import shlex

        options = (("--matrix", self.matrix), ("--mirrors", self.mirrors_file))
        given = [word for name, path in options if path for word in (name, str(path))]
        return shlex.join(["dlc", *given, "mirrors", "script", str(file)])


def settings_of(context: click.Context) -> Settings:
    """The settings that a command line gives, once all of it is parsed."""
    found: Settings = context.meta.setdefault(_SETTINGS, Settings(**given(context)))
    return found


def _check_mirrors(settings: Settings) -> None:
    """ArgumentError if mirrors are named that are not there, for commands that need none too."""
    named = {"--mirrors": settings.mirrors_file, "DLC_MIRRORS": os.environ.get("DLC_MIRRORS")}
    for name, path in named.items():
        if path and not Path(path).expanduser().exists():
            raise ArgumentError(
                f"{name} names {path}, which does not exist",
                remedy="write it (docs/building.md), or leave it out",
            )


def pass_settings(function: Callable[..., Any]) -> Callable[..., Any]:
    """Call a command with the settings as its first argument."""

    @wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        settings = settings_of(click.get_current_context())
        _check_mirrors(settings)
        return function(settings, *arguments, **options)

    return called
