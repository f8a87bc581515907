"""What a Dockerfile takes from its context, and which file of the templates' folders that is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import accumulate
from pathlib import Path

from builder.dockerfile.parse import instructions

__all__ = ["copied", "files", "is_copied"]


def files(folders: Iterable[Path], runtime: Path) -> dict[str, Path]:
    """Every file that images may copy, by its path below `files/`; the first folder's wins.

    After all of them come the programs in `runtime`.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        # A link to a folder is not followed; one that leads out is refused by who takes the file.
        for path in sorted((folder / "files").rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                found.setdefault(path.relative_to(folder / "files").as_posix(), path)
    for path in sorted(runtime.glob("*.py")):
        found.setdefault(path.name, path)
    return found


def copied(dockerfile: str) -> list[str]:
    """What a Dockerfile takes from its context: names, folders or globs, as it writes them.

    >>> copied("FROM a\\nCOPY --chown=1 a.txt b/ /x/\\nCOPY --from=a /y /z\\n")
    ['a.txt', 'b']
    >>> copied("RUN --mount=type=bind,source=c.py,target=/c \\\\\\n    python /c")
    ['c.py']
    """
    found = list(_sources(dockerfile))
    return list(dict.fromkeys(each.removeprefix("./").strip("/") for each in found))


def is_copied(name: str, sources: Iterable[str]) -> bool:
    """Whether a file of the context is among what a Dockerfile copies.

    >>> is_copied("certs/a.pem", ["certs"]), is_copied("a.pem", ["*.crt", "b.pem"])
    (True, False)
    """
    paths = [".", *accumulate(name.split("/"), "{}/{}".format)]
    return any(fnmatchcase(each, source or ".") for each in paths for source in sources)


def _sources(dockerfile: str) -> Iterator[str]:
    for each in instructions(dockerfile):
        if each.verb == "RUN":
            yield from filter(None, map(_mounted, each.options))
        elif each.verb in {"COPY", "ADD"} and not any(
            option.startswith("--from=") for option in each.options
        ):
            named = each.words
            if named and named[0].startswith("["):
                named = list(map(str, json.loads(" ".join(named))))
            yield from (name for name in named[:-1] if "://" not in name and "<<" not in name)


def _mounted(option: str) -> str:
    """The file or folder of the context that a step mounts; empty if it mounts something else."""
    if not option.startswith("--mount="):
        return ""
    parts = dict(part.partition("=")[::2] for part in option.removeprefix("--mount=").split(","))
    if parts.get("type", "bind") != "bind" or "from" in parts:
        return ""
    return parts.get("source") or parts.get("src") or "."
