"""The distribution and its packages, by dpkg's own list."""

from __future__ import annotations

import re
from collections.abc import Mapping

from builder.inventory.model import Package

__all__ = ["installed", "os_release"]

_FIELD = re.compile(r"^([A-Za-z-]+): (.*)$", re.MULTILINE)
_SOURCE = re.compile(r"(\S+)(?: \((\S+)\))?")
_SHORT_NAME = re.compile(r"^License:[ \t]*(\S[^\n]*)$", re.MULTILINE)
_COMMON = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9][A-Za-z0-9.+-]*[A-Za-z0-9])")


def installed(status: str, copyrights: Mapping[str, tuple[str, str]]) -> list[Package]:
    """What dpkg's list has as installed.

    `copyrights` are files by the name of their package: where each is, and its text.

    >>> [found] = installed("Package: git\\nStatus: install ok installed\\nVersion: 1:2-3\\n", {})
    >>> found.name, found.version, found.source
    ('git', '1:2-3', 'git')
    """
    found = []
    for paragraph in status.split("\n\n"):
        fields = dict(_FIELD.findall(paragraph))
        name, version = fields.get("Package", ""), fields.get("Version", "")
        # The list of an image without dpkg has no status: it is one of what is there.
        if not name or not fields.get("Status", "installed").endswith("installed"):
            continue
        source = _SOURCE.match(fields.get("Source", ""))
        path, text = copyrights.get(name, ("", ""))
        found.append(
            Package(
                kind="system",
                name=name,
                version=version,
                architecture=fields.get("Architecture", ""),
                source=source[1] if source else name,
                source_version=(source[2] if source else "") or version,
                evidence="dpkg",
                licenses=_licenses(text),
                license_files=(path,) if path else (),
            )
        )
    return found


def os_release(text: str) -> tuple[str, str]:
    """The distribution's identifier and its release.

    >>> os_release('NAME="Ubuntu"\\nID=ubuntu\\nVERSION_ID="22.04"\\n')
    ('ubuntu', '22.04')
    """
    fields = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', text, re.MULTILINE))
    return fields.get("ID", ""), fields.get("VERSION_ID", "")


def _licenses(text: str) -> tuple[str, ...]:
    """The licenses that a file of copyrights names: in fields, or as texts that all Debian has."""
    names = _SHORT_NAME.findall(text) if text.startswith("Format:") else _COMMON.findall(text)
    return tuple(sorted({each.strip() for each in names}))
