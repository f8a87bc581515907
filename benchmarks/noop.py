"""`dlc build` where all is up to date, beside `docker buildx bake` of the same, all cached.

The images are tiny ones under the targets' names, with the labels that the real ones would have.
Bake's Dockerfiles are of two lines, so it has less to look at than with the real ones.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.commands import DLC, ROOT
from builder.build import identity, size_budget
from builder.build.bakefile import Job, definition, target_id
from builder.build.plan import Inputs, inputs
from builder.dockerfile.render import Renderer
from builder.engine.connection import Engine
from builder.engine.images import images_of
from builder.engine.namespace import labels, local_name
from builder.errors import BuildError, LockError
from builder.matrix.targets import load_targets
from tests.own_namespace import Shared

__all__ = ["measure"]

ROUNDS = 7


def measure(shared: Shared) -> None:
    """Run both in turn, and print medians and their ratio."""
    engine = shared.engine
    found, refused = _inputs()
    ours = [each.target.name for each in found]
    reports: list[Path] = []
    with tempfile.TemporaryDirectory(prefix="dlc-noop-") as folder:
        file = _bake_file(Path(folder), found)
        try:
            _run([*engine.buildx, "bake", "--file", str(file)], engine)
            reports = _remember(engine, found)
            # Once unmeasured, which also tells an image that is not up to date after all.
            told = _run([DLC, "build", *ours], engine)
            if told.count("up to date") != len(ours):
                raise BuildError("not everything is up to date", remedy=told)
            rounds = [
                (
                    *_seconds([DLC, "build", *ours], engine),
                    _seconds([*engine.buildx, "bake", "--file", str(file)], engine)[0],
                )
                for _ in range(ROUNDS)
            ]
        finally:
            for report in reports:
                report.unlink(missing_ok=True)
    mine, cpu, other = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(
        f"no-op of {len(ours)} targets, all tiny images "
        f"(skipped: {len(refused)} of the matrix whose locks lack a hash)"
    )
    print(
        f"dlc build {mine:.2f} s (CPU {cpu:.2f} s)   docker buildx bake of as many tiny cached "
        f"targets {other:.2f} s   ratio {mine / other:.2f}"
    )


def _inputs() -> tuple[list[Inputs], list[str]]:
    """What can be built, and the names of what cannot."""
    renderer, found, refused = Renderer(), [], []
    for target in load_targets(ROOT / "matrix.yaml"):
        try:
            found.append(inputs(target, ROOT / "images", renderer))
        except LockError:
            refused.append(target.name)
    return found, refused


def _bake_file(folder: Path, found: Sequence[Inputs]) -> Path:
    """Write tiny contexts and the bake file of them."""
    jobs, tags = [], {}
    for each in found:
        context = folder / each.target.folder
        context.mkdir(parents=True)
        (context / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n", "utf-8")
        said = {**each.labels(), **labels()}
        jobs.append(Job(target=each.target, context=context, arguments={}, labels=said))
        tags[target_id(each.target)] = local_name(each.target.name)
    file = definition(jobs, {})
    for name, target in file["target"].items():
        target["tags"] = [tags[name]]
        target["args"] = {}
    file["group"] = {"default": {"targets": list(file["target"])}}
    path = folder / "bake.json"
    path.write_text(json.dumps(file), "utf-8")
    return path


def _remember(engine: Engine, made: Sequence[Inputs]) -> list[Path]:
    """Say that tiny images are the targets' and fit their budgets; they do not look like it."""
    there, reports = images_of(engine), []
    for each in made:
        image = there[each.target.name]
        full = {"packages": {}, "system": {}, "java": image.size, "rest": {}}
        size_budget.remember(image.id, json.dumps(full))
        identity.remember(image.id, each.key)
        reports += [size_budget.report_of(image.id), identity.record_of(image.id)]
    return reports


def _seconds(command: Sequence[str], engine: Engine) -> tuple[float, float]:
    """The seconds of a command, and those of the processors in it: the engine's are not its own."""
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    _run(command, engine)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begin, cpu


def _run(command: Sequence[str], engine: Engine) -> str:
    """What a command prints; BuildError, with its last words, if it fails."""
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=engine.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise BuildError(f"{' '.join(command[:3])} fails:\n{result.stderr[-2000:]}")
    return result.stdout
