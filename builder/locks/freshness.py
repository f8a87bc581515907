"""Whether locks are fresh: what each layer is resolved from, and the digest of all of it.

The framework layer is resolved as of the framework version's own date, so that all releases on it
share one layer; the libraries layer as of the release's date, on top of the framework's versions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.locks import lockfile, system
from builder.locks.lockfile import Lock, pinned
from builder.matrix.components import locked
from builder.matrix.format import Component, Upgrade
from builder.matrix.target import Target
from builder.util.links import LINE_ENDS

__all__ = [
    "LAST_PATCH",
    "LAYERS",
    "State",
    "component",
    "concerning",
    "inputs_digest",
    "is_of",
    "layers",
    "origin",
    "state",
    "under",
    "without_upgrades",
]

# The last patch release of each Python, so that `Requires-Python: >=3.6.2` is met.
LAST_PATCH = {"3.6": "3.6.15", "3.7": "3.7.17", "3.8": "3.8.20", "3.9": "3.9.25"}
# In the order in which they are resolved, but for those of components: see `layers`.
LAYERS = ("build", "framework", "libraries", "tools")


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """What the committed locks of a target are: read without the network.

    `texts` are the locks by layer, empty where one is missing; `stale` tells why, for each lock
    that is not fresh; `unhashed` why, for each requirement without a SHA-256; `lifted` and `kept`
    what became of the matrix's upgrades, by package.
    """

    texts: Mapping[str, str]
    stale: Mapping[str, str]
    requirements: int
    unhashed: Mapping[str, str]
    lifted: Mapping[str, str]
    kept: Mapping[str, str]

    @property
    def remedy(self) -> str:
        """What to do about locks that are no longer right because of a checkout, else nothing."""
        return LINE_ENDS if lockfile.CRLF in self.stale.values() else ""

    @property
    def text(self) -> str:
        """In a word how they are, or which of them are not fresh and why."""
        if not self.stale:
            return "fresh"
        if len(self.stale) >= len(LAYERS) and len(set(self.stale.values())) == 1:
            return next(iter(self.stale.values()))
        return ", ".join(f"{layer}.lock {why}" for layer, why in self.stale.items())


def layers(target: Target) -> tuple[str, ...]:
    """The layers that a target has locks of, in the order in which they are resolved."""
    kinds = (component.kind for component in locked(target.components))
    return ("build", "framework", *kinds, "libraries", "tools")


def under(layer: str, target: Target, texts: Mapping[str, str]) -> str:
    """The locks on top of which a layer is resolved; nothing for one that stands alone."""
    stack = layers(target)[1:-1]
    return "".join(texts[each] for each in stack[: stack.index(layer)]) if layer in stack else ""


def origin(layer: str, target: Target) -> tuple[str, str]:
    """The Python and the date that a layer is resolved for."""
    if layer == "tools":
        return "", "any day"
    date = target.date if layer == "libraries" else target.locked
    return target.python, date.isoformat()


def component(layer: str, target: Target) -> Component:
    """The component of a target that a layer is named after."""
    [found] = (each for each in target.components if each.kind == layer)
    return found


def inputs_digest(
    layer: str, target: Target, below: str = "", upgrades: Iterable[Upgrade] = ()
) -> str:
    """The SHA-256 of all that a layer is resolved from.

    `below` are the locks under it; `upgrades` are those of the matrix that concern it.
    """
    python = f"{LAST_PATCH.get(target.python, target.python)} {target.runs_on.wheels}"
    parts: list[str] = []
    if layer == "build":
        parts = [python, target.locked.isoformat(), *target.build_requirements]
        parts += [f"constraint {text}" for text in target.constraints]
    elif layer == "framework":
        parts = [
            python,
            target.locked.isoformat(),
            *target.framework_requirements,
            *(f"constraint {text}" for text in target.constraints),
            *(f"{wheel.url} {wheel.sha256}" for wheel in target.build.wheels),
            *(
                f"{source} {text}"
                for source, texts in target.build.indexes.items()
                for text in texts
            ),
        ]
    elif layer == "libraries":
        parts = [python, target.date.isoformat(), *target.library_requirements, below]
        parts += [f"exclude {name}" for name in target.excludes]
    elif layer == "tools":
        parts = [target.uv]
    else:
        own = component(layer, target)
        parts = [python, target.locked.isoformat(), *own.requires, below]
        parts += (f"{wheel.url} {wheel.sha256}" for wheel in own.wheels)
    parts += [upgrade.rule for upgrade in upgrades]
    text = "\n".join([layer, *parts])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def concerning(
    layer: str, target: Target, entries: Mapping[str, str], notes: Iterable[str]
) -> list[Upgrade]:
    """The upgrades that a lock has notes of, and those that would lift what it has."""
    if layer in ("build", "tools"):
        return []
    noted = without_upgrades(notes)
    found = []
    for upgrade in target.upgrades:
        _, version = pinned(entries[upgrade.package]) if upgrade.package in entries else ("", "")
        version = noted.get(upgrade.package, version)
        if version and upgrade.lifts(version):
            found.append(upgrade)
    return found


def without_upgrades(notes: Iterable[str]) -> dict[str, str]:
    """The versions that the packages in a lock's notes have without the matrix's upgrades.

    >>> without_upgrades(["lifted: a 1 to 2", "kept: b 1, a newer one conflicts with other pins"])
    {'a': '1', 'b': '1'}
    """
    words = (note.split() for note in notes)
    return {each[1]: each[2].rstrip(",") for each in words}


def is_of(lock: Lock, target: Target, below: str) -> bool:
    """Whether a target's layer, on top of the locks `below`, is resolved from the same."""
    upgrades = concerning(lock.layer, target, lock.entries, lock.notes)
    same = lock.inputs == inputs_digest(lock.layer, target, below, upgrades)
    return same and (lock.python, lock.date) == origin(lock.layer, target)


def state(folder: Path, target: Target) -> State:
    """Compare the locks in a folder with what the target says now."""
    texts = lockfile.texts(folder, layers(target))
    found = {layer: lockfile.read(layer, text) for layer, text in texts.items()}
    stale = {layer: lock for layer, lock in found.items() if isinstance(lock, str)}
    for layer, lock in found.items():
        if isinstance(lock, Lock) and not is_of(lock, target, under(layer, target, texts)):
            stale[layer] = "stale"
    ordered = {layer: stale[layer] for layer in found if layer in stale}
    if why := system.stale(folder, target):
        ordered["system"] = why
    return State(
        texts=texts,
        stale=ordered,
        requirements=sum(
            len(lock.entries if isinstance(lock, Lock) else lockfile.parse(texts[layer]))
            for layer, lock in found.items()
        ),
        unhashed=lockfile.unhashed(texts.values()),
        lifted=lockfile.notes(texts.values(), "lifted"),
        kept=lockfile.notes(texts.values(), "kept"),
    )
