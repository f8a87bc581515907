"""The command `dlc audit`: known vulnerabilities of images, or of their locks."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder.cli.main import cli
from builder.cli.options import advisories_option, output_option, severity_option
from builder.cli.output import print_json, print_table
from builder.cli.progress import working
from builder.cli.selection import selection_options
from builder.cli.settings import Settings
from builder.util.console import say
from builder.util.text import counted, short_name

if TYPE_CHECKING:
    from builder.audit.audit import Audited
    from builder.inventory.model import Inventory
    from builder.matrix.target import Target

__all__: list[str] = []


@cli.command()
@selection_options
@advisories_option
@click.option("--built", is_flag=True, help="Audit built images, not only the locks of Python's.")
@click.option(
    "--inventory",
    "files",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="FILE",
    help="Audit these files of `dlc inventory --format json` instead; repeatable.",
)
@severity_option
@output_option
def audit(
    settings: Settings,
    targets: tuple[Target, ...],
    sources: tuple[str, ...],
    built: bool,
    files: tuple[Path, ...],
    severity: str,
    output: str,
) -> None:
    """List known vulnerabilities of targets, what fixes each, and which the matrix accepts.

    It fails if one is left, or if what accepts one is over.
    """
    from builder.audit.audit import audit as audit_one
    from builder.audit.audit import raise_if_open
    from builder.audit.sources import load
    from builder.locks import freshness, lockfile
    from builder.report.sides import Sides

    begin = time.monotonic()
    sides = Sides(targets=settings.targets, matrix=settings.matrix_path, images=settings.images)
    known: list[tuple[Inventory, Target | None]] = []
    with working("auditing"):
        if files:
            known += [(sides.one(str(path)), None) for path in files]
        else:
            known += [(sides.one(each.name, locks=not built), each) for each in targets]
        packages = ((package, one.operating_system) for one, _ in known for package in one.packages)
        database = load(sources, packages)
        today = datetime.datetime.now(datetime.timezone.utc).date()
        found = []
        for one, target in known:
            texts = {}
            if target:
                layers = freshness.layers(target)
                texts = lockfile.texts(settings.images / target.folder, layers)
            found.append(audit_one(one, database, today, target=target, locks=texts))
    seconds = time.monotonic() - begin
    if output == "json":
        print_json([_document(each, severity) for each in found])
    else:
        _table(found)
    affected = sum(bool(each.findings) for each in found)
    say(
        f"{counted(affected, 'target')} of {len(found)} with findings; "
        f"{counted(database.count, 'advisory')} read, {seconds:.1f} s"
    )
    raise_if_open(found, severity)


def _document(audited: Audited, threshold: str) -> dict[str, Any]:
    return {
        "image": audited.name,
        "findings": [
            {
                "advisory": each.advisory.id,
                "aliases": list(each.advisory.aliases),
                "severity": each.advisory.severity or None,
                "summary": each.advisory.summary,
                "kind": each.package.kind,
                "package": each.package.name,
                "version": each.package.version,
                "within": each.package.within or None,
                "fix": each.fix.what,
                "fixed_in": each.fix.version or None,
                "how": each.fix.how or None,
                "accepted": each.accepted.reason if each.accepted else None,
                "until": each.accepted.until.isoformat() if each.accepted else None,
                "counts": each.is_open(threshold),
            }
            for each in audited.findings
        ],
        "expired": [each.advisory for each in audited.expired],
    }


def _table(found: Sequence[Audited]) -> None:
    """One line for an advisory, a package and its version, whichever targets have it."""
    rows: dict[tuple[str, str, str, str, str], dict[str, Any]] = {}
    for one in found:
        for each in one.findings:
            key = (
                *(each.advisory.id, each.package.name, each.package.version, each.fix.what),
                each.accepted.until.isoformat() if each.accepted else "",
            )
            row = rows.setdefault(
                key,
                {
                    "severity": each.advisory.severity or None,
                    "advisory": each.advisory.id,
                    "package": each.package.name,
                    "version": each.package.version,
                    "fix": " ".join(filter(None, (each.fix.what, _version(each.fix.version)))),
                    "accepted": f"until {key[-1]}" if key[-1] else None,
                    "targets": [],
                },
            )
            row["targets"].append(short_name(one.name))
    for row in rows.values():
        names = row["targets"]
        row["targets"] = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    columns = ("severity", "advisory", "package", "version", "fix", "accepted", "targets")
    print_table(list(rows.values()), columns)


def _version(text: str) -> str:
    return f"({text})" if text else ""
