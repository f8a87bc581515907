"""The command `dlc init`: a repository to start from, for images of one's own."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

import click

from builder.cli import cli
from builder.output import say

__all__: list[str] = []

# Where each file of builder/starter/ goes.
FILES = {
    "matrix.yaml": "matrix.yaml",
    "Makefile": "Makefile",
    "README.md": "README.md",
    "gitignore": ".gitignore",
    "workflow.yml": ".github/workflows/build.yml",
    "Dockerfile.j2": "templates/Dockerfile.j2",
}


@cli.command()
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path())
def init(folder: Path) -> None:
    """Write a repository to start from into DIR, or here: a matrix with one image.

    Nothing that is there is overwritten.
    """
    there = [name for name in FILES.values() if os.path.lexists(folder / name)]
    if there:
        raise click.UsageError(
            f"{folder.absolute()} has {', '.join(there)} already; "
            "name another folder, or move them away"
        )
    starter = resources.files("builder").joinpath("starter")
    for source, name in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(starter.joinpath(source).read_text("utf-8"))
        say(f"wrote {path}")
    say("next: dlc lock, dlc render, dlc build")
