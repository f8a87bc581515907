"""Asks a source distribution's own code what the package needs, in a sandbox.

Only what says nothing of it otherwise comes here. What the code is run with is found and unpacked
before, from wheels, which runs nothing; then it runs without a network: see `sandbox`.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from builder.errors import LockError
from builder.locks.sdist.sandbox import run_python
from builder.locks.sdist.source import Needs, checked, opened
from builder.locks.uv.process import Uv

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["built_needs"]

# What builds without a pyproject.toml, or one that names no backend (PEP 517, PEP 518).
_REQUIRES = ("setuptools>=40.8.0", "wheel")
_BACKEND = "setuptools.build_meta:__legacy__"
_HOOKS = Path(__file__).with_name("hooks.py")


def built_needs(package: str, version: str, archive: Path, uv: Uv, date: str) -> Needs:
    """What a package needs, as its build backend says; LockError if that fails.

    The backend is that of the `date`; where it does not run on this Python any more, today's.
    """
    try:
        return _built(package, version, archive, uv, date)
    except _BuildError as failure:
        if date:
            try:
                return _built(package, version, archive, uv, "")
            except _BuildError:
                pass
        raise failure from None


class _BuildError(LockError):
    """The backend, or what it needs, is not to be had for this Python."""


def _built(package: str, version: str, archive: Path, uv: Uv, date: str) -> Needs:
    with opened(archive) as files:
        text = files.read("pyproject.toml") if "pyproject.toml" in set(files) else ""
    system = _build_system(text)
    requires = list(system.get("requires", _REQUIRES))
    given = uv.folder / "given"
    shutil.rmtree(given, ignore_errors=True)
    given.mkdir()
    shutil.copyfile(archive, given / archive.name)
    shutil.copyfile(_HOOKS, given / _HOOKS.name)
    for _ in range(2):  # the backend may want more, once
        _unpack(requires, given / "requires", uv, date)
        question = {
            "archive": f"/given/{archive.name}",
            "backend": system.get("build-backend", _BACKEND),
            "path": system.get("backend-path", []),
            "installed": requires,
        }
        _open(given)
        run = run_python(given, f"/given/{_HOOKS.name}", json.dumps(question))
        reply = _answer(run.out) if run.code == 0 else {}
        if isinstance(more := reply.get("requires"), list):
            requires += [str(each) for each in more]
            continue
        if isinstance(metadata := reply.get("metadata"), str):
            return _needs(package, version, metadata, given)
        last = "\n".join(run.err.strip().splitlines()[-15:])
        raise _failure(f"its build failed:\n{last}\n ")
    raise _failure("its build wants ever more")


def _unpack(requires: Sequence[str], into: Path, uv: Uv, date: str) -> None:
    """Put what a build needs into a folder: from wheels alone, so that nothing of it runs."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = [Requirement(text) for text in requires]
    except InvalidRequirement as error:
        raise _failure(f"its build wants what is no requirement: {error}") from error
    if named := [each.name for each in wanted if each.url]:
        raise _failure(f"its build wants {named[0]} from an address of its own")
    only = ("--only-binary", ":all:")
    day = ("--exclude-newer", f"{date}T23:59:59Z") if date else ()
    result = uv.run(
        "compile",
        *("--generate-hashes", "--no-header", "--no-annotate", *only, *day),
        uv.file("build-requires", map(str, wanted)),
    )
    if result.returncode == 0:
        lock = uv.file("build-lock", [result.stdout])
        result = uv.run(
            "install",
            *("--target", str(into), "--no-deps", "--require-hashes", *only),
            *("--link-mode", "copy", "--requirement", lock),
        )
    if result.returncode:
        raise _failure(f"what its build needs is not to be had:\n{result.stderr.strip()}\n ")


def _build_system(text: str) -> dict[str, Any]:
    """The table build-system of a pyproject.toml."""
    try:
        found = tomllib.loads(text).get("build-system", {})
        shapes = {"requires": list, "build-backend": str, "backend-path": list}
        if all(isinstance(found[key], kind) for key, kind in shapes.items() if key in found):
            return dict(found)
    except (tomllib.TOMLDecodeError, AttributeError, TypeError):
        pass
    raise _failure("its pyproject.toml is malformed")


def _open(folder: Path) -> None:
    """Let everybody read a folder, whatever the caller's umask."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


def _answer(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


def _needs(package: str, version: str, metadata: str, given: Path) -> Needs:
    folder = given / "metadata"
    folder.mkdir()
    (folder / "METADATA").write_text(metadata, "utf-8", errors="replace")
    needs = checked(folder, package, version)
    if needs is None:
        raise _failure("its build tells the metadata of another package, or none")
    return needs


def _failure(why: str) -> _BuildError:
    return _BuildError(why, remedy="require a version that has a wheel")
