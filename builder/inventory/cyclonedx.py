"""An inventory as a CycloneDX 1.6 document."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from builder import __version__
from builder.inventory.model import Inventory, Package
from builder.inventory.spdx import identifier, timestamp

__all__ = ["document"]

_TYPES = {"runtime": "platform", "binary": "application"}


def document(inventory: Inventory, *, name: str, digest: str) -> Mapping[str, Any]:
    """An image and what it contains, in the same words for the same image."""
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'urn:dlc:sbom:{digest}')}",
        "version": 1,
        "metadata": {
            "timestamp": timestamp(inventory.created),
            "tools": {
                "components": [{"type": "application", "name": "dlc", "version": __version__}]
            },
            "component": {
                "type": "container",
                "bom-ref": "image",
                "name": name,
                "version": digest,
            },
        },
        "components": [_component(each, inventory.distribution) for each in inventory.packages],
    }


def _component(package: Package, distribution: str) -> Mapping[str, Any]:
    group, _, name = package.name.rpartition(":")
    row: dict[str, Any] = {
        "type": _TYPES.get(package.kind, "library"),
        "bom-ref": identifier(package),
        "name": name,
        "purl": package.purl(distribution),
    }
    if group:
        row["group"] = group
    if package.version:
        row["version"] = package.version
    if package.license and "LicenseRef-" not in package.license:
        row["licenses"] = [{"expression": package.license}]
    elif names := [*([package.license] if package.license else []), *package.licenses]:
        row["licenses"] = [{"license": {"name": each}} for each in names]
    properties = {
        "dlc:kind": package.kind,
        "dlc:layer": package.layer,
        "dlc:source": " ".join(filter(None, (package.source, package.source_version))),
        "dlc:path": package.path,
        "dlc:within": package.within,
        "dlc:evidence": package.evidence,
    }
    row["properties"] = [
        *({"name": key, "value": value} for key, value in properties.items() if value),
        *({"name": "dlc:license-file", "value": each} for each in package.license_files),
    ]
    return row
