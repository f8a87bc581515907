"""Packages of the distribution as locked, from an archive that moves on between two builds.

The archive and its snapshot service are folders on the engine's bridge. What the base has besides,
no archive has.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import docker
import pytest

from builder.engine.namespace import local_name
from builder.engine.tagging import remove_image
from builder.matrix.targets import load_targets
from builder.util.clock import today
from tests.images import apt_repository
from tests.images.apt_repository import Keyring
from tests.images.conftest import INFERENCE, ROOT
from tests.images.mirror_server import serving
from tests.images.small_matrix import SMALL_NAMES, SmallMatrix

pytestmark = [pytest.mark.images, pytest.mark.slow]

NAME = SMALL_NAMES[0]
DAY, STAMP = "2026-01-02", "20260102T235959Z"
DOCKERFILE = """\
FROM {base}
RUN apt-get update \\
 && apt-get install --yes --no-install-recommends \\
    ca-certificates curl gnupg python3.11 python3-pip \\
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \\
 && find /usr/lib -name __pycache__ -prune -exec rm -rf {{}} +
COPY key.gpg /etc/apt/trusted.gpg.d/
LABEL dlc.base.how=stand-in
"""


@dataclass(kw_only=True)
class Archive:
    """An archive, its security updates and its past, in a folder that is served."""

    folder: Path
    keyring: Keyring
    signer: str

    def publish(self, version: str, *, security: str = "") -> None:
        """Have only one version of each package, as archives do; `dlc-more` only as an update."""
        for name in ("debian", "debian-security"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        self._suite(
            "debian", "bookworm", [f"dlc-tool={version}", f"dlc-cc={version}", "dlc-more=1"]
        )
        self._suite("debian", "bookworm-updates", [])
        self._suite("debian-security", "bookworm-security", [f"dlc-more={security or '1.1'}"])

    def keep(self) -> None:
        """Have the snapshot service remember the archive as it is."""
        for name in ("debian", "debian-security"):
            shutil.copytree(self.folder / name, self.folder / "past" / name / STAMP)

    def _suite(self, archive: str, suite: str, pins: list[str]) -> None:
        apt_repository.debian(
            self.folder / archive, suite=suite, pins=pins, signer=self.signer, keyring=self.keyring
        )


@dataclass(frozen=True, kw_only=True)
class Project:
    small: SmallMatrix
    archive: Archive
    asked: list[str]

    def run(self, *arguments: str) -> str:
        result = self.small.run(*arguments)
        assert result.returncode == 0, result.stderr
        return result.stderr + result.stdout

    def installed(self, name: str = NAME, prefix: str = "dlc-") -> dict[str, str]:
        """The packages of the archive that the image has, with their versions."""
        result = self.small.run("inventory", name, "--format", "json")
        assert result.returncode == 0, result.stderr
        packages = json.loads(result.stdout)["packages"]
        return {p["name"]: p["version"] for p in packages if p["name"].startswith(prefix)}

    def lock(self, name: str = NAME) -> str:
        [target] = (each for each in self.small.targets if each.name == name)
        return (self.small.folder / "images" / target.folder / "system.lock").read_text("utf-8")


@pytest.fixture(scope="module")
def base(
    client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Keyring, str]]:
    """A base that trusts a key of the test, as the matrix names it; the keyring and the key."""
    [real] = [each.base for each in load_targets(ROOT / "matrix.yaml") if each.name == INFERENCE]
    folder = tmp_path_factory.mktemp("base")
    keys = tmp_path_factory.mktemp("keys")
    keyring = Keyring(keys)
    signer = keyring.make("Tests <tests@example.com>")
    (folder / "key.gpg").write_bytes(keyring.export(signer, armor=False))
    there = f"dlc-base/debian12:{real.image.partition('@sha256:')[2][:12]}"
    (folder / "Dockerfile").write_text(DOCKERFILE.format(base=there), "utf-8")
    digest = hashlib.sha256(uuid.uuid4().bytes).hexdigest()
    tag = f"dlc-base/debian12:{digest[:12]}"
    client.images.build(path=str(folder), tag=tag, rm=True, forcerm=True)
    yield f"stand-in/debian@sha256:{digest}", keyring, signer
    client.images.remove(tag, force=True)
    keyring.close()


@pytest.fixture
def project(
    client: docker.DockerClient,
    base: tuple[str, Keyring, str],
    write_small: Callable[[Path], SmallMatrix],
    tmp_path: Path,
) -> Iterator[Project]:
    """A row whose packages are as of a past day, which the snapshot service knows."""
    image, keyring, signer = base
    small = write_small(tmp_path)
    text = small.path.read_text("utf-8")
    [line] = [each for each in text.splitlines() if each.startswith("    image: ")]
    text = text.replace(line, f"    image: {image}")
    text = text.replace("[python3.11]", "[python3.11, dlc-tool]")
    text = text.replace(
        "small: {requires:", "small: {system: [dlc-more], compilers: [dlc-cc], requires:"
    )
    text = text.replace("origin: own}", f"origin: own, toolchain: none, system_date: {DAY}}}", 1)
    small.path.write_text(text, "utf-8")
    archive = Archive(folder=tmp_path / "served", keyring=keyring, signer=signer)
    archive.publish("1.0")
    archive.keep()
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    with serving(client, functools.partial(Handler, directory=str(archive.folder))) as host:
        with (tmp_path / "mirrors.yaml").open("a") as mirrors:
            mirrors.write(
                "archives:\n  debian12:\n"
                f"    main: http://{host}/debian\n"
                f"    security: http://{host}/debian-security\n"
                f"    snapshot: http://{host}/past\n"
            )
        yield Project(small=small, archive=archive, asked=asked)
    if client.images.list(local_name(NAME)):
        remove_image(client, local_name(NAME))


def turn(project: Project, number: int) -> None:
    """Have no step of an earlier build do, and no file that one has fetched."""
    stage = project.small.folder / "templates/stages/python.j2"
    stage.parent.mkdir(parents=True, exist_ok=True)
    text = (ROOT / "templates/stages/python.j2").read_text("utf-8")
    forget = (
        "RUN --mount=type=cache,id=apt-debian12,target=/var/cache/apt,sharing=locked \\\n"
        "    rm --recursive --force /var/cache/apt/archives/locked\n"
    )
    stage.write_text(f"ENV TURN={number}-{project.small.folder.name}\n{forget}{text}", "utf-8")


def test_an_archive_that_moves_on(project: Project) -> None:
    locked = {"dlc-tool": "1.0", "dlc-more": "1.1"}
    told = project.run("lock", NAME)
    assert "asking apt for the packages of 2026-01-02" in told
    assert not any(path.startswith("/debian/dists/") for path in project.asked), "but its past"
    lines = project.lock().splitlines()
    assert any(line.startswith("dlc-more=1.1 amd64 debian-security ") for line in lines)
    assert any(" base - sha256:- " in line for line in lines), "the base's own"
    [compiler] = [line for line in lines if line.startswith("dlc-cc=1.0 ")]
    assert compiler.endswith(" compilers"), "there for a step, and in no later one"
    assert project.run("lock", NAME).endswith(": fresh\n"), "and apt is not asked again"

    turn(project, 1)
    project.asked.clear()
    project.run("build", NAME)
    assert project.installed() == locked
    for name in ("dlc-tool", "dlc-cc"):
        assert any(path.startswith(f"/debian/pool/bookworm/{name}_1.0_") for path in project.asked)
    assert not any(path.startswith("/past/") for path in project.asked)

    # The archive has other versions now, and a fresh build has the same as before all the same.
    project.archive.publish("2.0", security="2.1")
    turn(project, 2)
    [kept] = (project.archive.folder / "past").glob("debian/*/pool/bookworm/dlc-tool_1.0_*.deb")
    content = kept.read_bytes()
    kept.write_bytes(content + b"more")
    broken = project.small.run("build", NAME)
    assert broken.returncode == 12
    assert "gives pool/bookworm/dlc-tool_1.0_amd64.deb with SHA-256" in broken.stderr
    kept.write_bytes(content)
    project.run("build", NAME)
    assert project.installed() == locked
    assert any(path.startswith(f"/past/debian-security/{STAMP}/pool/") for path in project.asked)

    # Until somebody moves the date on.
    before = project.small.path.read_text("utf-8")
    told = project.run("lock", "--system", NAME)
    assert "dlc-more 1.1 -> 2.1, dlc-tool 1.0 -> 2.0" in told
    day = today().isoformat()
    assert project.small.path.read_text("utf-8") == before.replace(DAY, day)
    assert f" as of {day}, by `dlc lock`." in project.lock()
    assert "system.lock changed" in project.run("plan", NAME)
    project.run("build", NAME)
    assert project.installed() == {"dlc-tool": "2.0", "dlc-more": "2.1"}


def test_an_archive_without_a_past(project: Project) -> None:
    shutil.rmtree(project.archive.folder / "past")
    result = project.small.run("lock", NAME)
    assert result.returncode == 9
    assert "apt cannot tell the packages of 2026-01-02" in result.stderr
    assert "or move the date to today with `dlc lock --system`" in result.stderr
    assert "system.lock missing" in project.small.run("lock", "--check", NAME).stdout


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A stand-in for an accelerator's repository, and the small matrix with a row for it."""

    project: Project
    kind: str

    @property
    def package(self) -> str:
        """The package that the matrix asks for, any 1.x of it."""
        return {"neuron": "aws-neuronx-tools", "cuda": "cuda-cudart-99"}[self.kind]

    @property
    def folder(self) -> Path:
        return self.project.archive.folder / self.kind

    def publish(self, *versions: str) -> None:
        """Have these versions, with the key beside them; the keyring package stays as it is."""
        archive, pins = self.project.archive, [f"{self.package}={each}" for each in versions]
        signer, keyring = archive.signer, archive.keyring
        if self.kind == "cuda":
            shutil.rmtree(self.folder / "debian12", ignore_errors=True)
            apt_repository.cuda(
                self.folder, base="debian12", pins=pins, signer=signer, keyring=keyring
            )
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        apt_repository.neuron(
            self.folder,
            suite="bookworm",
            pins=pins,
            keys=[signer],
            signer=signer,
            keyring=keyring,
            files={},
        )

    def add(self) -> str:
        """Put a row of it into the matrix, and its address and key into the mirrors; its name."""
        small, archive = self.project.small, self.project.archive
        text = small.path.read_text("utf-8")
        name, device = ("sdk9.9.9", "neuronx") if self.kind == "neuron" else ("cu990", "gpu")
        framework = "pytorch" if self.kind == "neuron" else "tensorflow"
        text = text.replace("  pytorch:\n", f"  {framework}:\n", 1)
        text = text.replace("pytorch: [", f"{framework}: [").replace("[cpu]", f"[{device}]")
        text = text.replace("builds: {cpu:", f"{device}: {name}\n      builds: {{{name}:")
        accelerator = f"{{device: {device}, version: 9.9.9, packages: [{self.package}=1.*]}}"
        text = text.replace(
            "frameworks:\n", f"accelerators: {{{name}: {accelerator}}}\nframeworks:\n"
        )
        path = "debian12/keyring.deb"
        key, source = archive.signer, f"{self.kind.upper()}_PACKAGES"
        if self.kind == "cuda":
            text = f"cuda_keyring: {{path: {path}, sha256: {'0' * 64}}}\n{text}"
            key = apt_repository.cuda_keyring(
                self.folder.parent / "key" / path, key=archive.signer, keyring=archive.keyring
            )
        small.path.write_text(text, "utf-8")
        mirrors = small.folder / "mirrors.yaml"
        said = mirrors.read_text("utf-8")
        [host] = set(re.findall(r"http://(\S+)/debian\n", said))
        said += f"sources: {{{source}: http://{host}/{self.kind}}}\nkeys: {{{source}: {key}}}\n"
        mirrors.write_text(said, "utf-8")
        return next(each.name for each in small.targets if each.system_date)


@pytest.mark.parametrize("kind", ["neuron", "cuda"])
def test_repository_of_an_accelerator(
    kind: str, project: Project, client: docker.DockerClient
) -> None:
    repository = Repository(project=project, kind=kind)
    name = repository.add()
    repository.publish("1.0", "1.1", "2.0")
    if kind == "cuda":
        (repository.folder / "debian12/keyring.deb").write_bytes(
            (project.archive.folder / "key/debian12/keyring.deb").read_bytes()
        )
    project.run("lock", name)
    [line] = [line for line in project.lock(name).splitlines() if repository.package in line]
    assert line.startswith(f"{repository.package}=1.1 amd64 {kind} ")
    assert line.endswith(" accelerator,compilers,system")
    # It has a newer one by the time of the build, which is as locked all the same.
    repository.publish("1.1", "1.2")
    turn(project, 3)
    project.run("build", name)
    assert project.installed(name, repository.package) == {repository.package: "1.1"}
    assert not any(path.startswith("/past/") and kind in path for path in project.asked)
    remove_image(client, local_name(name))
