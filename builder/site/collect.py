"""Everything that is known of all images, gathered from the matrix and the files beside it."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from builder import __version__
from builder.inventory.diff import compare
from builder.inventory.locked import not_built, requirements
from builder.inventory.model import Inventory
from builder.inventory.model import Package as Found
from builder.locks import freshness, lockfile
from builder.matrix.target import Target
from builder.matrix.uris import regions
from builder.report import catalog
from builder.site import evidence, published
from builder.site.records import (
    Advisory,
    Asked,
    Catalog,
    Contract,
    Image,
    Package,
    Proof,
    Published,
    Table,
    Task,
)

if TYPE_CHECKING:
    from builder.audit.advisory import Database

__all__ = ["Sources", "collect"]

# Locks of what only the build needs: nothing of them is in the image.
_BUILD_ONLY = ("build", "tools")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Where things are: targets, folders, and what an operator gives besides.

    `today` is the day that acceptances of advisories are held against.
    """

    targets: Sequence[Target]
    images: Path
    docs: Path
    releases: Path
    templates: Mapping[str, Path]
    today: datetime.date
    inventories: Sequence[Path] = ()
    advisories: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Evidence:
    """What was recorded of images, by name."""

    proofs: Mapping[str, Proof]
    tasks: Mapping[str, tuple[Asked, tuple[Task, ...]]]
    contracts: Mapping[str, Contract]
    published: Mapping[str, tuple[Published, ...]]
    inventories: Mapping[str, Inventory]


def collect(sources: Sources) -> Catalog:
    """All that the site tells. DlcError of the file's kind if one of them is damaged."""
    tables = catalog.tables(sources.targets)
    targets = [row.target for table in tables for row in table.rows]
    recorded = _Evidence(
        proofs=evidence.proofs(sources.docs / "proof.json"),
        tasks=evidence.tasks(sources.docs / "tasks.json"),
        contracts=evidence.contracts(sources.docs / "contract.json"),
        published=published.by_image(sources.releases, (each.name for each in targets)),
        inventories=published.read_inventories(sources.inventories),
    )
    texts = {each.name: _locks(sources.images, each) for each in targets}
    locked = {each.name: _of_locks(each, texts[each.name]) for each in targets}
    audited = _audited(sources, targets, locked, texts)
    former = _former(targets)
    found = []
    for target in targets:
        before = former.get(target.name, "")
        image = _image(sources, target, texts[target.name], locked[target.name], recorded)
        changes = compare(locked[before], locked[target.name]).packages if before else ()
        advisories = audited.get(target.name)
        found.append(replace(image, former=before, changes=changes, advisories=advisories))
    return Catalog(
        images=tuple(found),
        tables=tuple(map(_table, tables)),
        templates=_templates(sources.templates),
        regions=regions(),
        version=__version__,
    )


def _table(table: catalog.Table) -> Table:
    return Table(
        heading=table.heading,
        titles=tuple(table.columns.values()),
        rows=tuple(
            (tuple(row.cells[name] for name in table.columns), row.target.name)
            for row in table.rows
        ),
    )


def _image(
    sources: Sources,
    target: Target,
    texts: Mapping[str, str],
    locked: Inventory,
    recorded: _Evidence,
) -> Image:
    proof = recorded.proofs.get(target.name)
    pushed = recorded.published.get(target.name, ())
    asked, tasks = recorded.tasks.get(target.name, (None, None))
    state, reason = _state(proof, texts)
    inventory_of, inventory = "", recorded.inventories.get(target.name)
    if inventory:
        inventory_of = inventory.id or target.name
    elif kept := published.inventory_beside(sources.releases, pushed):
        inventory_of, inventory = kept
    return Image(
        name=target.name,
        repository=target.repository,
        tag=target.tag,
        mode=target.mode,
        framework=target.framework_title,
        framework_version=str(target.framework_version),
        transformers=str(target.transformers),
        datasets=str(target.datasets or ""),
        device=target.device,
        platform=target.platform,
        python=str(target.python),
        standalone_python=target.standalone_python,
        os=target.base.name,
        base=str(target.base.image),
        accelerator=target.accelerator.name if target.accelerator else "",
        carries=str(target.build.carries),
        driver_cuda=target.driver_cuda,
        date=target.date.isoformat(),
        locked=target.locked.isoformat(),
        end_of_life=target.base.end_of_life.isoformat(),
        origin=target.origin,
        components=tuple(f"{each.kind} {each.version}" for each in target.components),
        labels=target.labels(),
        env=dict(target.env),
        budget=target.budget,
        state=state,
        reason=reason,
        dockerfile=_dockerfile(sources.images / target.folder / "Dockerfile"),
        packages=_packages(inventory or locked),
        proof=proof,
        tasks=tasks,
        asked=asked,
        contract=recorded.contracts.get(target.name),
        accepted=tuple(
            (str(each.advisory), str(each.reason), each.until.isoformat())
            for each in target.accepted
        ),
        published=pushed,
        inventory_of=inventory_of,
    )


