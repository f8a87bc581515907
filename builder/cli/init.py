"""The command `dlc init`: a repository to start from, for images of one's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from builder.cli.main import cli
from builder.util import atomic
from builder.util.console import say
from builder.util.package import PACKAGE

# Where each file of builder/starter/ goes.
FILES = {
    "matrix.yaml": "matrix.yaml",
    "Makefile": "Makefile",
    "README.md": "README.md",
    "gitattributes": ".gitattributes",
    "gitignore": ".gitignore",
    "workflow.yml": ".github/workflows/build.yml",
    "Dockerfile.j2": "templates/Dockerfile.j2",
}


@cli.command()
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path())
def init(folder: Path) -> None:
    """Write a repository to start from into DIR, or here: a matrix with one image, locked.

    Nothing that is there is overwritten.
    """
    files = dict(_files())
    there = [name for name in files if os.path.lexists(folder / name)]
    if there:
        raise click.UsageError(
            f"{folder.absolute()} has {', '.join(there)} already; "
            "name another folder, or move them away"
        )
    atomic.write_all(atomic.File(path=folder / name, content=files[name]) for name in files)
    for name in files:
        say(f"wrote {folder / name}")
    say("next: dlc render, dlc build")


def _files() -> Iterator[tuple[str, bytes]]:
    """The names of the files, and what is in them: the starter's, and our locks of its targets."""
    from builder.locks.freshness import layers
    from builder.matrix.targets import load_targets

    starter = PACKAGE / "starter"
    for source, name in FILES.items():
        yield name, (starter / source).read_bytes()
    # They come along with this program; in a checkout they are beside it.
    places = [PACKAGE / "images", PACKAGE.parent / "images"]
    images = next((path for path in places if path.is_dir()), places[0])
    for target in load_targets(starter / "matrix.yaml"):
        for layer in layers(target):
            lock = images / target.folder / f"{layer}.lock"
            yield f"images/{target.folder}/{lock.name}", lock.read_bytes()
