"""Writes the site's folder whole: replaces what it wrote before, and touches nothing else there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from builder.errors import WriteError
from builder.util import atomic
from builder.util.links import leads_out
from builder.util.text import system_words

__all__ = ["MANIFEST", "write"]

# Which files in the folder are ours: the only ones that are ever replaced or removed.
MANIFEST = "dlc-site.json"


def write(folder: Path, files: Mapping[str, bytes]) -> int:
    """Make the folder hold these files, by their paths below it; how many were written or removed.

    WriteError if there is something else in the way, or if it cannot be written; then nothing is
    changed. Files that are as they should be are left alone.
    """
    had = _ours(folder)
    for name in files:
        _check(folder, name, had)
    changed = {name: content for name, content in files.items() if _read(folder / name) != content}
    gone = [name for name in sorted(had - files.keys()) if _removable(folder, name)]
    if not (changed or gone) and had == files.keys():
        return 0
    # All that may be ours at any moment is on the list, so that a run that is killed leaves
    # nothing that the next one would take for somebody else's.
    _list(folder, had | files.keys())
    atomic.write_all(
        [
            *(atomic.File(path=folder / name, content=changed[name]) for name in sorted(changed)),
            *(
                atomic.File(path=folder / name, content=None, below=len(Path(name).parts) - 1)
                for name in gone
            ),
        ]
    )
    _list(folder, files.keys())
    return len(changed) + len(gone)


def _list(folder: Path, names: Iterable[str]) -> None:
    text = json.dumps({"written_by": "dlc site", "files": sorted(names)}, indent=1) + "\n"
    atomic.write(folder / MANIFEST, text, folders=True)


def _ours(folder: Path) -> set[str]:
    """What we wrote there before; WriteError if it is the folder of something else."""
    try:
        if not folder.is_dir():
            if folder.exists():
                raise _refused(folder, "is a file")
            return set()
        if not any(folder.iterdir()):
            return set()
        document = json.loads((folder / MANIFEST).read_text("utf-8"))
        if document["written_by"] != "dlc site":
            raise ValueError
        names = document["files"]
        return {name for name in names if isinstance(name, str) and _is_below(name)}
    except (ValueError, LookupError, TypeError, RecursionError, FileNotFoundError):
        raise _refused(folder, "holds something that is no site of ours") from None
    except OSError as error:
        raise _refused(folder, f"cannot be read: {system_words(error)}") from error


def _check(folder: Path, name: str, had: set[str]) -> None:
    path = folder / name
    if leads_out(path, folder):
        raise _refused(path, "is a link, or in a folder that is one, and leads elsewhere")
    if path.is_dir():
        raise _refused(path, "is a folder, where a page goes")
    if path.exists() and name not in had:
        raise _refused(path, "is not ours")


def _removable(folder: Path, name: str) -> bool:
    path = folder / name
    return path.is_file() and not leads_out(path.parent, folder)


def _is_below(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _refused(path: Path, what: str) -> WriteError:
    return WriteError(f"{path} {what}", remedy="name an empty folder with --output, or a new one")
