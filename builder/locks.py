"""Locks: every requirement of a layer with its SHA-256, resolved as of a date, by uv.

The framework layer is resolved as of the framework version's own date, so that all releases on it
share one layer; the libraries layer as of the release's date, on top of the framework's versions.
Each lock carries the digest of what it was resolved from, so a stale one is told from a fresh one
without the network.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder import wheelhouse
from builder.errors import LockError
from builder.target import Target

__all__ = ["Lock", "Resolver", "inputs_digest", "is_fresh", "parse", "write"]

# Wheels that glibc 2.28 and older distributions can load; Ubuntu 18.04 has 2.27, and no wheel of
# its time asks for more.
_PLATFORM = "x86_64-manylinux_2_28"
# The last patch release of each Python, so that `Requires-Python: >=3.6.2` is met.
_LAST_PATCH = {"3.6": "3.6.15", "3.7": "3.7.17", "3.8": "3.8.20", "3.9": "3.9.25"}
_REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[.*?\])?\s*(?:==|@)")
_HEADER = re.compile(
    r"#.*\n# inputs: sha256:(?P<inputs>[0-9a-f]{64})\n"
    r"# requirements: sha256:(?P<requirements>[0-9a-f]{64})\n(?P<body>.*)",
    re.DOTALL,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """One layer's lock: requirement lines by normalised name, each with its hashes."""

    layer: str
    python: str
    date: str
    inputs: str
    entries: Mapping[str, str]

    def text(self) -> str:
        """The lock as a requirements file that pip and uv read."""
        body = "".join(self.entries.values())
        return (
            f"# The {self.layer} layer for Python {self.python} as of {self.date}, by `dlc lock`.\n"
            f"# inputs: sha256:{self.inputs}\n"
            f"# requirements: sha256:{_sha256(body)}\n" + body
        )

    def pins(self) -> list[str]:
        """`name==version` of every requirement that is not a direct wheel."""
        lines = (entry.splitlines()[0] for entry in self.entries.values())
        return [line.split(" \\")[0].strip() for line in lines if " @ " not in line]


def inputs_digest(layer: str, target: Target, below: str = "") -> str:
    """The SHA-256 of all that a layer is resolved from; `below` is the lock under it."""
    python = f"{_LAST_PATCH.get(target.python, target.python)} {_PLATFORM}"
    if layer == "framework":
        parts = [
            python,
            target.locked.isoformat(),
            *target.framework_requirements,
            *(f"constraint {text}" for text in target.constraints),
            *(f"{wheel.url} {wheel.sha256}" for wheel in target.build.wheels),
            target.build.index.value if target.build.index else "",
        ]
    elif layer == "libraries":
        parts = [python, target.date.isoformat(), *target.library_requirements, below]
    else:
        parts = [target.uv]
    return _sha256("\n".join([layer, *parts]))


