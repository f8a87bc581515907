"""Tell which modules lack bytecode: `python - < bytecode_report.py` prints one JSON object.

Runs inside an image, with its own Python (3.6 and later); needs no network.

    modules   how many there are that can be compiled
    without   those whose bytecode is missing, not theirs, or cut off
"""

import importlib.util
import json
import marshal
import re
import struct
import sys
import sysconfig
from pathlib import Path

# What install.sh leaves out: PyTorch's tools for tests.
SKIPPED = re.compile("/(test|testing/_internal)/")


def compiled(path: Path) -> bool:
    """Whether the bytecode of a module is whole and belongs to what its source is now."""
    source = path.read_bytes()
    try:
        data = Path(importlib.util.cache_from_source(str(path))).read_bytes()
        # PEP 552: since Python 3.7 a word says whether time and size follow, or a hash.
        hashed = struct.unpack_from("<I", data, 4)[0] if sys.version_info >= (3, 7) else 0
        fields = data[8:] if sys.version_info >= (3, 7) else data[4:]
        if hashed:
            own = fields[:8] == importlib.util.source_hash(source)
        else:
            own = struct.unpack_from("<I", fields, 4)[0] == len(source) & 0xFFFFFFFF
        marshal.loads(fields[8:])  # noqa: S302 - what every import does
    except (OSError, EOFError, ValueError, TypeError, struct.error):
        return False
    return own and data[:4] == importlib.util.MAGIC_NUMBER


def is_module(path: Path) -> bool:
    """Whether a file can be compiled: templates, or what is for Python 2, cannot."""
    try:
        compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True


if __name__ == "__main__":
    folder = Path(sys.argv[1] if sys.argv[1:] else sysconfig.get_paths()["purelib"])
    paths = [each for each in sorted(folder.rglob("*.py")) if each.is_file()]
    paths = [each for each in paths if not SKIPPED.search(str(each))]
    faulty = [each for each in paths if not compiled(each)]
    without = [str(each) for each in faulty if is_module(each)]
    modules = len(paths) - len(faulty) + len(without)
    json.dump({"modules": modules, "without": without}, sys.stdout)
