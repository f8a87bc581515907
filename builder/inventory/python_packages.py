"""Python distributions by their own metadata, wherever it lies."""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.parser import BytesHeaderParser
from pathlib import PurePosixPath

from builder.inventory.model import Package
from builder.matrix.requirements import normalise

__all__ = ["distribution", "is_license", "is_metadata"]

_METADATA = re.compile(
    r".*(?:\.dist-info/metadata|\.egg-info/pkg-info|egg-info/pkg-info|\.egg-info)", re.IGNORECASE
)
_LICENSE = re.compile(
    r".*\.(?:dist|egg)-info/(?:licenses/.+|[^/]*(?:licen[cs]e|copying|notice|copyright)[^/]*)",
    re.IGNORECASE,
)
_SITES = re.compile(r".*/(?:site|dist)-packages(?=/)")
_LONGEST = 80  # of what names a license; longer ones are its text


def is_metadata(path: str) -> bool:
    """Whether a file is that of a distribution.

    >>> is_metadata("/x/site-packages/a-1.dist-info/METADATA"), is_metadata("/x/METADATA")
    (True, False)
    """
    return _METADATA.fullmatch(path) is not None


def is_license(path: str) -> bool:
    """Whether a file is the text of a distribution's license."""
    return _LICENSE.fullmatch(path) is not None


def distribution(path: str, content: bytes, licenses: Iterable[str]) -> Package | None:
    """The distribution of some metadata; None if it says neither name nor version."""
    headers = BytesHeaderParser().parsebytes(content)
    name, version = str(headers.get("Name") or ""), str(headers.get("Version") or "")
    if not name or not version:
        return None
    folder = path if path.endswith(".egg-info") else str(PurePosixPath(path).parent)
    declared = str(headers.get("License") or "").strip()
    names = [declared] if _is_name(declared) else []
    names += [
        str(each).rpartition(" :: ")[2]
        for each in headers.get_all("Classifier", [])
        if str(each).startswith("License :: ")
    ]
    return Package(
        kind="python",
        name=normalise(name),
        version=version,
        path=folder,
        within=_within(folder),
        evidence="metadata",
        license=str(headers.get("License-Expression") or ""),
        licenses=tuple(dict.fromkeys(each for each in names if each != "OSI Approved")),
        requires=tuple(
            str(each)
            for each in headers.get_all("Requires-Dist", [])
            if not re.search(r";.*\bextra\b", str(each))
        ),
        license_files=tuple(sorted(each for each in licenses if each.startswith(f"{folder}/"))),
    )


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _LONGEST and "\n" not in text and text.upper() != "UNKNOWN"


def _within(folder: str) -> str:
    """The package that carries a distribution as a part of it: setuptools/_vendor, for one."""
    parts = _SITES.sub("", folder).strip("/").split("/")
    return parts[0] if _SITES.match(folder) and len(parts) > 1 else ""
