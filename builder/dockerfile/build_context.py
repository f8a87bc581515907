"""What a Dockerfile takes from its context, and which file of the templates' folders that is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

from builder.dockerfile.parse import Instruction, instructions

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


def copied(dockerfile: str) -> tuple[str, ...]:
    """What a Dockerfile takes from its context: names, folders or globs, as it writes them.

    >>> copied("FROM a\\nCOPY --chown=1 a.txt b/ /x/\\nCOPY --from=a /y /z\\n")
    ('a.txt', 'b')
    >>> copied("RUN --mount=type=bind,source=c.py,target=/c \\\\\\n    python /c")
    ('c.py',)
    """
    parts = dockerfile.split("\n\n")
    if "<<" in dockerfile or any(map(_goes_on, parts[:-1])):
        parts = [dockerfile]
    return tuple(dict.fromkeys(name for part in parts for name in _taken(part)))


# Dockerfiles of one template share most of their parts.
@lru_cache(maxsize=4096)
def _goes_on(part: str) -> bool:
    """Whether the last instruction of a part goes on after the empty line that follows.

    >>> _goes_on("RUN a \\\\\\n  # why"), _goes_on("RUN a \\\\\\n  b")
    (True, False)
    """
    lines = (line.strip(" \t\r") for line in reversed(part.split("\n")))
    last = next((line for line in lines if line and not line.startswith("#")), "")
    return last.endswith("\\")


@lru_cache(maxsize=4096)
def _taken(part: str) -> tuple[str, ...]:
    """What the instructions of a part of a Dockerfile take, each a path without `./` before it."""
    found = (name for each in instructions(part) for name in _sources(each))
    return tuple(dict.fromkeys(each.removeprefix("./").strip("/") for each in found))


@lru_cache(maxsize=4096)  # Targets take the same files.
def is_copied(name: str, sources: tuple[str, ...]) -> bool:
    """Whether a file of the context is among what a Dockerfile copies.

    >>> is_copied("certs/a.pem", ("certs",)), is_copied("a.pem", ("*.crt", "b.pem"))
    (True, False)
    """
    paths = [".", *accumulate(name.split("/"), "{}/{}".format)]
    return any(fnmatchcase(each, source or ".") for each in paths for source in sources)


@lru_cache(maxsize=4096)  # Most instructions are the same in the Dockerfiles of many targets.
def _sources(instruction: Instruction) -> tuple[str, ...]:
    """What an instruction takes from the context, as it writes it."""
    if instruction.verb == "RUN":
        return tuple(filter(None, map(_mounted, instruction.options)))
    if instruction.verb not in {"COPY", "ADD"}:
        return ()
    if any(option.startswith("--from=") for option in instruction.options):
        return ()
    named = instruction.words
    if named and named[0].startswith("["):
        named = list(map(str, json.loads(" ".join(named))))
    return tuple(name for name in named[:-1] if "://" not in name and "<<" not in name)


def _mounted(option: str) -> str:
    """The file or folder of the context that a step mounts; empty if it mounts something else."""
    if not option.startswith("--mount="):
        return ""
    parts = dict(part.partition("=")[::2] for part in option.removeprefix("--mount=").split(","))
    if parts.get("type", "bind") != "bind" or "from" in parts:
        return ""
    return parts.get("source") or parts.get("src") or "."
