"""What one lock has that another has not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from builder.locks.lockfile import Lock
from builder.util.text import counted

__all__ = ["Difference", "difference"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Packages that are new, gone, or of another version, by name."""

    new: Mapping[str, str]
    gone: Mapping[str, str]
    changed: Mapping[str, tuple[str, str]]
    packages: int

    def __str__(self) -> str:
        parts = [counted(self.packages, "package")]
        if self.new:
            names = ", ".join(f"{name} {version}" for name, version in self.new.items())
            parts.append(f"{len(self.new)} new ({names})")
        if self.gone:
            parts.append(f"{len(self.gone)} gone ({', '.join(self.gone)})")
        if self.changed:
            moved = (f"{name} {old} -> {new}" for name, (old, new) in self.changed.items())
            parts.append(f"{len(self.changed)} changed ({', '.join(moved)})")
        return "; ".join(parts) if len(parts) > 1 else f"{parts[0]}, unchanged"


def difference(before: Lock, after: Lock) -> Difference:
    """How a lock differs from another of the same layer."""
    old, new = ({n: _version(e) for n, e in each.entries.items()} for each in (before, after))
    return Difference(
        new={name: version for name, version in new.items() if name not in old},
        gone={name: version for name, version in old.items() if name not in new},
        changed={
            name: (old[name], version)
            for name, version in new.items()
            if name in old and old[name] != version
        },
        packages=len(new),
    )


def _version(entry: str) -> str:
    r"""The version in a requirement, or its address where it has none.

    >>> _version("a==1.0 \\\n    --hash=sha256:00\n"), _version("b @ file:b.whl\n")
    ('1.0', 'file:b.whl')
    """
    requirement = entry.splitlines()[0].rstrip("\\ ").partition(";")[0].strip()
    for mark in ("==", " @ "):
        if mark in requirement:
            return requirement.partition(mark)[2].split()[0]
    return requirement
