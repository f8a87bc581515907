"""Stand-in bases: a Debian 12 root file system with the CPython that is wanted.

The interpreter comes from a folder of prefixes, such as pyenv's `versions`, built on a machine
whose C library is not newer than Debian 12's.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from builder.engine import bases
from builder.engine.bases import LABEL_HOW, LABEL_NAME, BaseSource
from builder.engine.connection import Engine
from builder.errors import BaseImageError
from builder.matrix.format import Base
from builder.matrix.target import STAND_IN

__all__ = ["Interpreter", "default_interpreters", "interpreters", "make"]

# What CPython's own modules load, by Debian 12's names.
_LIBRARIES = (
    "ca-certificates",
    "libbz2-1.0",
    "libexpat1",
    "libffi8",
    "libgdbm6",
    "liblzma5",
    "libncursesw6",
    "libreadline8",
    "libsqlite3-0",
    "libssl3",
    "libuuid1",
    "zlib1g",
)
_MODULES = "bz2, ctypes, hashlib, lzma, readline, sqlite3, ssl, uuid, zlib"
_LEFT_OUT = ("test", "idlelib", "tkinter", "lib2to3", "turtledemo", "__pycache__", "*.a", "share")
_DOCKERFILE = """\
FROM {base}
RUN apt-get update \\
 && apt-get install --yes --no-install-recommends {libraries} \\
 && rm --recursive --force /var/lib/apt/lists/* /var/cache/apt/*
COPY prefix /opt/python/{version}
RUN echo /opt/python/{version}/lib > /etc/ld.so.conf.d/stand-in.conf \\
 && ldconfig \\
 && ln --symbolic /opt/python/{version}/bin/python{python} /usr/bin/python{python} \\
{found} && find /opt/python/{version}/lib -maxdepth 1 -name 'libpython{python}*.so' \\
        -exec ln --symbolic {{}} /usr/local/lib/ ';' \\
 && python{python} -c 'import {modules}'
"""
# From 3.11 on, the interpreter of a virtual environment looks for its modules from /usr/bin.
_FOUND = """\
 && ln --symbolic /opt/python/{version}/lib/python{python} /usr/lib/ \\
 && ln --symbolic /opt/python/{version}/include/python{python} /usr/include/ \\
"""
_LOOKS_FROM_LINK = (3, 11)


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """A CPython at a prefix; `version` is whole, like 3.8.18."""

    version: str
    prefix: Path


def interpreters(folder: Path) -> dict[str, Interpreter]:
    """The newest interpreter of each Python in a folder of prefixes, by its version like 3.8.

    None, if there is no such folder.
    """
    found: dict[str, Interpreter] = {}
    prefixes = folder.iterdir() if folder.is_dir() else ()
    for prefix in sorted(prefixes, key=lambda path: _numbers(path.name)):
        numbers = _numbers(prefix.name)
        python = ".".join(map(str, numbers[:2]))
        if len(numbers) == 3 and (prefix / "bin" / f"python{python}").is_file():
            found[python] = Interpreter(version=prefix.name, prefix=prefix)
    return found


def default_interpreters() -> Path | None:
    """DLC_INTERPRETERS, else pyenv's (PYENV_ROOT); None without. BaseImageError if it is none."""
    named = os.environ.get("DLC_INTERPRETERS")
    if named and not Path(named).is_dir():
        raise BaseImageError(
            f"DLC_INTERPRETERS names {named}, which is no folder", remedy="fix or unset it"
        )
    pyenv = os.environ.get("PYENV_ROOT")
    folder = Path(named) if named else Path(pyenv, "versions") if pyenv else None
    return folder if folder and folder.is_dir() else None


def _numbers(name: str) -> tuple[int, ...]:
    parts = name.split(".")
    return tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else ()


def make(
    engine: Engine,
    base: Base,
    python: str,
    interpreter: Interpreter,
    debian: Base,
    say: Callable[[str], None],
) -> Base:
    """Build a stand-in for `base` with one Python; as a base that targets can start from.

    Debian itself, where that Python is its own. BaseImageError if Debian's own base cannot be had
    or the image does not build.
    """
    if packages := debian.pythons.get(python):
        return replace(
            debian,
            name=base.name,
            end_of_life=base.end_of_life,
            pythons={python: packages},
        )
    source = BaseSource(name=debian.name, image=debian.image, bootstrap=debian.bootstrap)
    below = bases.ensure(engine, source, say=say)
    found = ""
    if _numbers(python) >= _LOOKS_FROM_LINK:
        found = _FOUND.format(version=interpreter.version, python=python)
    dockerfile = _DOCKERFILE.format(
        base=below.reference,
        found=found,
        libraries=" ".join(_LIBRARIES),
        version=interpreter.version,
        python=python,
        modules=_MODULES,
    )
    digest = hashlib.sha256(f"{base.name} {below.id} {dockerfile}".encode()).hexdigest()
    image = f"stand-in/{base.name}@sha256:{digest}"
    reference = BaseSource(name=base.name, image=image).reference
    if not _has(engine, reference):
        say(f"stand-in for {base.name}: {debian.name} with CPython {interpreter.version}")
        _build(engine, dockerfile, interpreter, base.name, reference)
    return Base(
        name=base.name,
        image=image,
        end_of_life=base.end_of_life,
        jdk=debian.jdk,
        pythons={python: ()},
        bootstrap=None,
    )


def _has(engine: Engine, reference: str) -> bool:
    with closing(engine.client()) as client:
        return bool(client.images.list(reference))


def _build(engine: Engine, dockerfile: str, interpreter: Interpreter, base: str, tag: str) -> None:
    said = {LABEL_NAME: base, LABEL_HOW: STAND_IN}
    command = [*engine.buildx, "build", "--progress", "plain", "--load", "--tag", tag]
    for name, value in said.items():
        command += ["--label", f"{name}={value}"]
    with tempfile.TemporaryDirectory(prefix="dlc-stand-in-") as folder:
        shutil.copytree(
            interpreter.prefix,
            Path(folder, "prefix"),
            symlinks=True,
            ignore=shutil.ignore_patterns(*_LEFT_OUT),
        )
        Path(folder, "Dockerfile").write_text(dockerfile, "utf-8")
        result = subprocess.run(
            [*command, folder],
            env=engine.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if result.returncode:
        tail = "\n".join(result.stderr.splitlines()[-20:])
        raise BaseImageError(f"no stand-in {tag}: {tail}", remedy="fix what it says")
