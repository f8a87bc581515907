"""What is installed, beside the locks that an image was installed from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from urllib.parse import unquote

from builder.errors import LockError
from builder.inventory.model import Config, Inventory, Package
from builder.locks import system
from builder.locks.lockfile import parse, pinned
from builder.matrix.target import Target

__all__ = ["compare", "not_built", "of_texts", "requirements"]

_FILE = re.compile(r" @ \S*/([^/\s]+\.whl)")


def requirements(locks: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Every requirement of locks by name: its version, and the layer that has it.

    >>> requirements({"a": "Foo_x==1 \\\\\\n    --hash=sha256:00\\n"})
    {'foo-x': ('1', 'a')}
    """
    found = {}
    for layer, text in locks.items():
        for name, entry in parse(text).items():
            version = pinned(entry)[1]
            if not version and (file := _FILE.search(entry)):
                version = unquote(file[1]).split("-")[1]
            found[name] = (version, layer)
    return found


def not_built(target: Target, packages: Iterable[Package]) -> Inventory:
    """The inventory of a target of which nothing but its packages is known."""
    return Inventory(
        image=target.name,
        id="",
        key="",
        created="",
        distribution="",
        release="",
        packages=tuple(sorted(packages)),
        config=Config(env={}, labels={}),
        layers=(),
        size=0,
    )


def of_texts(target: Target, locks: Mapping[str, str]) -> Inventory:
    """What a target's locks say that its image is to have; LockError if one is missing."""
    if missing := [layer for layer, text in locks.items() if not text]:
        raise LockError(
            f"{target.name} has no lock of {', '.join(missing)}",
            remedy=f"run `dlc lock {target.name}`",
        )
    # What only the build needs is not in the image.
    installed = {layer: text for layer, text in locks.items() if layer not in ("build", "tools")}
    packages = [
        Package(kind="python", name=name, version=version, layer=layer, evidence="lock")
        for name, (version, layer) in requirements(installed).items()
    ]
    return not_built(target, packages)


def compare(
    packages: Iterable[Package], locks: Mapping[str, str], environment: str
) -> tuple[tuple[Package, ...], tuple[str, ...]]:
    """The packages with the layers of Python's, and how they differ from the locks.

    Only what is installed into the virtual environment counts; an interpreter has its own pip, and
    distributions carry parts of others. Without any lock nothing is said. The distribution's
    packages are compared where they are locked.
    """
    system_text = locks.get("system", "")
    locks = {layer: text for layer, text in locks.items() if layer != "system"}
    wanted = requirements(locks)
    found, installed, problems = [], set(), []
    for package in packages:
        mine = (
            package.kind == "python"
            and not package.within
            and package.path.startswith(f"{environment}/")
        )
        if not (mine and locks):
            found.append(package)
            continue
        installed.add(package.name)
        version, layer = wanted.get(package.name, ("", ""))
        found.append(replace(package, layer=layer))
        if not layer:
            problems.append(f"{package.name} {package.version} is in no lock")
        elif not _equal(package.version, version):
            problems.append(f"{package.name} is {package.version}, and {layer}.lock has {version}")
    for name in sorted(wanted.keys() - installed):
        version, layer = wanted[name]
        problems.append(f"{name} {version} of {layer}.lock is missing")
    if system_text:
        problems += _system(found, system_text)
    return tuple(found), tuple(problems)


def _system(packages: Iterable[Package], text: str) -> list[str]:
    """How the distribution's packages differ from their lock."""
    lock = system.read(text)
    if isinstance(lock, str):
        return [f"{system.NAME} in the image is {lock}"]
    wanted = lock.final
    there = {each.name: each.version for each in packages if each.kind == "system"}
    return [
        *(
            f"{name} is {there[name]}, and {system.NAME} has {version}"
            for name, version in wanted.items()
            if there.get(name, version) != version
        ),
        *(
            f"{name} {version} of {system.NAME} is missing"
            for name, version in wanted.items()
            if name not in there
        ),
        *(
            f"{name} {version} is not in {system.NAME}"
            for name, version in sorted(there.items())
            if name not in wanted
        ),
    ]


def _equal(installed: str, locked: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(installed) == Version(locked)
    except InvalidVersion:
        return installed == locked
