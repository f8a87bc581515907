"""What a checkout may do to its files: links that lead elsewhere, line ends of another system."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["LINE_ENDS", "leads_out"]

# What to do about a checkout whose lines end as on Windows.
LINE_ENDS = (
    "write `* text=auto eol=lf` to .gitattributes, then check the files out again "
    "(`git rm -rq --cached . && git reset --hard`)"
)


def leads_out(path: Path, folder: Path) -> bool:
    """Whether links on the way to a path, which need not exist, lead out of a folder."""
    root = os.path.realpath(folder)
    return os.path.commonpath([root, os.path.realpath(path)]) != root
