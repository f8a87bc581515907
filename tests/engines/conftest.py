"""Each engine in turn, with a base, a package index and a registry; what came of it is a table."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest

from builder.engine import apt, bases
from builder.engine.layers import Layer
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from tests.engines.forwarder import forwarding
from tests.engines.isolated import Isolated, Version, started
from tests.engines.packages import buildx_of, runc_of, unpacked
from tests.engines.small import write_matrix
from tests.images.mirror_server import gateway
from tests.images.registries import Registry, running
from tests.images.small_matrix import FRAMEWORK, files
from tests.package_index import IndexFile, PackageIndex, wheel

# Debian 12's engine has no containerd image store.
ENGINES = (
    ("bookworm", False),
    ("trixie", False),
    ("trixie", True),
    ("sid", False),
    ("sid", True),
)
# One that wants the C library and nothing else; every Debian has it.
LIBRARY = Path("/usr/lib/x86_64-linux-gnu/libz.so.1")
ROWS = pytest.StashKey[dict[str, dict[str, str]]]()


@dataclass(kw_only=True)
class Shop:
    """One engine, a matrix, and what was found out about its images so far."""

    isolated: Isolated
    client: docker.DockerClient
    registry: Registry
    matrix: Path
    environment: dict[str, str]
    row: dict[str, str]
    built: dict[str, dict[str, Any]] = field(default_factory=dict)
    pushed: dict[str, str] = field(default_factory=dict)  # by profile
    original: tuple[Layer, ...] = ()  # of the inference image

    @property
    def store(self) -> str:
        """The image store that it has."""
        return _store(self.isolated.containerd)

    @property
    def targets(self) -> tuple[Target, ...]:
        """Its targets: the training image, and the inference image."""
        return load_targets(self.matrix)

    def command(self, *arguments: str) -> list[str]:
        """The command line of dlc."""
        return [sys.executable, "-m", "builder", "--matrix", str(self.matrix), *arguments]

    def dlc(self, *arguments: str) -> str:
        """What a command says on stdout, after it succeeded."""
        done = self.isolated.run(*self.command(*arguments), **self.environment)
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout


@dataclass(kw_only=True)
class Session:
    """What all engines share: one matrix with its packages, a base, and what they all found."""

    folder: Path
    files: tuple[IndexFile, ...]
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def base(self) -> Path:
        """The base, as an engine saved it."""
        return self.folder / "base.tar"

    @property
    def image(self) -> Path:
        """The inference image, as the first engine saved it."""
        return self.folder / "image.tar"


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    if os.geteuid() != 0:
        pytest.skip("only root can start an engine")
    if apt.distribution() != "debian":
        pytest.skip("engines are packages of Debian")
    for program in ("ip", "nsenter", "unshare", "docker-registry", "iptables"):
        if shutil.which(program, path=apt.system_path()) is None:
            pytest.skip(f"there is no {program} on this machine")
    folder = tmp_path_factory.mktemp("engines")
    (folder / "packages").mkdir()
    return Session(folder=folder, files=tuple(_files()))


def _files() -> Iterator[IndexFile]:
    """The packages of the small matrix; its framework has a shared object, as real ones do."""
    for each in files():
        if each.package != FRAMEWORK:
            yield each
            continue
        content = {
            "tiny_framework.py": b"",
            "torch/__init__.py": b"",
            "torch/lib/libtorch.so": LIBRARY.read_bytes(),
        }
        yield wheel(FRAMEWORK, each.version, files=content)


@pytest.fixture(scope="module", params=ENGINES, ids=lambda each: f"{each[0]}-{_store(each[1])}")
def shop(request: pytest.FixtureRequest, session: Session) -> Iterator[Shop]:
    """An engine, started for the tests of this module and stopped after them."""
    release, containerd = request.param
    packages = session.folder / "packages"
    version = Version(
        release=release,
        root=unpacked(release, packages),
        runc=runc_of(release, packages),
        buildx=buildx_of(release, packages),
        containerd=containerd,
    )
    # The path of a socket below pytest's own folders would be too long for the kernel.
    with tempfile.TemporaryDirectory(prefix="dlc-") as short, ExitStack() as stack:
        isolated = stack.enter_context(started(version, Path(short)))
        client = stack.enter_context(closing(isolated.engine.client(timeout=600)))
        host = gateway(client)
        index = isolated.within(lambda: PackageIndex(*session.files, host=host))
        stack.enter_context(index)
        proxy = stack.enter_context(forwarding(isolated.within, host))
        program = Path(short, "registry")
        program.write_text(f'#!/bin/sh\nexec {" ".join(isolated.inside("docker-registry"))} "$@"\n')
        program.chmod(0o755)
        place = Path(short, "registry-data")
        place.mkdir()
        registry = stack.enter_context(running(Registry(program=str(program), folder=place)))
        matrix = write_matrix(session.folder / "matrix", index.url)
        _give_base(session, isolated, client, matrix)
        rows = request.config.stash.setdefault(ROWS, {})
        number = isolated.engine.version.partition("+")[0]
        row = rows.setdefault(f"{number}, {_store(containerd)}", {})
        row["buildx"] = _version_of(isolated)
        yield Shop(
            isolated=isolated,
            client=client,
            registry=registry,
            matrix=matrix,
            environment={
                **index.environment,
                "http_proxy": proxy,
                "no_proxy": f"{host},127.0.0.1,localhost",
            },
            row=row,
        )


def _give_base(
    session: Session, isolated: Isolated, client: docker.DockerClient, matrix: Path
) -> None:
    """Let the engine have the base: made once, the same bytes for all of them."""
    base = load_targets(matrix)[0].base
    source = bases.BaseSource(name=base.name, image=base.image, bootstrap=base.bootstrap)
    if session.base.exists():
        with session.base.open("rb") as file:
            client.images.load(file)
        return
    bases.ensure(isolated.engine, source, say=print)
    with session.base.open("wb") as file:
        for block in client.images.get(source.reference).save(named=source.reference):
            file.write(block)


def _version_of(isolated: Isolated) -> str:
    plugin = str(isolated.folder / "docker/cli-plugins/docker-buildx")
    return isolated.run(plugin, "version").stdout.split()[1].partition("+")[0]


def _store(containerd: bool) -> str:
    return "containerd" if containerd else "overlay2"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    shop = getattr(item, "funcargs", {}).get("shop")
    name = item.name.partition("[")[0].removeprefix("test_").replace("_", " ")
    if shop is not None and report.when == "call":
        if report.passed:
            shop.row.setdefault(name, "yes")
        else:
            shop.row[name] = "no"
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """The table of docs/building.md."""
    rows = config.stash.get(ROWS, {})
    if not rows:
        return
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = [["engine", *columns], ["---"] * (len(columns) + 1)]
    lines += [[name, *(row.get(each, "-") for each in columns)] for name, row in rows.items()]
    terminalreporter.write_sep("=", "engines")
    for line in lines:
        terminalreporter.write_line("| " + " | ".join(line) + " |")