def _state(proof: Proof | None, texts: Mapping[str, str]) -> tuple[str, str]:
    """How far an image is proven, and why no further: see `records.STATES`."""
    if proof is None:
        if missing := lockfile.unhashed(texts.values()):
            return "unbuildable", f"no SHA-256 of {', '.join(missing)} is known"
        absent = [layer for layer, text in texts.items() if not text]
        if absent:
            return "unbuildable", f"it has no lock of {', '.join(absent)}"
        return "untried", "it was not built yet"
    if not proof.passed:
        wrong = [f"{each.name}: {each.detail}" for each in proof.checks if not each.passed]
        return "failed", proof.error.split("\n")[0] or "; ".join(wrong) or "nothing was checked"
    if not proof.stand_in:
        return "proven", "the real image was built, and all its checks passed"
    if proof.gaps:
        return "partial", f"built on {proof.base}, {', '.join(proof.gaps)}"
    return "stand-in", f"built on {proof.base}, and all checks passed"


def _locks(images: Path, target: Target) -> dict[str, str]:
    return lockfile.texts(images / target.folder, freshness.layers(target))


@lru_cache(maxsize=4096)  # Targets share locks to the byte.
def _requirements(layer: str, text: str) -> tuple[Found, ...]:
    found = requirements({layer: text})
    return tuple(
        Found(kind="python", name=name, version=version, layer=layer, evidence="lock")
        for name, (version, layer) in found.items()
    )


def _of_locks(target: Target, texts: Mapping[str, str]) -> Inventory:
    """What the locks say that an image has; a later layer's word counts."""
    found: dict[str, Found] = {}
    for layer, text in texts.items():
        if layer not in _BUILD_ONLY:
            found.update((each.name, each) for each in _requirements(layer, text))
    return not_built(target, found.values())


def _packages(inventory: Inventory) -> tuple[Package, ...]:
    return tuple(
        Package(
            kind=each.kind,
            name=each.name,
            version=each.version,
            layer=each.layer,
            licenses=(each.license,) if each.license else each.licenses,
            within=each.within,
        )
        for each in inventory.packages
    )


def _former(targets: Iterable[Target]) -> dict[str, str]:
    """The image before each: of the same repository and device, by its versions."""
    from packaging.version import Version

    groups: dict[tuple[str, str], list[Target]] = {}
    for target in targets:
        groups.setdefault((target.repository, target.device), []).append(target)
    found: dict[str, str] = {}
    for group in groups.values():
        group.sort(
            key=lambda each: (
                Version(each.transformers),
                Version(each.framework_version),
                each.tag,
            )
        )
        found.update((after.name, before.name) for before, after in itertools.pairwise(group))
    return found


def _audited(
    sources: Sources,
    targets: Sequence[Target],
    locked: Mapping[str, Inventory],
    texts: Mapping[str, Mapping[str, str]],
) -> dict[str, tuple[Advisory, ...]]:
    """The advisories for what is in the locks; nothing where no database is given."""
    if not sources.advisories:
        return {}
    from builder.audit.sources import load

    asked = ((package, "") for one in locked.values() for package in one.packages)
    database = load(sources.advisories, asked)
    return {
        each.name: _advisories(locked[each.name], database, sources.today, each, texts[each.name])
        for each in targets
    }


def _advisories(
    inventory: Inventory,
    database: Database,
    today: datetime.date,
    target: Target,
    texts: Mapping[str, str],
) -> tuple[Advisory, ...]:
    from builder.audit.audit import audit

    return tuple(
        Advisory(
            id=each.advisory.id,
            aliases=tuple(each.advisory.aliases),
            severity=each.advisory.severity,
            summary=each.advisory.summary,
            package=each.package.name,
            version=each.package.version,
            fix=each.fix.what,
            fixed_in=each.fix.version,
            accepted=str(each.accepted.reason) if each.accepted else "",
            until=each.accepted.until.isoformat() if each.accepted else "",
        )
        for each in audit(inventory, database, today, target=target, locks=texts).findings
    )


def _templates(folders: Mapping[str, Path]) -> dict[str, str]:
    """The templates below each folder, by their names with the folder's own before them."""
    return {
        f"{prefix}{path.relative_to(folder).as_posix()}": path.read_text("utf-8", "replace")
        for prefix, folder in folders.items()
        for path in sorted(folder.rglob("*.j2"))
    }


def _dockerfile(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
