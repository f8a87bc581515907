"""The distribution's packages of targets, locked: asked of apt in the base of their images.

BuildKit runs it, as it runs the steps that install: so mirrors, proxies and certificates are those
of a build.
"""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from builder.build.builder import environment
from builder.dockerfile.render import Renderer
from builder.engine import bases
from builder.engine.build_secrets import build_secrets
from builder.engine.connection import Engine
from builder.engine.failures import engine_errors
from builder.engine.private import up
from builder.errors import BaseImageError, LockError
from builder.locks import system
from builder.locks.system import SystemLock
from builder.matrix.mirrors import Mirrors
from builder.matrix.parts import Base
from builder.matrix.target import Target
from builder.util import atomic
from builder.util.memory import memory_files
from builder.util.package import PACKAGE
from builder.util.scratch import scratch

__all__ = ["SystemResolver", "file_of"]

_PROGRAM = "resolve_system.sh"
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "ftp_proxy", "all_proxy")
_COMPLAINT = re.compile(r"^#\d+ [\d.]+ ([EW]: .*)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class SystemResolver:
    """Locks the distribution's packages; what is resolved from the same is resolved once."""

    mirrors: Mirrors
    today: datetime.date
    say: Callable[[str], None]
    renderer: Renderer = field(default_factory=Renderer)
    _done: dict[str, SystemLock] = field(default_factory=dict)

    def know(self, images: Path, targets: Iterable[Target]) -> None:
        """Take the fresh locks of targets as they are, so that whoever shares them goes on to."""
        for target in targets:
            if target.system_date and not system.stale(images / target.folder, target):
                lock = system.load(images / target.folder)
                assert isinstance(lock, SystemLock)  # noqa: S101 - it is fresh
                self._done.setdefault(lock.inputs, lock)

    def lock(self, target: Target) -> SystemLock:
        """The lock of a target that has a date; LockError, with apt's reason, if it has none."""
        key = system.inputs_digest(target)
        if key not in self._done:
            self._done[key] = self._resolved(target)
        return self._done[key]

    def _resolved(self, target: Target) -> SystemLock:
        date = target.system_date
        assert date  # noqa: S101 - only targets that have one are locked
        if date > self.today:
            raise LockError(
                f"{target.name}: {date} is still to come, and nobody knows the packages of then",
                remedy=f"change the date at {date.at.exact}",
            )
        own = self.mirrors.archive(target.base.name)
        if date < self.today and not (own and own.snapshot):
            raise LockError(
                f"{target.name}: {date} is past, and no snapshot service is named for "
                f"{target.base.name}",
                remedy="name its address as `snapshot` in mirrors.yaml (docs/system.md), or move "
                "the date to today with `dlc lock --system`",
            )
        self.say(f"{target.base.name}: asking apt for the packages of {date}")
        arguments = {
            "AGAIN": uuid.uuid4().hex,
            "STAMP": system.stamp(str(date)) if date < self.today else "",
            "STEPS": "\n".join(
                f"{step} {' '.join(packages)}" for step, packages in system.steps(target).items()
            ),
        }
        engine = up(say=self.say)
        arguments["BASE"] = self._base(engine, target.base, target)
        if target.accelerator_packages:  # whose repository's key is read there
            arguments["TOOLS_BASE"] = self._base(engine, target.tools_base, target)
        return system.parse_answer(self._ask(engine, arguments, target), target)

    def _base(self, engine: Engine, base: Base, target: Target) -> str:
        source = bases.BaseSource(
            name=base.name,
            image=self.mirrors.image(base.image),
            bootstrap=base.bootstrap,
            platform=target.platform,
        )
        with engine_errors(f"no base {source.name}", kind=BaseImageError):
            return bases.ensure(engine, source, say=self.say).reference

    def _ask(self, engine: Engine, arguments: Mapping[str, str], target: Target) -> str:
        with memory_files() as files, scratch("system") as folder:
            secrets = build_secrets(self.mirrors, files)
            context, result = folder / "context", folder / "result"
            program = (PACKAGE / "files" / _PROGRAM).read_text("utf-8")
            atomic.write(context / "Dockerfile", self.renderer.resolver(target), folders=True)
            atomic.write(context / _PROGRAM, program)
            names = [name for name in (*_PROXIES, *map(str.upper, _PROXIES)) if name in os.environ]
            done = subprocess.run(
                [
                    *(*engine.buildx, "build", "--progress", "plain"),
                    *("--platform", target.platform),
                    *("--output", f"type=local,dest={result}"),
                    *(f"--secret=id={name},src={path}" for name, path in sorted(secrets.items())),
                    *(f"--build-arg={name}={value}" for name, value in arguments.items()),
                    *(f"--build-arg={name}" for name in names),  # with what is in the environment
                    str(context),
                ],
                env=environment(engine, ""),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                pass_fds=tuple(files.descriptors),
            )
            if done.returncode == 0:
                return (result / "packages").read_text("utf-8")
        complaints = _COMPLAINT.findall(done.stderr) or done.stderr.strip().splitlines()[-3:]
        raise LockError(
            f"{target.name}: apt cannot tell the packages of {target.system_date}:\n"
            + "\n".join(dict.fromkeys(complaints))
            + "\n ",
            remedy="connect to the archive and its snapshot service, or move the date to today "
            "with `dlc lock --system`",
        )


def file_of(images: Path, target: Target, lock: SystemLock) -> atomic.File:
    """A lock as its file in a target's folder."""
    return atomic.File(path=images / target.folder / system.NAME, content=lock.text().encode())
