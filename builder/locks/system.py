"""system.lock: the distribution's packages of an image, each with version, SHA-256 and origin.

It has all packages that the base has once apt has upgraded it and installed what a step of the
Dockerfile asks for, as of a date: so an image has them whatever its base brought.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.errors import LockError
from builder.matrix.platforms import DEFAULT
from builder.matrix.target import Target

__all__ = [
    "NAME",
    "SystemLock",
    "SystemPackage",
    "changes",
    "inputs_digest",
    "load",
    "parse_answer",
    "read",
    "stale",
    "stamp",
    "steps",
]

NAME = "system.lock"

# The steps of the image itself, the later ones last; each has the packages of those before it.
# Where models are compiled the toolchain comes before the accelerator, else after it.
_IN_ORDER = (("python",), ("accelerator", "toolchain"), ("system",))

_LOCK = re.compile(
    r"# Packages of (?P<base>\S+) as of (?P<date>\d{4}-\d\d-\d\d), by `dlc lock`\.\n"
    r"# inputs: sha256:(?P<inputs>[0-9a-f]{64})\n"
    r"# packages: sha256:(?P<digest>[0-9a-f]{64})\n"
    r"# snapshot: \d{8}T\d{6}Z\n(?P<body>(?s:.*))"
)
_LINE = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9+.-]*)=(?P<version>\S+) (?P<architecture>\S+) (?P<archive>\S+) "
    r"(?P<path>\S+) sha256:(?P<sha256>[0-9a-f]{64}|-) (?P<steps>\S+)\n"
)
# As apt-get prints them: 'ADDRESS' FILE SIZE HASH, where the file has the version without `:`.
_URI = re.compile(
    r"'(?P<address>[^']+)' (?P<name>[^_\s]+)_(?P<version>[^_\s]+)_(?P<architecture>[^_\s.]+)\.deb "
    r"\d+ SHA256:(?P<sha256>[0-9a-f]{64})"
)
_ARCHIVE = re.compile(r"archive (?P<name>\S+) (?P<address>\S+)")
_OWN = re.compile(r"base (?P<name>\S+) (?P<version>\S+) (?P<architecture>\S+)")


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class SystemPackage:
    """A package, and the steps after which an image has it.

    `archive` and `path` are where its file is; one that only the base has is in the archive `base`,
    and has neither path nor hash.
    """

    name: str
    version: str
    architecture: str
    archive: str
    path: str
    sha256: str
    steps: tuple[str, ...]

    def line(self) -> str:
        """As the lock has it."""
        return (
            f"{self.name}={self.version} {self.architecture} {self.archive} {self.path} "
            f"sha256:{self.sha256} {','.join(self.steps)}\n"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemLock:
    """The packages of a base's steps, as of a date; `inputs` is what they were resolved from."""

    base: str
    date: str
    inputs: str
    packages: tuple[SystemPackage, ...]

    def text(self) -> str:
        """The lock as a file."""
        body = "".join(each.line() for each in self.packages)
        return (
            f"# Packages of {self.base} as of {self.date}, by `dlc lock`.\n"
            f"# inputs: sha256:{self.inputs}\n"
            f"# packages: sha256:{hashlib.sha256(body.encode()).hexdigest()}\n"
            f"# snapshot: {stamp(self.date)}\n{body}"
        )

    @property
    def final(self) -> dict[str, str]:
        """The versions of what the image has in the end, by name."""
        count = Counter(step for each in self.packages for step in each.steps)
        there = ([each for each in found if count[each]] for found in reversed(_IN_ORDER))
        last = max(next(filter(None, there), ["python"]), key=count.__getitem__)
        return {each.name: each.version for each in self.packages if last in each.steps}


def stamp(date: str) -> str:
    """The end of a day, as snapshot services write it.

    >>> stamp("2026-11-28")
    '20261128T235959Z'
    """
    return f"{date.replace('-', '')}T235959Z"


def steps(target: Target) -> dict[str, tuple[str, ...]]:
    """What each step of a target's Dockerfile has asked apt for by then; java is a stage apart."""
    names = {"ca-certificates", *map(str, target.base.pythons.get(target.python, ()))}
    found: dict[str, tuple[str, ...]] = {}
    if target.mode == "inference":
        found["java"] = (str(target.base.jdk),)
    found["python"] = tuple(sorted(names))
    own = [("accelerator", target.accelerator_packages), ("toolchain", target.toolchain_packages)]
    for step, packages in (
        *(reversed(own) if target.compiles_models else own),
        ("compilers", target.compilers),
        ("system", target.system_packages),
    ):
        if packages:
            found[step] = tuple(sorted({*names, *map(str, packages)}))
        if step != "compilers":  # which are gone when the step is over
            names |= {*map(str, packages)}
    return found


