"""Asks uv for requirements within constraints, for a Python, as of a date."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from builder.errors import LockError
from builder.locks import LAST_PATCH, PLATFORM, normalise, parse
from builder.matrix import Upgrade

__all__ = ["Question", "UnreachableError", "compile_requirements", "requirement_name"]

# What uv says of the network; the last if it was told to be offline.
_UNREACHABLE = ("ailed to fetch", "ailed to download", "the network was disabled")
_YANKED = re.compile(r"^warning: `(?P<package>[^`=]+)==(?P<version>[^`]+)` is yanked", re.MULTILINE)


class UnreachableError(LockError):
    """An index or a wheel's source does not answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What uv is asked: requirements within constraints, for a Python, as of a date.

    `excluded` packages are left out of the answer whoever needs them; `lifted` are upgrades that
    are allowed to be newer than the date. An empty date is today, an empty Python any.
    With `wheels`, sources are no answer; with `why`, an entry says who needs it.
    `preferences` are entries of a lock: of a version that will do, the entry stays as it is.
    """

    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    python: str = ""
    date: str = ""
    index: str = ""
    alone: bool = False
    lifted: tuple[Upgrade, ...] = ()
    wheels: bool = False
    why: bool = False
    preferences: tuple[str, ...] = ()


def compile_requirements(
    question: Question, name: str, yanked: Callable[[str, str], None] = lambda *_: None
) -> dict[str, str]:
    """Ask uv; requirement lines by name, sorted.

    LockError with uv's reason, UnreachableError if that is the network; `name` is who asks.
    `yanked` is called with the package and the version of each entry that was yanked since.
    """
    import uv  # finds uv's binary, which only locking needs

    with tempfile.TemporaryDirectory(prefix="dlc-lock-") as folder:
        files = {
            "wanted": question.requirements,
            "constraints": (*question.constraints, *(u.requirement for u in question.lifted)),
            "excludes": question.excluded,
        }
        for title, lines in files.items():
            Path(folder, title).write_text("".join(f"{line}\n" for line in lines), "utf-8")
        command = [
            uv.find_uv_bin(),
            *("pip", "compile", "--generate-hashes", "--no-header"),
            *(("--annotation-style", "split") if question.why else ("--no-annotate",)),
            *("--no-progress", "--color", "never", "--no-config"),
            # Else uv looks for the target's own Python, and downloads it, to build what is only
            # there as source.
            *("--python", sys.executable),
            *("--constraints", f"{folder}/constraints", "--excludes", f"{folder}/excludes"),
            f"{folder}/wanted",
        ]
        if question.python:
            version = LAST_PATCH.get(question.python, question.python)
            command += ["--python-version", version, "--python-platform", PLATFORM]
        if question.index:
            command += ["--default-index", question.index]
        if question.alone:
            command += ["--no-deps"]
        if question.wheels:
            command += ["--only-binary", ":all:"]
        if question.date:
            command += ["--exclude-newer", f"{question.date}T23:59:59Z"]
        if question.preferences:
            # uv takes what its output file has as the first choice, hashes and yanked ones too.
            Path(folder, "locked").write_text("".join(question.preferences), "utf-8")
            command += ["--output-file", f"{folder}/locked"]
        for upgrade in question.lifted:
            until = f"{upgrade.package}={upgrade.date}T23:59:59Z"
            command += ["--exclude-newer-package", until]
        # Builds of source distributions leave lock files behind, where they are told to be.
        environment = {**_environment(), "TMPDIR": folder}
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment
        )
    if result.returncode == 0:
        for found in _YANKED.finditer(result.stderr):
            yanked(normalise(found["package"]), found["version"])
        return dict(sorted(parse(result.stdout).items()))
    message = f"{name} cannot be locked:\n{result.stderr.strip()}\n "
    if any(sign in result.stderr for sign in _UNREACHABLE):
        raise UnreachableError(
            message, remedy="connect to that host, or put its wheels into a wheelhouse"
        )
    raise LockError(message, remedy="change the requirements or the date in the matrix")


def requirement_name(text: str) -> str:
    """The normalised name of a requirement."""
    from packaging.requirements import Requirement

    return normalise(Requirement(text).name)


def _environment() -> dict[str, str]:
    """The caller's environment; the certificates that pip was told of are uv's too."""
    environment = dict(os.environ)
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if name in environment:
            environment.setdefault("SSL_CERT_FILE", environment[name])
    return environment
