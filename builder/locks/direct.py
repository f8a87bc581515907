"""What does not come from the package index: direct wheels, and packages of another index.

Direct wheels are not read: the matrix says what they need, so that locking gives the same bytes
whether or not their source can be reached.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from builder.errors import LockError
from builder.locks import wheelhouse
from builder.locks.freshness import component
from builder.locks.lockfile import Lock
from builder.locks.uv.compile import (
    Question,
    UnreachableError,
    compile_requirements,
    requirement_name,
)
from builder.matrix import components
from builder.matrix.format import Wheel
from builder.matrix.mirrors import Mirrors
from builder.matrix.requirements import normalise
from builder.matrix.target import Target

__all__ = ["address", "direct_entries", "outside", "wheel_name"]


def direct_entries(
    layer: str,
    target: Target,
    held: Lock | None,
    folders: Sequence[Path],
    *,
    refresh: bool,
    mirrors: Mirrors,
) -> dict[str, str]:
    """A layer's entries that the package index has no part in, looked for in `folders` first.

    What was `held` with its hash stays; with `refresh` only if it cannot be reached now.
    """
    entries: dict[str, str] = {}
    for name, requirement, ask in _asked(layer, target, folders, mirrors):
        before = held.entries.get(name, "") if held else ""
        known = before.startswith(f"{requirement} \\\n    --hash=")
        entry = before if known and not refresh else ask()
        entries[name] = before if known and "--hash=" not in entry else entry
    return entries


def _asked(
    layer: str, target: Target, folders: Sequence[Path], mirrors: Mirrors
) -> Iterator[tuple[str, str, Callable[[], str]]]:
    """Of each entry its name, its requirement, and what makes it."""
    wheels: Sequence[Wheel] = ()
    if layer == "framework":
        wheels = target.build.wheels
        for source, texts in target.build.indexes.items():
            for text in texts:
                ask = partial(_indexed, text, source, target, mirrors)
                yield requirement_name(text), text, ask
    elif layer not in ("build", "libraries", "tools"):
        wheels = component(layer, target).wheels
    for wheel in wheels:
        local = wheelhouse.find(wheel, folders)  # LockError if it has another hash
        ask = partial(_wheel_entry, wheel, target, local, mirrors)
        yield wheel_name(wheel), f"{wheel_name(wheel)} @ {wheel.url}", ask


def _wheel_entry(wheel: Wheel, target: Target, local: Path | None, mirrors: Mirrors) -> str:
    """A direct wheel's requirement; its hash from the matrix, else from the file itself."""
    if wheel.sha256:
        return _direct(wheel, wheel.sha256)
    where = local.resolve().as_uri() if local else address(wheel.url, _sources(target, mirrors))
    question = Question(
        requirements=(f"{wheel_name(wheel)} @ {where}",),
        python=target.python,
        platform=target.platform,
        no_deps=True,
    )
    try:
        [entry] = compile_requirements(question, target.name, mirrors).values()
    except UnreachableError:
        requirement = f"{wheel_name(wheel)} @ {wheel.url}"
        return _unhashed(f"{wheel.source} could not be reached", requirement)
    [sha256] = re.findall("--hash=sha256:([0-9a-f]{64})", entry)
    return _direct(wheel, sha256)


def _indexed(requirement: str, source: str, target: Target, mirrors: Mirrors) -> str:
    """What only another index has, without what it needs: that is in the matrix."""
    # That index says no upload dates, so none can be asked of it.
    index = _sources(target, mirrors)[source]
    asked = Question(
        requirements=(requirement,),
        python=target.python,
        platform=target.platform,
        index=index,
        no_deps=True,
    )
    try:
        [entry] = compile_requirements(asked, target.name, mirrors).values()
    except UnreachableError:
        return _unhashed(f"{source} could not be reached", requirement)
    if "--hash=" not in entry:
        raise LockError(
            f"{source} gives no SHA-256 of {entry.strip()}",
            remedy="name the wheel in the matrix, with its hash",
        )
    return entry


def _sources(target: Target, mirrors: Mirrors) -> dict[str, str]:
    """Where wheels are that are not the index's: the matrix's addresses, or a site's own."""
    return {**target.sources, **mirrors.sources}


def outside(target: Target) -> tuple[str, ...]:
    """What the package index is not to be asked for, because it comes from elsewhere."""
    indexed = (text for texts in target.build.indexes.values() for text in texts)
    wheels = (*target.build.wheels, *components.wheels(target.components))
    return (*map(wheel_name, wheels), *map(requirement_name, indexed))


def wheel_name(wheel: Wheel) -> str:
    """The normalised name of a direct wheel's package."""
    return normalise(wheel.filename.split("-")[0])


def address(url: str, sources: Mapping[str, str]) -> str:
    """A direct wheel's address, with its source put in."""
    return re.sub(r"\$\{(\w+)\}", lambda match: sources[match[1]], url)


def _direct(wheel: Wheel, sha256: str) -> str:
    return f"{wheel_name(wheel)} @ {wheel.url} \\\n    --hash=sha256:{sha256}\n"


def _unhashed(why: str, requirement: str) -> str:
    return f"# No SHA-256: {why} when this was locked; `dlc lock` adds it.\n{requirement}\n"
