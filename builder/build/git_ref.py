"""What another commit would build: its matrix, templates and locks, as if its images were there."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.build.plan import inputs
from builder.dockerfile.render import Renderer, default_runtime
from builder.engine.image import ImageInfo
from builder.errors import DlcError, LockError, MatrixError, RenderError, SelectionError
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from builder.util.console import say
from builder.util.scratch import scratch
from builder.util.tar import unpack

__all__ = ["built_at", "known", "tree_at"]


def built_at(
    ref: str, matrix: Path, images: Path, templates: Path | None = None
) -> dict[str, ImageInfo]:
    """The images that a commit's builds would have made, by name, with their keys.

    `matrix`, `images` and `templates` (templates/ beside the matrix by default) are where these are
    now. Matrix and images must be in one git checkout; templates outside of it are as they are now,
    others those of the commit, else this program's. Without matrix or images there is none.
    SelectionError if git does not know the commit.
    """
    top = Path(_git(matrix.resolve().parent, "rev-parse", "--show-toplevel").decode().strip())
    commit = _commit(top, ref)
    matrix_then, images_then = (_within(top, path) for path in (matrix, images))
    for path in (matrix_then, images_then):
        if not _has(top, commit, path):
            say(f"everything counts as changed, as {ref} has no {path}")
            return {}
    wanted = [matrix_then, images_then]
    now = (templates or matrix.parent / "templates").resolve()
    own = now.is_relative_to(top)
    if own and _has(top, commit, now.relative_to(top)):
        wanted.append(now.relative_to(top))
    # Ours too, if this program is in that checkout.
    runtime = default_runtime().resolve()
    committed = runtime.is_relative_to(top) and _has(top, commit, runtime.relative_to(top))
    if committed:
        wanted.append(runtime.relative_to(top))
    archive = _git(top, "archive", commit, "--", *map(str, wanted))
    with scratch("since") as then:
        unpack(io.BytesIO(archive), then)
        used = then / now.relative_to(top) if own else now
        renderer = Renderer(
            used if used.is_dir() else None,
            then / runtime.relative_to(top) if committed else runtime,
            # Whoever wrote that commit: planning a change must not run what it brings.
            trusted=False,
        )
        built = {}
        try:
            targets = load_targets(then / matrix_then, name=f"{ref}:{matrix_then}")
        except MatrixError as error:
            say(f"everything counts as changed, as the matrix of {ref} cannot be read now: {error}")
            return {}
        for target in targets:
            try:
                made_of = inputs(target, then / images_then, renderer)
            except LockError:  # it could not be built then
                continue
            except RenderError as error:
                say(f"everything counts as changed, as {ref} cannot be rendered now: {error}")
                return {}
            built[target.name] = ImageInfo(labels=made_of.labels())
        return built


def known(ref: str, matrix: Path) -> bool:
    """Whether git knows a commit in the checkout that a matrix is in; it need not be in one."""
    try:
        top = Path(_git(matrix.resolve().parent, "rev-parse", "--show-toplevel").decode().strip())
        _commit(top, ref)
    except DlcError:
        return False
    return True


@contextmanager
def tree_at(ref: str, matrix: Path, images: Path) -> Iterator[tuple[tuple[Target, ...], Path]]:
    """The targets of a commit, and its images/ in a folder that goes at the end.

    SelectionError if the commit has no matrix or no images, MatrixError if it cannot be read now.
    """
    top = Path(_git(matrix.resolve().parent, "rev-parse", "--show-toplevel").decode().strip())
    commit = _commit(top, ref)
    wanted = [_within(top, path) for path in (matrix, images)]
    for path in wanted:
        if not _has(top, commit, path):
            raise SelectionError(f"{ref} has no {path}", remedy="name a commit that has it")
    archive = _git(top, "archive", commit, "--", *map(str, wanted))
    with scratch("at") as folder:
        unpack(io.BytesIO(archive), folder)
        then, committed = (folder / path for path in wanted)
        yield load_targets(then, name=f"{ref}:{wanted[0]}"), committed


def _commit(top: Path, ref: str) -> str:
    """The commit's own name: nothing in it can be taken for an option."""
    named = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    try:
        return _git(top, *named).decode().strip()
    except SelectionError as error:
        raise SelectionError(
            f"git knows no commit {ref} in {top}",
            remedy="name a commit that is there; where the checkout is shallow, fetch it first",
        ) from error


def _within(top: Path, path: Path) -> Path:
    """A path as a commit has it; SelectionError if it lies elsewhere."""
    if not path.resolve().is_relative_to(top):
        raise SelectionError(
            f"--since compares with a commit, and {path} is not in the checkout {top}",
            remedy="use the folder there",
        )
    return path.resolve().relative_to(top)


def _has(top: Path, commit: str, path: Path) -> bool:
    return bool(_git(top, "ls-tree", commit, "--", str(path)))


def _git(folder: Path, *arguments: str) -> bytes:
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=True).stdout
    except FileNotFoundError as error:
        raise DlcError("--since needs git", remedy="install it") from error
    except subprocess.CalledProcessError as error:
        message = error.stderr.decode("utf-8", "replace").strip()
        raise SelectionError(
            f"git {arguments[0]}: {message}", remedy="name a commit of a checkout"
        ) from error
