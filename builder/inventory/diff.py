"""What differs between two images: packages of all kinds, settings, layers and bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from builder.inventory.model import Inventory, Package
from builder.inventory.versions import order

__all__ = ["AdvisoryChange", "Change", "Difference", "Setting", "compare", "to_json"]

ADDED, REMOVED, UPGRADED, DOWNGRADED, CHANGED = (
    "added",
    "removed",
    "upgraded",
    "downgraded",
    "changed",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A package that is not as before; `within` as an inventory has it."""

    what: str
    kind: str
    name: str
    before: str
    after: str
    within: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """An environment variable, a label or another setting; None where there is none."""

    what: str
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AdvisoryChange:
    """An advisory that is for only one of two images: `gained`, or `lost`."""

    what: str
    advisory: str
    severity: str
    package: str
    version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Two images, and what differs.

    `new_layers` are those that `after` has and `before` lacks, with their instructions and bytes;
    `shared_layers` how many they share. Beside locks alone there are only the packages of locks.
    `advisories` are there where somebody looked.
    """

    before: Inventory
    after: Inventory
    packages: tuple[Change, ...]
    settings: tuple[Setting, ...]
    new_layers: tuple[tuple[str, int], ...]
    shared_layers: int
    locks_only: bool
    advisories: tuple[AdvisoryChange, ...] = ()


def compare(before: Inventory, after: Inventory) -> Difference:
    """Everything that is not the same in two images; packages by kind and name."""
    locks_only = not (before.id and after.id)

    def counts(package: Package) -> bool:
        return bool(package.layer) if locks_only else True

    packages = _changes(filter(counts, before.packages), filter(counts, after.packages))
    had = {layer.digest for layer in before.layers}
    return Difference(
        before=before,
        after=after,
        packages=tuple(packages),
        settings=() if locks_only else tuple(_settings(before, after)),
        new_layers=tuple(
            (layer.step, layer.size) for layer in after.layers if layer.digest not in had
        ),
        shared_layers=sum(layer.digest in had for layer in after.layers),
        locks_only=locks_only,
    )


def _changes(before: Iterable[Package], after: Iterable[Package]) -> Iterator[Change]:
    was, now = _by_name(before), _by_name(after)
    for key in sorted({*was, *now}):
        one, other = was.get(key, ()), now.get(key, ())
        if one == other:
            continue
        kind, name, within, _ = key
        yield Change(
            what=_what(kind, one, other),
            kind=kind,
            name=name,
            before=" ".join(one),
            after=" ".join(other),
            within=within,
        )


def _by_name(packages: Iterable[Package]) -> dict[tuple[str, str, str, str], tuple[str, ...]]:
    """The versions of each package; more than one where an image has it in several places."""
    found: dict[tuple[str, str, str, str], set[str]] = {}
    for each in packages:
        key = (each.kind, each.name, each.within, each.architecture)
        found.setdefault(key, set()).add(each.version)
    return {key: tuple(sorted(versions)) for key, versions in found.items()}


def _what(kind: str, before: tuple[str, ...], after: tuple[str, ...]) -> str:
    if not before:
        return ADDED
    if not after:
        return REMOVED
    if len(before) == len(after) == 1:
        newer = order(kind, before[0], after[0])
        return {-1: UPGRADED, 1: DOWNGRADED}.get(newer or 0, CHANGED)
    return CHANGED


def _settings(before: Inventory, after: Inventory) -> Iterator[Setting]:
    one, other = before.config, after.config
    yield from _mapping("environment", one.env, other.env)
    yield from _mapping("label", one.labels, other.labels)
    plain: Mapping[str, Callable[[Inventory], str]] = {
        "entrypoint": lambda image: json.dumps(list(image.config.entrypoint)),
        "cmd": lambda image: json.dumps(list(image.config.cmd)),
        "user": lambda image: image.config.user,
        "workdir": lambda image: image.config.workdir,
        "ports": lambda image: " ".join(image.config.ports),
        "distribution": lambda image: image.operating_system,
    }
    for name, read in plain.items():
        if read(before) != read(after):
            yield Setting(what="image", name=name, before=read(before), after=read(after))


def _mapping(what: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Setting]:
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield Setting(what=what, name=name, before=before.get(name), after=after.get(name))


def to_json(difference: Difference) -> dict[str, Any]:
    """A difference in JSON's types."""

    def side(image: Inventory) -> dict[str, Any]:
        layers = None if difference.locks_only else len(image.layers)
        size = None if difference.locks_only else image.size
        return {
            "image": image.image,
            "id": image.id,
            "key": image.key,
            "layers": layers,
            "size": size,
        }

    return {
        "before": side(difference.before),
        "after": side(difference.after),
        "locks_only": difference.locks_only,
        "packages": [asdict(each) for each in difference.packages],
        "settings": [asdict(each) for each in difference.settings],
        "advisories": [asdict(each) for each in difference.advisories],
        "layers": {
            "shared": difference.shared_layers,
            "new": [{"step": step, "size": size} for step, size in difference.new_layers],
        },
    }
