"""What uv is asked for the layers of a target."""

from __future__ import annotations

from collections.abc import Sequence

from builder.locks.direct import outside
from builder.locks.freshness import component, origin
from builder.locks.lifting import is_lifted
from builder.locks.lockfile import Lock
from builder.locks.uv.compile import Question
from builder.matrix.target import Target

__all__ = ["question_of", "texts"]


def texts(layer: str, target: Target) -> tuple[str, ...]:
    """What a layer itself requires of the package index."""
    known = {
        "build": target.build_requirements,
        "framework": target.framework_requirements,
        "libraries": target.library_requirements,
        "tools": (f"uv=={target.uv}",),
    }
    if layer in known:
        return known[layer]
    return component(layer, target).requires


def question_of(layer: str, target: Target, below: Sequence[Lock]) -> Question:
    """What uv is asked for a layer, on top of other locks, so that their versions hold."""
    own = texts(layer, target)
    if layer == "tools":
        return Question(requirements=own)
    python, date = origin(layer, target)
    if layer in ("build", "framework"):
        return Question(
            requirements=own,
            constraints=target.constraints,
            excluded=outside(target) if layer == "framework" else (),
            python=python,
            platform=target.platform,
            date=date,
        )
    # The framework's requirements take part, so that its versions hold.
    return Question(
        requirements=(*target.framework_requirements, *own),
        constraints=tuple(pin for lock in below for pin in lock.pins()),
        excluded=(*outside(target), *target.excludes),
        python=python,
        platform=target.platform,
        date=date,
        # Those versions may be newer than this date.
        upgrades=tuple(u for u in target.upgrades if any(is_lifted(u, lock) for lock in below)),
    )
