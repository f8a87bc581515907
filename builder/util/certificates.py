"""The certificates that the caller's own clients trust: one idea of them for all of the tool."""

from __future__ import annotations

import os
from pathlib import Path

from builder.errors import BuildError

__all__ = ["ca_bundle", "variable"]

# Where callers name their bundle; the first that is set counts.
_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE")


def variable() -> str:
    """The variable of the environment that names the bundle; empty if none does."""
    return next((name for name in _VARIABLES if os.environ.get(name)), "")


def ca_bundle() -> Path | None:
    """The bundle that the caller's environment names; None if it names none.

    BuildError if there is no such file.
    """
    if not (name := variable()):
        return None
    path = Path(os.environ[name])
    if not path.is_file():
        raise BuildError(f"{name} names {path}, which is no file", remedy=f"fix or unset {name}")
    return path
