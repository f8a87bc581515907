"""A wheelhouse: local directories of wheels, looked into before any address.

By default pip's own: PIP_FIND_LINKS, else `find-links` of pip's configuration. A wheel counts only
if its SHA-256 is the one the matrix gives.
"""

from __future__ import annotations

import ast
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from builder.errors import LockError
from builder.matrix.format import Wheel

__all__ = ["directories", "find", "stage"]


def directories() -> tuple[Path, ...]:
    """The wheelhouse's directories: DLC_WHEELHOUSE (colon-separated), else pip's find-links.

    LockError if DLC_WHEELHOUSE names something else; find-links may have addresses, left out here.
    """
    own = os.environ.get("DLC_WHEELHOUSE")
    if own is not None:
        missing = [text for text in own.split(os.pathsep) if text and not Path(text).is_dir()]
        if missing:
            raise LockError(
                f"DLC_WHEELHOUSE names {missing[0]}, which is no folder", remedy="fix or unset it"
            )
        return tuple(Path(text) for text in own.split(os.pathsep) if text)
    links = os.environ.get("PIP_FIND_LINKS")
    candidates = (_pip_find_links() if links is None else links).split()
    paths = (Path(text.removeprefix("file://")) for text in candidates if text)
    return tuple(path for path in paths if path.is_dir())


def find(wheel: Wheel, folders: Sequence[Path]) -> Path | None:
    """The file of a wheel, checked by its hash; LockError if a file of that name has another."""
    for folder in folders:
        path = folder / wheel.filename
        if not path.is_file():
            continue
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
        if wheel.sha256 is None or digest.hexdigest() == wheel.sha256:
            return path
        raise LockError(
            f"{path} has SHA-256 {digest.hexdigest()}, but {wheel.at.exact} says {wheel.sha256}",
            remedy="remove the file, or correct the matrix if the wheel is the right one",
        )
    return None


def stage(
    wheels: Sequence[Wheel], folders: Sequence[Path], context: Path, others: Sequence[Path] = ()
) -> bool:
    """Put all wheels into `context`/wheelhouse, as install.sh looks for them.

    A wheel of another file system is copied once for all contexts: `others` may have it.

    It is all or nothing, because one address stands for all wheels of a source. Returns whether
    the wheelhouse has them all; without them, none is left there.
    """
    house = context / "wheelhouse"
    found = [(wheel, find(wheel, folders)) for wheel in wheels]
    if not wheels or any(path is None for _, path in found):
        if house.exists():
            shutil.rmtree(house)
        return False
    for wheel, path in found:
        inside = wheel.url[wheel.url.index("}") + 2 :].rsplit("/", 1)[0]
        copy = house / wheel.source / inside / wheel.filename
        if copy.exists() or path is None:
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        place = copy.relative_to(context)
        if not any(_linked(each, copy) for each in (path, *(other / place for other in others))):
            temporary = copy.with_name(f".{copy.name}.new")
            shutil.copyfile(path, temporary)
            temporary.replace(copy)
    return True


def _linked(path: Path, copy: Path) -> bool:
    """Whether a file could be had as another name of one that is there."""
    try:
        os.link(path, copy)
    except OSError:  # another file system, or it is not there
        return False
    return True


def _pip_find_links() -> str:
    # `pip config get` would look into the user's own file only.
    result = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    values = dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)
    return str(ast.literal_eval(values.get("global.find-links", "''")))
