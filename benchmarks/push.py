"""`dlc push` beside the engine's own push and skopeo's of the same image, and resumed half way.

Each push is to a registry of its own on loopback, with nothing in it, and ours has compressed
nothing before. What takes the time is a framework of so many bytes, shared libraries of this
machine.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from builder.engine import apt
from builder.engine.namespace import local_name
from builder.errors import BuildError, PushError
from builder.matrix.targets import load_targets
from builder.util.console import say
from tests.images.mirror_server import gateway
from tests.images.registries import Registry, running
from tests.images.small_matrix import FRAMEWORK, files, write_small_matrix
from tests.own_namespace import Shared
from tests.package_index import IndexFile, PackageIndex, wheel

__all__ = ["measure"]

ROUNDS = 3
FRAMEWORK_BYTES = 500 * 10**6
LIBRARIES = ("/usr/lib/x86_64-linux-gnu", sys.base_prefix)
HALF_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """An engine with an image, and how the command is run that pushes it."""

    shared: Shared
    folder: Path
    matrix: Path
    name: str
    environment: dict[str, str]

    def dlc(self, *arguments: str, state: Path) -> subprocess.Popen[bytes]:
        """Start the command, with what it keeps in a folder."""
        return subprocess.Popen(
            [sys.executable, "-m", "builder", "--matrix", str(self.matrix), *arguments],
            env={
                **self.shared.engine.environment(),
                **self.environment,
                "DLC_STATE": str(state),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def ours(self, registry: Registry, state: Path, profile: str = "sagemaker") -> float:
        """The seconds of `dlc push`."""
        begin = time.perf_counter()
        _end(self._push(registry, state, profile))
        return time.perf_counter() - begin

    def _push(self, registry: Registry, state: Path, profile: str) -> subprocess.Popen[bytes]:
        where = ("--registry", f"{registry.host}/team", "--releases", str(state / "releases"))
        return self.dlc("push", self.name, *where, "--profile", profile, state=state)

    def engine(self, registry: Registry) -> float:
        """The seconds of the engine's push, which is what `docker push` has it do."""
        repository, tag = f"{registry.host}/team", "bench"
        with closing(self.shared.engine.client(timeout=600)) as client:
            client.images.get(local_name(self.name)).tag(repository, tag)
            try:
                begin = time.perf_counter()
                for told in client.api.push(repository, tag, stream=True, decode=True):
                    if "error" in told:
                        raise PushError(f"the engine's push: {told['error']}")
                return time.perf_counter() - begin
            finally:
                client.images.remove(f"{repository}:{tag}", noprune=True)

    def skopeo(self, registry: Registry) -> float:
        """The seconds of skopeo, which has the engine save the image first."""
        host = self.shared.engine.host
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
        command += ["--src-daemon-host", host, f"docker-daemon:{local_name(self.name)}"]
        command += [f"docker://{registry.host}/team:bench"]
        # Its place for blobs is a folder of its own, which goes with it.
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            begin = time.perf_counter()
            _end(
                subprocess.Popen(
                    command,
                    env={**os.environ, "TMPDIR": place, "XDG_DATA_HOME": place},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                )
            )
            return time.perf_counter() - begin

    def resumed(self, registry: Registry, state: Path, whole: int) -> float:
        """The seconds of `dlc push` after another one was killed with half of the bytes sent."""
        deadline = time.monotonic() + HALF_SECONDS
        with self._push(registry, state, "sagemaker") as process:
            while _stored(registry) < whole / 2:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise PushError("the push was not killed half way: it ended, or never began")
                time.sleep(0.02)
            process.kill()
        return self.ours(registry, state)


