"""The Debian 12 inference image cold, beside a Dockerfile with pip and beside the floor.

Cold means without any layer; the caches of packages are warm for all three. They are built in turn,
and the medians compared.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from builder.build.contexts import prepare
from builder.build.plan import inputs
from builder.dockerfile.render import Renderer
from builder.engine import bases
from builder.engine.namespace import labels, local_name
from builder.errors import BuildError
from builder.matrix.select import select_one
from builder.matrix.targets import load_targets
from builder.util.certificates import ca_bundle
from builder.util.console import say
from builder.util.state import state_directory
from tests.own_namespace import Shared

__all__ = ["measure"]

ROOT = Path(__file__).parents[1]
DOCKERFILES = Path(__file__).parent / "dockerfiles"
TARGET = "huggingface-pytorch-inference:2.13.0-transformers5.23.0-cpu-py311-debian12"
ROUNDS = 3
NAMES = {"ours": "dlc build", "pip": "pip and the same locks", "floor": "the floor"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """An engine, and a context with our Dockerfile and the others."""

    shared: Shared
    base: str
    context: Path
    sources: str

    def build(self, name: str) -> float:
        """Build one of the Dockerfiles without any layer; the seconds.

        What was built before is removed first: it would take many times the disk.
        """
        [(label, value)] = labels().items()
        said = f"{label}={value}"
        with closing(self.shared.engine.client(timeout=600)) as client:
            client.images.prune(filters={"dangling": True, "label": said})
        self.shared.trim()
        file = self.context / ("Dockerfile" if name == "ours" else f"{name}.Dockerfile")
        # BuildKit 0.8 empties cache mounts too when it is told to use no cache, so a base that
        # nobody has seen keeps layers out.
        fresh = f"FROM {self.base}\nRUN echo {uuid.uuid4()} > /etc/round\n"
        base = local_name("dlc-bench:base")
        self._run(["--tag", base, "-"], fresh)
        command = ["--tag", local_name(f"dlc-bench:{name}"), "--file", str(file)]
        for argument in (f"BASE={base}", f"TOOLS_BASE={base}", self.sources):
            command += ["--build-arg", argument]
        if bundle := ca_bundle():
            command += ["--secret", f"id=ca-bundle,src={bundle}"]
        begin = time.perf_counter()
        self._run([*command, str(self.context)])
        return time.perf_counter() - begin

    def _run(self, arguments: Sequence[str], dockerfile: str | None = None) -> None:
        """Run one build; BuildError, with its last words, if it fails."""
        said = [f"--label={name}={value}" for name, value in labels().items()]
        result = subprocess.run(
            [
                *self.shared.engine.buildx,
                "build",
                "--progress",
                "plain",
                "--load",
                *said,
                *arguments,
            ],
            env=self.shared.engine.environment(),
            input=dockerfile,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise BuildError(f"{' '.join(arguments)} does not build:\n{result.stderr[-2000:]}")


def measure(shared: Shared) -> None:
    """Build all three in turn, and print medians and ratios."""
    bench = _bench(shared)
    say("filling the caches of packages")
    for name in ("wheels", *NAMES):
        bench.build(name)
    rounds: dict[str, list[float]] = {name: [] for name in NAMES}
    for number in range(ROUNDS):
        for name, seconds in rounds.items():
            seconds.append(bench.build(name))
            say(f"round {number + 1} of {ROUNDS}: {NAMES[name]} {seconds[-1]:.1f} s")
    medians = {name: statistics.median(seconds) for name, seconds in rounds.items()}
    with closing(shared.engine.client(timeout=300)) as client:
        images = {name: client.images.get(local_name(f"dlc-bench:{name}")) for name in NAMES}
        sizes = {name: image.attrs["Size"] for name, image in images.items()}
    for name, title in NAMES.items():
        ratio = medians["ours"] / medians[name]
        print(
            f"{title:24} {medians[name]:6.1f} s  {sizes[name] / 1e9:.2f} GB  ours / it {ratio:.2f}"
        )


def _bench(shared: Shared) -> Bench:
    engine = shared.engine
    target = select_one(load_targets(ROOT / "matrix.yaml"), TARGET)
    made_of = inputs(target, ROOT / "images", Renderer())
    context = prepare(made_of, state_directory() / "contexts", ROOT / "images").folder
    for file in DOCKERFILES.glob("*.Dockerfile"):
        shutil.copyfile(file, context / file.name)
    base = target.base
    source = bases.BaseSource(name=base.name, image=base.image, bootstrap=base.bootstrap)
    reference = bases.ensure(engine, source, say=say).reference
    here = {
        name: f"file:///mnt/wheelhouse/{name}"
        if (context / "wheelhouse" / name).is_dir()
        else target.sources[name]
        for name in {wheel.source for wheel in target.build.wheels}
    }
    sources = " ".join(f"{name}={address}" for name, address in here.items())
    return Bench(shared=shared, base=reference, context=context, sources=f"SOURCES={sources}")
