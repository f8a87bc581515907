"""An inventory as an SPDX 2.3 document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from builder import __version__
from builder.inventory.model import Inventory, Package

__all__ = ["document", "identifier", "timestamp"]


def document(inventory: Inventory, *, name: str, digest: str) -> Mapping[str, Any]:
    """An image and what it contains, in the same words for the same image.

    `name` and `digest` are the image's: of its manifest once it is pushed, else its id.
    """
    listed = [_package(each, inventory.distribution) for each in inventory.packages]
    image = {
        "SPDXID": "SPDXRef-image",
        "name": name,
        "versionInfo": digest,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "primaryPackagePurpose": "CONTAINER",
        "checksums": [{"algorithm": "SHA256", "checksumValue": digest.removeprefix("sha256:")}],
    }
    described = {
        "spdxElementId": "SPDXRef-DOCUMENT",
        "relationshipType": "DESCRIBES",
        "relatedSpdxElement": "SPDXRef-image",
    }
    contains = [
        {
            "spdxElementId": "SPDXRef-image",
            "relationshipType": "CONTAINS",
            "relatedSpdxElement": each["SPDXID"],
        }
        for each in listed
    ]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"urn:dlc:sbom:{digest}",
        "creationInfo": {
            "created": timestamp(inventory.created),
            "creators": [f"Tool: dlc-{__version__}"],
        },
        "packages": [image, *listed],
        "relationships": [described, *contains],
    }


def timestamp(created: str) -> str:
    """A time as the engine writes it, in whole seconds.

    >>> timestamp("2026-11-21T06:05:49.123456789Z")
    '2026-11-21T06:05:49Z'
    """
    return re.sub(r"\.\d+", "", created)


def identifier(package: Package) -> str:
    """An identifier of letters, digits, dots and dashes, that no other package has."""
    parts = (
        *(package.kind, package.name, package.version, package.architecture),
        *(package.path, package.within),
    )
    text = "-".join(part.replace("-", "--") for part in parts if part)
    return re.sub(r"[^A-Za-z0-9.-]", lambda found: f"-{ord(found[0]):x}-", text)


def _package(package: Package, distribution: str) -> Mapping[str, Any]:
    # A reference to a text of one's own would need that text in the document.
    expression = "" if "LicenseRef-" in package.license else package.license
    names = [*([package.license] if not expression and package.license else []), *package.licenses]
    comments = [
        *([f"declared: {', '.join(names)}"] if names else []),
        *([f"texts: {', '.join(package.license_files)}"] if package.license_files else []),
    ]
    where = f"in {package.within}" if package.within else ""
    found = ", ".join(filter(None, (package.path, where, package.evidence)))
    row: dict[str, Any] = {
        "SPDXID": f"SPDXRef-{identifier(package)}",
        "name": package.name,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": expression or "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package.purl(distribution),
            }
        ],
    }
    if package.version:
        row["versionInfo"] = package.version
    if found:
        row["sourceInfo"] = found
    if comments:
        row["licenseComments"] = "; ".join(comments)
    return row
