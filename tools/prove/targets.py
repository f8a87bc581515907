"""Targets on stand-ins: the same templates and locks, with other parts where the real are not.

The base is Debian 12 with the right Python, the package index's wheel of the same version stands in
for PyTorch's own build, and what has no stand-in is left out and named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from builder.errors import LockError
from builder.locks import freshness, lockfile
from builder.locks.direct import outside, wheel_name
from builder.locks.uv.compile import Question, compile_requirements, requirement_name
from builder.matrix.format import Base
from builder.matrix.target import Target

__all__ = ["StandIn", "lock", "locks_digest", "requirements", "stand_in"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StandIn:
    """A target on stand-ins, and what of the real one it lacks."""

    target: Target
    gaps: tuple[str, ...]


def stand_in(target: Target, *, base: Base | None, wheels: bool) -> StandIn:
    """The target on a stand-in base, or with the package index's wheels, or both.

    Without either it is the real target.
    """
    # Its locks are the real ones, in which the upgrades are already.
    changed, instead, gaps = replace(target, upgrades=()), [], []
    if base:
        instead.append(target.base.name)
        gaps += [f"without {package}" for package in target.accelerator_packages]
        compilers = tuple(name for name in target.compilers if not name.startswith("python"))
        if compilers and base.pythons[target.python]:  # a prefix brings Python's headers itself
            compilers = (*compilers, f"python{target.python}-dev")
        changed = replace(
            changed,
            base=base,
            accelerator_packages=(),
            compilers=compilers,
            standalone_python="",
        )
    if wheels and (target.build.wheels or target.build.indexes):
        instead += [wheel.filename for wheel in target.build.wheels]
        gaps += [
            f"without {name}"
            for name in sorted({*outside(target)} - {*map(wheel_name, target.build.wheels)})
        ]
        changed = replace(
            changed,
            build=replace(target.build, wheels=(), indexes={}),
            framework_requirements=(*_shared(target), *_same_versions(target)),
        )
    if not instead:
        return StandIn(target=target, gaps=())
    return StandIn(target=replace(changed, stand_in=" ".join(instead)), gaps=tuple(gaps))


def lock(target: Target, stands_in: Target, images: Path, folder: Path) -> None:
    """Write a stand-in's locks below `folder`: the committed ones but for the direct wheels.

    LockError if those are stale, or if the package index has no wheel of the same version.
    """
    committed = images / target.folder
    found = freshness.state(committed, target)
    if found.stale:
        raise LockError(
            f"the locks of {target.name} are not fresh: {found.text}",
            remedy=f"run `dlc lock {target.name}`",
        )
    held = {layer: lockfile.entries(committed, layer) for layer in freshness.LAYERS}
    if len(stands_in.build.wheels) < len(target.build.wheels):
        left = {*outside(target), *map(requirement_name, _cuda(target))}
        framework = {name: e for name, e in held["framework"].items() if name not in left}
        held["framework"] = dict(sorted((framework | _index_entries(target, framework)).items()))
    below, made = "", []
    for layer in freshness.LAYERS:
        python, date = freshness.origin(layer, stands_in)
        made.append(
            lockfile.Lock(
                layer=layer,
                python=python,
                date=date,
                inputs=freshness.inputs_digest(layer, stands_in, below),
                entries=held[layer],
            )
        )
        below = made[-1].text() if layer == "framework" else below
    lockfile.write(folder / stands_in.folder, made)


def locks_digest(folder: Path) -> str:
    """The SHA-256 of a folder's locks."""
    digest = hashlib.sha256()
    for layer in freshness.LAYERS:
        digest.update((folder / f"{layer}.lock").read_bytes())
    return digest.hexdigest()


def requirements(folder: Path) -> list[str]:
    """What an image must have installed: the entries of both layers' locks."""
    layers = ("framework", "libraries")
    return [entry for layer in layers for entry in lockfile.entries(folder, layer).values()]


def _shared(target: Target) -> tuple[str, ...]:
    """What all builds of the framework version need: CUDA's packages go with the real wheel."""
    own = set(_cuda(target))
    return tuple(text for text in target.framework_requirements if text not in own)


def _cuda(target: Target) -> tuple[str, ...]:
    """What a build for GPUs needs itself; the index's wheel asks for its own."""
    return tuple(target.build.requires) if target.device == "gpu" else ()


def _same_versions(target: Target) -> tuple[str, ...]:
    """The direct wheels as the package index names them, without the local part of the version."""
    pairs = (wheel.filename.split("-")[:2] for wheel in target.build.wheels)
    return tuple(f"{name}=={version.partition('+')[0]}" for name, version in pairs)


def _index_entries(target: Target, held: Mapping[str, str]) -> dict[str, str]:
    """The index's wheels, and what they alone need (CUDA, in packages of its own)."""
    pins = (lockfile.pinned(entry) for entry in held.values())
    question = Question(
        requirements=_same_versions(target),
        constraints=tuple(f"{name}=={version}" for name, version in pins if version),
        python=target.python,
        date=target.locked.isoformat(),
    )
    found = compile_requirements(question, target.name)
    return {name: entry for name, entry in found.items() if name not in held}
