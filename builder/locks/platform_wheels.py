"""Whether what is locked for a platform has its wheels there, as it has them on the default one.

uv takes a source distribution where there is no wheel. What has compiled wheels elsewhere would
have to be compiled in the image, whose compilers are chosen for the default platform.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from builder.errors import LockError
from builder.locks.direct import outside
from builder.locks.freshness import LAST_PATCH
from builder.locks.lockfile import Lock, pinned
from builder.locks.uv.compile import failure
from builder.locks.uv.process import uv_process
from builder.matrix.mirrors import Mirrors
from builder.matrix.platforms import DEFAULT, PLATFORMS
from builder.matrix.target import Target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["refuse_without_wheels"]


def refuse_without_wheels(lock: Lock, target: Target, mirrors: Mirrors) -> None:
    """LockError if packages of a new lock have wheels for the default platform alone."""
    if target.platform == DEFAULT or lock.layer in ("build", "tools"):
        return
    elsewhere = {*outside(target)}
    locked = {name: entry for name, entry in lock.entries.items() if name not in elsewhere}
    sources = _without(locked, target, target.platform, mirrors)
    # What is only there as source anywhere is no worse off.
    found = {name: locked[name] for name in sources}
    lacking = sources - _without(found, target, DEFAULT, mirrors)
    if lacking:
        named = ", ".join("==".join(pinned(locked[name])) for name in sorted(lacking))
        raise LockError(
            f"{target.name} cannot be locked: there is no wheel of {named} for {target.platform} "
            f"({PLATFORMS[target.platform].wheels}), as there is for {DEFAULT}",
            remedy=f"require a version that has one, or leave {target.platform} out of the row",
        )


def _without(
    entries: Mapping[str, str], target: Target, platform: str, mirrors: Mirrors
) -> set[str]:
    """Those of some entries that have no wheel for a platform among what is locked."""
    if not entries:
        return set()
    pins = {name: pinned(entry) for name, entry in entries.items()}
    # What they need plays no part, so nothing has to be built to know it.
    known = [
        f'[[dependency-metadata]]\nname = "{name}"\nversion = "{version}"\nrequires-dist = []'
        for name, version in pins.values()
    ]
    with uv_process(mirrors) as uv:
        result = uv.run(
            "compile",
            *("--format", "pylock.toml", "--no-deps", "--no-header"),
            *("--python-version", LAST_PATCH.get(target.python, target.python)),
            *("--python-platform", PLATFORMS[platform].wheels),
            uv.file("pins", map("==".join, pins.values())),
            configuration=known,
        )
    if result.returncode:
        raise failure(result.stderr, target.name)
    packages: list[Mapping[str, Any]] = tomllib.loads(result.stdout).get("packages", [])
    there = {str(each["name"]): [*each.get("wheels", ())] for each in packages}
    return {
        name
        for name, entry in entries.items()
        if not any(_hash(wheel) in entry for wheel in there.get(name, ()))
    }


def _hash(wheel: Mapping[str, Any]) -> str:
    return str(wheel.get("hashes", {}).get("sha256", "no hash"))
