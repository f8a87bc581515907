"""Compiles the modules below a folder with the interpreter that runs it (3.6 and later).

It runs from a mount of the tools stage and stays in no image.
usage: compile.py FOLDER [SKIPPED, a pattern of paths]
"""

import compileall
import importlib.util
import py_compile
import re
import sys
from pathlib import Path


def main(folder: str, skipped: str = "") -> None:
    """What cannot be compiled, like a template or Python 2, is no module; all else has to be."""
    pattern = re.compile(skipped) if skipped else None
    # Before Python 3.9 it goes no deeper than ten folders, unless told to.
    deep = sys.getrecursionlimit()
    if compileall.compile_dir(folder, maxlevels=deep, rx=pattern, quiet=2, workers=0):
        return
    # It does not tell a full disk from a syntax error.
    for path in sorted(Path(folder).rglob("*.py")):
        if not path.is_file() or (pattern and pattern.search(str(path))):
            continue
        if Path(importlib.util.cache_from_source(str(path))).exists():
            continue
        try:
            py_compile.compile(str(path), doraise=True)
        except py_compile.PyCompileError as error:
            if isinstance(error.exc_value, (MemoryError, OSError)):
                raise


if __name__ == "__main__":
    main(*sys.argv[1:])