def measure(shared: Shared) -> None:
    """Push in turn, and print medians and ratios."""
    program = shutil.which("docker-registry")
    if program is None:
        raise BuildError("there is no docker-registry here", remedy="install it")
    with (
        tempfile.TemporaryDirectory(prefix="dlc-bench-push-") as name,
        _bench(shared, Path(name)) as bench,
    ):
        rounds: dict[str, list[float]] = {}
        sizes = {"docker push": 0, "dlc push": 0}
        sides = ["docker push", "dlc push", "dlc push, oci", "dlc push, resumed"]
        sides += ["skopeo copy"] if _has_skopeo() else []
        for number in range(ROUNDS):
            for what in sides:
                with _fresh(program, Path(name)) as (registry, state):
                    seconds = {
                        "docker push": lambda: bench.engine(registry),
                        "skopeo copy": lambda: bench.skopeo(registry),
                        "dlc push": lambda: bench.ours(registry, state),
                        "dlc push, oci": lambda: bench.ours(registry, state, "oci"),
                        "dlc push, resumed": lambda: bench.resumed(
                            registry, state, sizes["dlc push"]
                        ),
                    }[what]()
                    sizes[what] = _stored(registry)
                rounds.setdefault(what, []).append(seconds)
                say(f"round {number + 1} of {ROUNDS}: {what} {seconds:.1f} s")
        medians = {what: statistics.median(each) for what, each in rounds.items()}
        for what, median in medians.items():
            ratios = (
                f"it / {other} {median / medians[other]:.2f}"
                for other in ("docker push", "skopeo copy")
                if other in medians
            )
            sent = f"{sizes[what] / 1e6:.0f} MB sent"
            print(f"{what:18} {median:6.1f} s  {sent}  {'  '.join(ratios)}")


def _has_skopeo() -> bool:
    """Whether there is a skopeo, installed if that can be done here."""
    if shutil.which("skopeo") is None:
        try:
            apt.install("skopeo", say=say)
        except apt.InstallError as error:
            say(f"without skopeo: {error}")
            return False
    return True


@contextmanager
def _bench(shared: Shared, folder: Path) -> Iterator[Bench]:
    """An image of a small matrix, built, whose framework is large."""
    with closing(shared.engine.client(timeout=600)) as client:
        host = gateway(client)
    (folder / "matrix").mkdir()
    with PackageIndex(*_files(), host=host) as index:
        matrix = write_small_matrix(folder / "matrix", index.url)
        target = load_targets(matrix)[0]
        bench = Bench(
            shared=shared,
            folder=folder,
            matrix=matrix,
            name=target.name,
            environment={**index.environment, "DLC_NAMESPACE": os.environ["DLC_NAMESPACE"]},
        )
        say(f"building an image with {FRAMEWORK_BYTES / 1e6:.0f} MB of libraries")
        for words in (("lock", target.name), ("build", target.name)):
            _end(bench.dlc(*words, state=folder / "state"))
        yield bench


def _files() -> Iterator[IndexFile]:
    """The index of the small matrix, with another framework."""
    for each in files():
        if each.package != FRAMEWORK:
            yield each
            continue
        content = {f"tiny_framework/{number}.so": data for number, data in enumerate(_libraries())}
        yield replace(each, **vars(wheel(FRAMEWORK, "1.0", files=content)))


def _libraries() -> Iterator[bytes]:
    """Shared libraries of this machine, in the order of their names, up to so many bytes."""
    left = FRAMEWORK_BYTES
    for root in LIBRARIES:
        for path in sorted(Path(root).rglob("*.so*")):
            if path.is_file() and not path.is_symlink():
                data = path.read_bytes()[:left]
                left -= len(data)
                yield data
                if not left:
                    return
    yield os.urandom(left)


@contextmanager
def _fresh(program: str, folder: Path) -> Iterator[tuple[Registry, Path]]:
    """A registry with nothing in it, and a state with the build's inventory that knows no layer."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        (place / "state").mkdir()
        (place / "state" / "inventories").symlink_to(folder / "state" / "inventories")
        with running(Registry(program=program, folder=place)) as registry:
            yield registry, place / "state"


def _stored(registry: Registry) -> int:
    """The bytes that a registry has on its disk, of blobs and of uploads under way."""
    total = 0
    for path in (registry.folder / "data").rglob("data"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # an upload has ended meanwhile
            continue
    return total


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a command; BuildError with its last words if it failed."""
    _, told = process.communicate()
    if process.returncode:
        raise BuildError(f"it ended with {process.returncode}: {told.decode()[-1000:]}")
