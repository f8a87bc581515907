"""The packages that an image has, as an SPDX document.

They are read from the image itself: dpkg's own list, and the locks that it was installed from,
which name every Python package of it by version and hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from builder import __version__

__all__ = ["Package", "document", "of_dpkg", "of_lock"]

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[^\s;\\]+)", re.MULTILINE)
# A wheel from its own address: `torch @ https://host/torch-1.9.1%2Bcu111-cp38-cp38-....whl`.
_WHEEL = re.compile(
    r"^(?P<name>[A-Za-z0-9][\w.-]*) @ \S*/[^/-]+-(?P<version>[^/-]+)-[^/]+\.whl", re.MULTILINE
)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Package:
    """A package; `kind` is that of package URLs, `deb` or `pypi`."""

    kind: str
    name: str
    version: str
    architecture: str = ""

    def url(self, distribution: str) -> str:
        """Its package URL; `distribution` is that of packages from dpkg, like debian."""
        name, version = quote(self.name), quote(self.version, safe="")
        if self.kind == "deb":
            return f"pkg:deb/{distribution}/{name}@{version}?arch={self.architecture}"
        return f"pkg:{self.kind}/{name}@{version}"


def of_dpkg(status: str) -> list[Package]:
    """What dpkg's list has as installed.

    >>> of_dpkg("Package: git\\nStatus: install ok installed\\nVersion: 1:2-3\\n")
    [Package(kind='deb', name='git', version='1:2-3', architecture='')]
    """
    found = []
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed") and "Package" in fields:
            found.append(
                Package(
                    kind="deb",
                    name=fields["Package"],
                    version=fields.get("Version", ""),
                    architecture=fields.get("Architecture", ""),
                )
            )
    return found


def of_lock(text: str) -> list[Package]:
    """What a lock of requirements names.

    >>> of_lock("Torch_X==1.0 \\\\\\n    --hash=sha256:00\\n# comment==1\\n")
    [Package(kind='pypi', name='torch-x', version='1.0', architecture='')]
    """
    pins = [*_PIN.finditer(text), *_WHEEL.finditer(text)]
    return [
        Package(
            kind="pypi",
            name=re.sub(r"[-_.]+", "-", pin["name"]).lower(),
            version=pin["version"].replace("%2B", "+"),
        )
        for pin in pins
    ]


def document(
    packages: Iterable[Package], *, name: str, digest: str, created: str, distribution: str
) -> Mapping[str, Any]:
    """An SPDX 2.3 document: an image and what it contains; the same for the same image.

    `digest` is that of the image's manifest, `created` its time, as in 2026-11-21T06:05:49Z.
    """
    listed = []
    for package in sorted(set(packages)):
        listed.append(
            {
                "SPDXID": f"SPDXRef-{_id(package)}",
                "name": package.name,
                "versionInfo": package.version,
                "downloadLocation": "NOASSERTION",
                "filesAnalyzed": False,
                "externalRefs": [
                    {
                        "referenceCategory": "PACKAGE-MANAGER",
                        "referenceType": "purl",
                        "referenceLocator": package.url(distribution),
                    }
                ],
            }
        )
    image = {
        "SPDXID": "SPDXRef-image",
        "name": name,
        "versionInfo": digest,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "primaryPackagePurpose": "CONTAINER",
        "checksums": [{"algorithm": "SHA256", "checksumValue": digest.removeprefix("sha256:")}],
    }
    contains = [
        {
            "spdxElementId": "SPDXRef-image",
            "relationshipType": "CONTAINS",
            "relatedSpdxElement": each["SPDXID"],
        }
        for each in listed
    ]
    described = {
        "spdxElementId": "SPDXRef-DOCUMENT",
        "relationshipType": "DESCRIBES",
        "relatedSpdxElement": "SPDXRef-image",
    }
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"urn:dlc:sbom:{digest}",
        "creationInfo": {"created": created, "creators": [f"Tool: dlc-{__version__}"]},
        "packages": [image, *listed],
        "relationships": [described, *contains],
    }


def _id(package: Package) -> str:
    """An identifier of letters, digits, dots and dashes, that no other package has."""
    parts = (package.kind, package.name, package.version, package.architecture)
    return re.sub(r"[^A-Za-z0-9.-]", lambda found: f"-{ord(found[0]):x}-", "-".join(parts))
