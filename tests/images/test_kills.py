"""What a kill leaves: no wrong tag, no secret, and nothing that the next run does not put right.

The moments are random, but the same in every run; DLC_TEST_KILLS says how many there are.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import docker
import docker.errors
import pytest

from builder.engine.bases import BaseSource
from builder.engine.image import KEY_LABEL
from builder.engine.namespace import NAMESPACE_LABEL, labels, local_name
from builder.engine.orphans import OWNER_LABEL
from builder.errors import BuildError, EngineError
from builder.matrix.targets import load_targets
from builder.registry.client import RegistryClient
from builder.util.owner import owner
from builder.util.state import state_directory
from tests.engines.forwarder import forwarding
from tests.images.conftest import INFERENCE, OWN, ROOT
from tests.images.mirror_server import gateway
from tests.images.own_engine import OwnEngine, own_engine
from tests.images.pushing import Workshop, wait_for
from tests.images.registries import Registry, held, noise, running
from tests.images.small_matrix import SMALL_NAMES, SmallMatrix, files, write_small_matrix
from tests.package_index import PackageIndex

pytestmark = [pytest.mark.images, pytest.mark.slow, pytest.mark.timeout(7200)]

KILLS = int(os.environ.get("DLC_TEST_KILLS", "50"))
NAME = SMALL_NAMES[0]
# How long a command may take that lost its engine or its buildx.
PATIENCE = 120
# It ended before, the build failed, or there was no engine to ask.
CODES = (0, BuildError.exit_code, EngineError.exit_code)
SECRET = "hush-hush-hush"  # noqa: S105


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The folder for temporary files of all that a test starts."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def killed(command: list[str], environment: dict[str, str], after: float) -> bool:
    """Start a command and kill it after so many seconds; whether it had not ended before."""
    with subprocess.Popen(
        command,
        cwd="/",
        env={**os.environ, **OWN, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.kill()
            return True
    return False


def on_disk(folder: Path) -> str:
    """All that files below a folder hold, as far as they stay there."""
    found = []
    for path in folder.rglob("*"):
        try:
            found.append(path.read_text("utf-8", "replace") if path.is_file() else "")
        except FileNotFoundError:
            continue
    return "".join(found)


def left(client: docker.DockerClient, namespace: str, named: set[str]) -> list[str]:
    """Containers of the test, and its images without a name but those that had one.

    A build that gives its name to another image leaves the former one, as Docker does.
    """
    filters = {"label": f"{NAMESPACE_LABEL}={namespace}"}
    images = client.api.images(filters={**filters, "dangling": True})
    found = [each["Id"] for each in images if each["Id"] not in named]
    named.add(str(client.images.get(local_name(NAME)).id))
    return found + [each["Id"] for each in client.api.containers(all=True, filters=filters)]


@dataclass
class Site:
    """The small matrix of which each round builds another image, and a secret that builds get."""

    matrix: Path
    secret: Path
    text: str = ""

    def __post_init__(self) -> None:
        self.secret.write_text(f"machine host.example login me password {SECRET}\n", "utf-8")
        with self.matrix.with_name("mirrors.yaml").open("a", encoding="utf-8") as file:
            file.write(f"netrc: {self.secret}\n")
        self.text = self.matrix.read_text("utf-8")

    @property
    def build(self) -> list[str]:
        """What is said to dlc."""
        return ["--matrix", str(self.matrix), "build", NAME]

    def change(self, number: int) -> None:
        """Have the next image be another one."""
        entry = "small: {requires:"
        changed = f"small: {{env: {{ROUND: '{number}'}}, requires:"
        self.matrix.write_text(self.text.replace(entry, changed, 1), "utf-8")


def key_of(client: docker.DockerClient) -> str:
    """The build key of what has the target's name; empty where nothing has."""
    try:
        return str(client.images.get(local_name(NAME)).labels[KEY_LABEL])
    except docker.errors.ImageNotFound:
        return ""


def check_image(client: docker.DockerClient, number: int) -> None:
    """The image is that of a round, and whole: its program finds its packages."""
    name = local_name(NAME)
    assert f"ROUND={number}" in client.images.get(name).attrs["Config"]["Env"]
    # Imported they would end, as they hold but what tells this session's from others.
    code = (
        "from importlib.util import *; print(*map(find_spec, ('tiny_framework', 'tiny_library')))"
    )
    command = ["python", "-c", code]
    out = client.containers.run(name, command, entrypoint="", remove=True, labels=labels())
    assert b"None" not in out


def child(pid: int, word: str) -> int | None:
    """A process below another that has a word in its command line."""
    try:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for each in map(int, children.read_text("ascii").split()):
                words = Path(f"/proc/{each}/cmdline").read_bytes().split(b"\0")
                if word.encode() in words:
                    return each
                if below := child(each, word):
                    return below
    except OSError:  # one of them has just ended
        return None
    return None


