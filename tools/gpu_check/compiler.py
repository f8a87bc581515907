"""A C compiler to carry: just enough of GCC to make the shared objects that Triton loads.

Triton compiles C against Python's and CUDA's headers. Shared objects find the C library in the
process that loads them, so nothing of it is linked and no start-up file is needed.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from builder.errors import ArgumentError
from tools.gpu_check.debian import dependencies, unpack_packages

__all__ = ["PACKAGES", "kept", "make_compiler"]

PACKAGES = ("gcc", "libc6-dev")
# Relative to the root. GCC's own programs are in lib or libexec.
_KEPT = (
    "usr/bin/*-linux-gnu-gcc-[0-9]*",
    "usr/bin/*-linux-gnu-as",
    "usr/bin/*-linux-gnu-ld.bfd",
    "usr/lib*/gcc/*/*/cc1",
    "usr/lib*/gcc/*/*/collect2",
    "usr/lib/gcc/*/*/libgcc.a",
    "usr/lib/gcc/*/*/include",
    "usr/include",
)
# Shared libraries of these programs.
_LIBRARIES = (
    *("bfd", "ctf", "ctf-nobfd", "gmp", "isl", "jansson"),
    *("mpc", "mpfr", "opcodes", "sframe", "z", "zstd"),
)
_SONAME = re.compile(r"\.so(\.\d+)?$")

_WRAPPER = """\
#!/bin/sh
root=$(cd "${{0%/*}}" && pwd)
LD_LIBRARY_PATH=$root/libraries exec "$root/usr/bin/{gcc}" --sysroot="$root" \\
    -B"$root/usr/bin/{prefix}" -fno-use-linker-plugin -nostdlib "$@" -lgcc
"""


def make_compiler(scratch: Path, into: Path) -> None:
    """Make the compiler in a folder; `cc` in there is what to call."""
    root = scratch / "gcc"
    unpack_packages(dependencies(*PACKAGES), root)
    for path in kept(root):
        copy = into / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.copytree(path, copy, symlinks=True)
        else:
            shutil.copy(path, copy)
    libraries = into / "libraries"
    libraries.mkdir()
    for name in _LIBRARIES:
        for path in root.glob(f"**/*-linux-gnu/lib{name}[.-]*so*"):
            if _SONAME.search(path.name):
                shutil.copy(path, libraries / path.name)
    [driver] = (into / "usr/bin").glob("*-gcc-*")
    prefix = driver.name.partition("gcc-")[0]
    (into / f"usr/bin/{prefix}ld.bfd").rename(into / f"usr/bin/{prefix}ld")
    wrapper = into / "cc"
    wrapper.write_text(_WRAPPER.format(gcc=driver.name, prefix=prefix), "utf-8")
    wrapper.chmod(0o755)


def kept(root: Path) -> list[Path]:
    """What is kept of the unpacked packages; ArgumentError if these are laid out otherwise."""
    paths = []
    for pattern in _KEPT:
        # gcc-12, and neither gcc-ar-12 nor a link from another name
        found = [path for path in root.glob(pattern) if not path.is_symlink()]
        if len(found) != 1:
            raise ArgumentError(
                f"{pattern} matches {len(found)} files of {', '.join(PACKAGES)}, expected 1",
                remedy="see whether the packages have another layout",
            )
        paths += found
    return paths
