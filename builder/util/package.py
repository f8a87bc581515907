"""Where the package is: its programs and data and, in the wheel, the templates and the matrix."""

from __future__ import annotations

from pathlib import Path

__all__ = ["PACKAGE"]

PACKAGE = Path(__file__).parents[1]