def is_fresh(folder: Path, target: Target) -> bool:
    """Whether a folder holds all locks of a target as they were resolved from what it says now."""
    framework = _read(folder / "framework.lock")
    return all(
        (found := _HEADER.fullmatch(_read(folder / f"{layer}.lock"))) is not None
        and found["inputs"] == inputs_digest(layer, target, framework)
        and found["requirements"] == _sha256(found["body"])
        for layer in ("framework", "libraries", "tools")
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> str:
    return path.read_text("utf-8") if path.is_file() else ""


def write(folder: Path, locks: Sequence[Lock]) -> None:
    """Write locks into a target's folder; each file is replaced whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for lock in locks:
        path = folder / f"{lock.layer}.lock"
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_text(lock.text(), "utf-8")
        temporary.replace(path)


def parse(text: str) -> dict[str, str]:
    """The requirements of a lock by normalised name: each its lines, hashes included.

    >>> list(parse("Foo.bar==1 --hash=sha256:00\\nbaz==2 --hash=sha256:11\\n"))
    ['foo-bar', 'baz']
    """
    entries: dict[str, str] = {}
    name = ""
    for line in text.splitlines(keepends=True):
        if line.startswith("#") or not line.strip():
            continue
        match = _REQUIREMENT.match(line)
        if match:
            name = _normalise(match["name"])
            entries[name] = line
        elif name:
            entries[name] += line
    return entries


class Resolver:
    """Resolves layers with uv; equal layers of one call are resolved once."""

    def __init__(self) -> None:
        self._folders = wheelhouse.directories()
        self._done: dict[str, Lock | LockError] = {}

    def lock(self, target: Target) -> tuple[Lock, ...]:
        """The three locks of a target; LockError, with uv's reason, if one cannot be resolved."""
        framework = self._framework(target)
        return framework, self._libraries(target, framework), self._tools(target)

    def _framework(self, target: Target) -> Lock:
        date = target.locked.isoformat()
        return self._once(
            "framework", target, date, self._framework_lines(target), target.constraints, {}
        )

    def _libraries(self, target: Target, framework: Lock) -> Lock:
        # The framework's wheels take part, so that nothing pulls another build of them in.
        lines = [*self._framework_lines(target), *target.library_requirements]
        return self._once(
            "libraries",
            target,
            target.date.isoformat(),
            lines,
            framework.pins(),
            framework.entries,
            below=framework.text(),
        )

    def _tools(self, target: Target) -> Lock:
        return self._once("tools", target, "", [f"uv=={target.uv}"], (), {})

    def _framework_lines(self, target: Target) -> list[str]:
        lines = list(target.framework_requirements)
        for wheel in target.build.wheels:
            path = wheelhouse.find(wheel, self._folders)
            name = wheel.filename.split("-")[0].replace("_", "-")
            address = path.resolve().as_uri() if path else _address(wheel.url, target.sources)
            lines.append(f"{name} @ {address}")
        return lines

    def _once(
        self,
        layer: str,
        target: Target,
        date: str,
        lines: Sequence[str],
        constraints: Sequence[str],
        leave_out: Mapping[str, str],
        below: str = "",
    ) -> Lock:
        digest = inputs_digest(layer, target, below)
        if digest not in self._done:
            python = target.python if layer != "tools" else ""
            index = target.build.index
            try:
                text = _compile(
                    lines,
                    constraints,
                    python=python,
                    date=date,
                    index=target.sources[index.value] if index and python else "",
                    name=target.name,
                )
                entries = {
                    name: _direct(name, entry, target)
                    for name, entry in sorted(parse(text).items())
                    if name not in leave_out
                }
            except LockError as error:
                self._done[digest] = error
            else:
                self._done[digest] = Lock(
                    layer=layer,
                    python=python or "3",
                    date=date or "any day",
                    inputs=digest,
                    entries=entries,
                )
        found = self._done[digest]
        if isinstance(found, LockError):
            raise found
        return found


def _direct(name: str, entry: str, target: Target) -> str:
    """A lock's entry; for a direct wheel, the matrix's address and hash instead of uv's."""
    for wheel in target.build.wheels:
        if _normalise(wheel.filename.split("-")[0]) != name:
            continue
        if wheel.sha256 is None:
            raise LockError(
                f"no SHA-256 is known of {wheel.filename}", remedy=f"add `sha256:` at {wheel.at}"
            )
        found = re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)
        if found and found != [wheel.sha256]:
            raise LockError(
                f"{wheel.filename} has SHA-256 {found[0]}, but {wheel.at} says {wheel.sha256}",
                remedy="the file changed at its source: find out why before you correct the matrix",
            )
        return f"{name} @ {wheel.url} \\\n    --hash=sha256:{wheel.sha256}\n"
    if "--hash=" not in entry:
        raise LockError(
            f"no SHA-256 is known of {entry.split(maxsplit=1)[0]} ({target.name})",
            remedy="its index gives none: name the wheel in the matrix, with its hash",
        )
    return entry


def _compile(
    lines: Sequence[str],
    constraints: Sequence[str],
    *,
    python: str,
    date: str,
    index: str,
    name: str,
) -> str:
    import uv  # finds uv's binary, which only locking needs

    with tempfile.TemporaryDirectory(prefix="dlc-lock-") as folder:
        wanted, bounds = Path(folder, "wanted.in"), Path(folder, "bounds.txt")
        wanted.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        bounds.write_text("".join(f"{line}\n" for line in constraints), "utf-8")
        command = [
            uv.find_uv_bin(),
            *("pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate"),
            *("--no-progress", "--color", "never", "--no-config"),
            # Else uv looks for the target's own Python, and downloads it, to build what is only
            # there as source.
            *("--python", sys.executable),
            *("--constraints", str(bounds), str(wanted)),
        ]
        if python:
            version = _LAST_PATCH.get(python, python)
            command += ["--python-version", version, "--python-platform", _PLATFORM]
        if index:
            command += ["--index", index]
        if date:
            command += ["--exclude-newer", f"{date}T23:59:59Z"]
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, env=_environment()
        )
    if result.returncode != 0:
        raise LockError(
            f"{name} cannot be locked:\n{result.stderr.strip()}\n ",
            remedy=(
                "connect to that host, or put its wheels into a wheelhouse (DLC_WHEELHOUSE)"
                if "ailed to fetch" in result.stderr or "ailed to download" in result.stderr
                else "change the requirements or the date in the matrix"
            ),
        )
    return result.stdout


def _environment() -> dict[str, str]:
    """The caller's environment; the certificates that pip was told of are uv's too."""
    environment = dict(os.environ)
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if name in environment:
            environment.setdefault("SSL_CERT_FILE", environment[name])
    return environment


def _address(url: str, sources: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda match: sources[match[1]], url)


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