def inputs_digest(target: Target) -> str:
    """The SHA-256 of all that a target's packages are resolved from."""
    asked = (f"{step}: {' '.join(packages)}" for step, packages in steps(target).items())
    parts = ["system", target.base.image, str(target.system_date), *asked]
    if target.platform != DEFAULT:
        parts.append(target.platform)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def read(text: str) -> SystemLock | str:
    """A lock, or in a word why a text is none: missing, not a lock, or edited."""
    found = _LOCK.fullmatch(text)
    if found is None:
        return "not a lock" if text else "missing"
    lines = [*_LINE.finditer(found["body"])]
    lock = SystemLock(
        base=found["base"],
        date=found["date"],
        inputs=found["inputs"],
        packages=tuple(
            SystemPackage(
                name=each["name"],
                version=each["version"],
                architecture=each["architecture"],
                archive=each["archive"],
                path=each["path"],
                sha256=each["sha256"],
                steps=tuple(each["steps"].split(",")),
            )
            for each in lines
        ),
    )
    return lock if lock.text() == text else "edited"


def load(folder: Path) -> SystemLock | str:
    """The lock in a target's folder, or in a word why there is none."""
    path = folder / NAME
    return read(path.read_bytes().decode("utf-8", "surrogateescape") if path.is_file() else "")


def stale(folder: Path, target: Target) -> str:
    """In a word why a target's lock is not fresh; empty if it is, or none is wanted."""
    if target.system_date is None:
        return ""
    lock = load(folder)
    if isinstance(lock, str):
        return lock
    return "" if lock.inputs == inputs_digest(target) else "stale"


def changes(before: SystemLock | str, after: SystemLock) -> list[str]:
    """What differs in the packages that the image has in the end, in words."""
    had = before.final if isinstance(before, SystemLock) else {}
    has = after.final
    return [
        f"{name} {had.get(name, 'new')} -> {has.get(name, 'gone')}"
        for name in sorted({*had, *has})
        if had.get(name) != has.get(name)
    ]


def parse_answer(text: str, target: Target) -> SystemLock:
    """The lock of what `resolve_system.sh` printed; LockError if it is anything else."""
    places, step, found = dict[str, str](), "", dict[tuple[str, ...], list[str]]()
    for line in text.splitlines():
        if line.startswith("step "):
            step = line.split()[1]
        elif archive := _ARCHIVE.fullmatch(line):
            # The first is the archive itself, also where its updates have the same address.
            places.setdefault(archive["address"], archive["name"])
        elif package := _package(line, places):
            found.setdefault(package, []).append(step)
        else:
            raise LockError(
                f"{target.name}: apt's answer makes no sense: {line}",
                remedy="see whether the base is one of Debian or Ubuntu",
            )
    packages = sorted(
        SystemPackage(
            name=name,
            version=version,
            architecture=architecture,
            archive=archive,
            path=path,
            sha256=sha256,
            steps=tuple(its),
        )
        for (name, version, architecture, archive, path, sha256), its in found.items()
    )
    missing = _missing(packages, steps(target))
    if missing:
        raise LockError(
            f"{target.name}: apt does not say where {', '.join(missing)} would come from",
            remedy="see whether the archive has them on that date",
        )
    return SystemLock(
        base=target.base.name,
        date=str(target.system_date),
        inputs=inputs_digest(target),
        packages=tuple(packages),
    )


def _package(line: str, places: Mapping[str, str]) -> tuple[str, ...]:
    """What a line tells of a package; nothing if it tells of none."""
    if own := _OWN.fullmatch(line):
        return (own["name"], own["version"], own["architecture"], "base", "-", "-")
    found = _URI.fullmatch(line)
    if found is None:
        return ()
    for address, archive in places.items():
        if found["address"].startswith(f"{address}/"):
            return (
                found["name"],
                found["version"].replace("%3a", ":"),
                found["architecture"],
                archive,
                found["address"].removeprefix(f"{address}/"),
                found["sha256"],
            )
    return ()


def _missing(packages: Iterable[SystemPackage], asked: Mapping[str, Iterable[str]]) -> list[str]:
    there = {(step, each.name) for each in packages for step in each.steps}
    return sorted(
        {
            name
            for step, packages in asked.items()
            for name in (each.partition("=")[0] for each in packages)
            if (step, name) not in there
        }
    )