def end_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    """How a command ends that lost what it needs: soon, and with a message."""
    _, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in err, err
    return process.returncode, err


@pytest.fixture
def site(write_small: Callable[[Path], SmallMatrix], tmp_path: Path) -> SmallMatrix:
    folder = tmp_path / "matrix"
    folder.mkdir()
    return write_small(folder)


@pytest.mark.parametrize("victim", ["dlc", "buildx"])
def test_killed_builds(
    victim: str,
    site: SmallMatrix,
    client: docker.DockerClient,
    own_namespace: str,
    tmp_path: Path,
    temporary: Path,
) -> None:
    small, rounds = site, Site(matrix=site.path, secret=tmp_path / "netrc")
    environment = {**small.index.environment, "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "builder", *rounds.build]
    rounds.change(0)
    assert small.run("lock", NAME).returncode == 0
    done = small.run("build", NAME, **environment)
    assert done.returncode == 0, done.stderr
    named: set[str] = set()
    left(client, own_namespace, named)
    rounds.change(-1)
    begin = time.monotonic()
    running = with_buildx(command, environment)
    seconds = time.monotonic() - begin
    assert left(client, own_namespace, named) == []
    moments, count = random.Random(1), 0  # noqa: S311
    for number in range(1, KILLS + 1):
        rounds.change(number)
        before = key_of(client)
        after = moments.uniform(0, seconds)
        if victim == "dlc":
            count += killed(command, environment, after)
        else:
            count += with_buildx(command, environment, moments.uniform(0, running)) > 0
        assert SECRET not in on_disk(temporary)
        between = key_of(client)
        again = small.run("build", NAME, **environment)
        assert again.returncode == 0, f"{number}: {again.stderr}"
        now = key_of(client)
        assert between in (now, before), "a tag of nothing that was built"
        check_image(client, number)
        assert list(temporary.iterdir()) == []
        assert left(client, own_namespace, named) == []
    print(f"{KILLS} builds, {count} of which {victim} was killed")  # noqa: T201 pytest -rP shows it
    assert count


def test_container_of_a_build_that_was_killed_as_it_named_its_image(
    site: SmallMatrix, client: docker.DockerClient, own_namespace: str, temporary: Path
) -> None:
    """The next run has nothing to build, and removes it and its folder all the same."""
    assert site.run("lock", NAME).returncode == 0
    assert site.run("build", NAME).returncode == 0
    with subprocess.Popen(["true"]) as ended:
        here = owner().rsplit("/", 2)[0]
    marks = {**labels(), OWNER_LABEL: f"{here}/{ended.pid}/1"}
    client.containers.create(local_name(NAME), ["unused"], labels=marks)
    folder = temporary / "dlc-bake-killed"
    folder.mkdir()
    (folder / "owner").write_text(marks[OWNER_LABEL], "utf-8")
    again = site.run("build", NAME, TMPDIR=str(temporary))
    assert again.returncode == 0, again.stderr
    assert "up to date" in again.stdout
    assert left(client, own_namespace, set()) == []
    assert list(temporary.iterdir()) == []


def with_buildx(
    command: list[str], environment: dict[str, str], after: float | None = None
) -> float:
    """Start a build, and kill its buildx `after` seconds of it; 0 if that came too late.

    Else, and without a moment to kill it at, the seconds that buildx ran.
    """
    with subprocess.Popen(
        command,
        cwd="/",
        env={**os.environ, **OWN, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        buildx = None
        while process.poll() is None and buildx is None:
            buildx = child(process.pid, "bake")
        begin = time.monotonic()
        while buildx and child(process.pid, "bake") == buildx:
            if after is not None and time.monotonic() - begin >= after:
                os.kill(buildx, signal.SIGKILL)
                break
            time.sleep(0.01)
        seconds = time.monotonic() - begin
        code, err = end_of(process)
    assert code in (0, BuildError.exit_code), err
    assert code == 0 or "buildx was killed" in err, err
    return seconds if code or after is None else 0.0


def test_killed_engines(
    client: docker.DockerClient, tmp_path: Path, temporary: Path, own_namespace: str
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can start an engine")
    # The path of a socket below pytest's own folders would be too long for the kernel.
    with tempfile.TemporaryDirectory(prefix="dlc-") as short, own_engine(Path(short)) as own:
        (own.folder / "state").mkdir()
        (own.folder / "state/bin").symlink_to(state_directory() / "bin")
        environment = {"TMPDIR": str(temporary)}
        up = own.dlc("engine", "up", environment=environment)
        assert up.returncode == 0, up.stderr
        matrix = tmp_path / "matrix"
        matrix.mkdir()
        with closing(own.client()) as mine:
            host = gateway(mine)
            give_base(client, mine)
        with (
            own.within(lambda: PackageIndex(*files(), host=host)) as index,
            forwarding(own.within, host) as proxy,
        ):
            rounds = Site(matrix=write_small_matrix(matrix, index.url), secret=tmp_path / "netrc")
            environment |= {**index.environment, "http_proxy": proxy, "no_proxy": host}
            _kill_engines(own, rounds, environment, own_namespace)
            assert list(temporary.iterdir()) == []
        down = own.dlc("engine", "down", environment=environment)
        assert down.returncode == 0, down.stderr


def give_base(there: docker.DockerClient, here: docker.DockerClient) -> None:
    """Let an engine have the base that another one has."""
    base = load_targets(ROOT / "matrix.yaml")
    [image] = {each.base.image for each in base if each.name == INFERENCE}
    reference = BaseSource(name="debian12", image=image).reference
    here.images.load(b"".join(there.images.get(reference).save(named=reference)))


def programs(own: OwnEngine) -> list[str]:
    """What runs beside an engine; a container's shim ends a moment after the container."""
    return sorted(Path(words[0]).name for words in own.processes().values())


def _kill_engines(
    own: OwnEngine, rounds: Site, environment: dict[str, str], namespace: str
) -> None:
    rounds.change(0)
    lock = own.dlc(*rounds.build[:2], "lock", NAME, environment=environment)
    assert lock.returncode == 0, lock.stderr
    first = own.dlc(*rounds.build, environment=environment)
    assert first.returncode == 0, first.stderr
    named: set[str] = set()
    with closing(own.client()) as client:
        left(client, namespace, named)
    rounds.change(-1)
    begin = time.monotonic()
    assert own.dlc(*rounds.build, environment=environment).returncode == 0
    seconds = time.monotonic() - begin
    with closing(own.client()) as client:
        assert left(client, namespace, named) == []
    moments, count, codes = random.Random(3), 0, Counter[int]()  # noqa: S311
    for number in range(1, KILLS + 1):
        rounds.change(number)
        with subprocess.Popen(
            own.command(*rounds.build),
            cwd="/",
            env={**own.environment, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            time.sleep(moments.uniform(0, seconds))
            running = process.poll() is None
            assert own.kill()
            code, err = end_of(process)
        codes[code] += 1
        count += running and code != 0
        assert code in CODES, err
        again = own.dlc(*rounds.build, environment=environment)
        assert again.returncode == 0, f"{number}: {err}\n{again.stderr}"
        with closing(own.client()) as client:
            check_image(client, number)
            assert left(client, namespace, named) == []
        with suppress(AssertionError):
            wait_for(lambda: programs(own) == ["containerd", "dockerd", "sh", "sleep"])
        assert programs(own) == ["containerd", "dockerd", "sh", "sleep"], own.processes()
        assert SECRET not in on_disk(Path(environment["TMPDIR"]))
    print(f"{KILLS} engines killed, {count} builds failed of it: {dict(codes)}")  # noqa: T201
    assert count


@pytest.fixture
def shop(client: docker.DockerClient, tmp_path: Path) -> Iterator[Workshop]:
    folder = tmp_path / "shop"
    folder.mkdir()
    workshop = Workshop(client=client, folder=folder)
    yield workshop
    workshop.remove()


def test_killed_pushes(
    shop: Workshop, registry_program: str, tmp_path: Path, temporary: Path
) -> None:
    shop.image(shop.old, [noise(3_000_000), noise(2_000_000), noise(100_000)])
    place = tmp_path / "registry"
    place.mkdir()
    moments, count = random.Random(2), 0  # noqa: S311
    with running(Registry(program=registry_program, folder=place)) as registry:
        reader = RegistryClient(registry.host)
        seconds = 0.0
        for number in range(KILLS + 1):
            where = f"{registry.host}/team{number}"
            # One that has compressed nothing, and knows of no layer.
            environment = {"TMPDIR": str(temporary), "DLC_STATE": str(tmp_path / f"state{number}")}
            repository = f"team{number}/{shop.old.repository}"
            words = shop.command(shop.old.name, registry=where)
            if number:  # the first one is whole
                command = [sys.executable, "-m", "builder", *words]
                count += killed(command, environment, moments.uniform(0, seconds))
                held(reader, repository)
                if row := shop.released().get(f"{where}/{shop.old.name}"):
                    there = held(reader, repository)
                    assert there == dict.fromkeys(row["tags"], row["digest"]), "a lying record"
            begin = time.monotonic()
            again = shop.push(shop.old.name, registry=where, **environment)
            seconds = seconds or time.monotonic() - begin
            assert again.returncode == 0, f"{number}: {again.stderr}"
            row = shop.released()[f"{where}/{shop.old.name}"]
            assert held(reader, repository) == dict.fromkeys(row["tags"], row["digest"])
            assert list(temporary.iterdir()) == []
        names = [name for image in shop.client.images.list() for name in image.tags]
        assert not [name for name in names if name.startswith(registry.host)]
    print(f"{KILLS} pushes, {count} killed before they ended")  # noqa: T201 pytest -rP shows it
    assert count
