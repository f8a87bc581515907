"""Reads matrix.yaml as the records of `format`."""

from __future__ import annotations

from pathlib import Path

from builder.matrix.format import MATRIX, Matrix
from builder.matrix.yaml_nodes import Report
from builder.matrix.yaml_reader import load

__all__ = ["read"]

# Nothing in another section mentions these.
_UNMENTIONED = ("tools", "cuda_keyring")


def read(path: Path, report: Report, *, name: str | None = None) -> Matrix | None:
    """Read a matrix; mistakes go to `report`, what is sound is returned.

    None if a section is missing, misspelt or broken as a whole: mentions of it would seem wrong.
    """
    document = load(path, report, name=name)
    matrix: Matrix | None = MATRIX.read(document, report) if document else None
    if document is None or matrix is None:
        return None
    needed = [key for key, each in MATRIX.keys.items() if each.required or key in document.keys]
    misspelt = document.keys.keys() - MATRIX.keys.keys()
    broken = [key for key in needed if getattr(matrix, key) is None and key not in _UNMENTIONED]
    if misspelt or broken or set(matrix.frameworks.named) - matrix.frameworks.keys():
        return None
    return matrix
