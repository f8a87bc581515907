"""What another commit would build: its matrix, templates and locks, as if its images were there."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from pathlib import Path

from builder.errors import DlcError, LockError, MatrixError, SelectionError
from builder.output import say
from builder.plan import Built, inputs
from builder.render import Renderer
from builder.targets import load_targets

__all__ = ["built_at"]


def built_at(ref: str, matrix: Path, images: Path) -> dict[str, Built]:
    """The images that a commit's builds would have made, by name, with their keys.

    `matrix` and `images` are where these are now, in a git checkout; templates are those of the
    commit if it has a folder of them beside the matrix, else this program's. SelectionError if git
    does not know the commit.
    """
    top = Path(_git(matrix.resolve().parent, "rev-parse", "--show-toplevel").decode().strip())
    wanted = [matrix.resolve().relative_to(top), images.resolve().relative_to(top)]
    beside = (matrix.resolve().parent / "templates").relative_to(top)
    if _git(top, "ls-tree", ref, str(beside)):
        wanted.append(beside)
    archive = _git(top, "archive", ref, *map(str, wanted))
    with tempfile.TemporaryDirectory(prefix="dlc-since-") as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
        then = Path(folder)
        templates = then / beside if (then / beside).is_dir() else None
        renderer, built = Renderer(templates), {}
        try:
            targets = load_targets(then / wanted[0], name=f"{ref}:{wanted[0]}")
        except MatrixError as error:
            say(f"everything counts as changed, as the matrix of {ref} cannot be read now: {error}")
            return {}
        for target in targets:
            try:
                made_of = inputs(target, then / wanted[1], renderer)
            except LockError:  # it could not be built then
                continue
            built[target.name] = Built(id="", size=0, labels=made_of.labels())
        return built


def _git(folder: Path, *arguments: str) -> bytes:
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=True).stdout
    except FileNotFoundError as error:
        raise DlcError("--since needs git", remedy="install it") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode("utf-8", "replace").strip()
        raise SelectionError(
            f"git {arguments[0]}: {said}", remedy="name a commit of a checkout"
        ) from error
