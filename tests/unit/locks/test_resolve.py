"""uv itself: as of a date, with upgrades, and where a source cannot be reached.

Its index is either a folder of empty wheels (the shelf), without a network, or one on this machine
that says when each wheel was uploaded.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import os
import re
import shutil
import socket
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import quote

import pytest

from builder.build.plan import inputs
from builder.dockerfile.render import LOCK_NAMES, Renderer
from builder.errors import LockError
from builder.locks.freshness import State, state
from builder.locks.lockfile import parse, pinned
from builder.locks.resolve import Resolver
from builder.matrix.format import Upgrade
from builder.matrix.target import Target
from builder.matrix.targets import load_targets
from builder.matrix.yaml_nodes import Position, Text
from tests.conftest import Dlc, Run
from tests.quiet_server import QuietServer
from tests.unit.corpus import SMALL, with_upgrade

pytestmark = pytest.mark.integration

CPU = "huggingface-pytorch-inference:1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04"
TENSORFLOW = "huggingface-tensorflow-inference:2.4.1-transformers4.12.3-cpu-py37-ubuntu18.04"
NEURON = (
    "huggingface-pytorch-inference-neuron:"
    "1.9.1-transformers4.12.3-neuron-py37-sdk1.17.1-ubuntu18.04"
)
TORCH_NEURON = "torch-neuron==1.9.1.2.1.7.0"
WHEEL = "torch-1.9.1+cpu-cp38-cp38-linux_x86_64.whl"

# What the direct wheels of the small matrix need, which its targets need not say to be rendered.
CONSTRAINTS = "      constraints: [setuptools<81]\n"
REQUIRES = "      requires: [typing-extensions, setuptools]\n"
DIGEST = f"              sha256: {'d' * 64}\n"

# What of the caller's environment is for uv, or for pip, from which wheelhouses come.
FOREIGN = re.compile(r"(?i:(UV|DLC|PIP|SSL)_.*|.*_CA_BUNDLE|.*_PROXY)")

# Two targets, whose dates differ in both layers.
BOTH = """\
releases:
  - transformers: 4.12.3
    datasets: 1.15.1
    date: 2021-11-03
    inference:
      libraries: serving
      pytorch: [{version: 1.9.1, devices: [cpu], date: 2022-02-18}]
      tensorflow: [{version: 2.4.1, devices: [cpu]}]
"""


def empty_wheel(
    folder: Path, name: str, version: str, *requires: str, tag: str = "py3-none-any"
) -> Path:
    """A wheel with nothing in it but its metadata."""
    information = f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {text}" for text in requires]
    path = folder / f"{information.removesuffix('.dist-info')}-{tag}.whl"
    files = {
        "METADATA": "\n".join(metadata) + "\n",
        "WHEEL": f"Wheel-Version: 1.0\nTag: {tag}\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for title, text in files.items():
            # With a time of its own, so that equal wheels have equal hashes.
            archive.writestr(zipfile.ZipInfo(f"{information}/{title}"), text)
    return path


def only(monkeypatch: pytest.MonkeyPatch, **values: str | Path) -> None:
    """Tell uv and the wheelhouse this, and nothing that the caller's environment says of them."""
    for name in [name for name in os.environ if FOREIGN.fullmatch(name)]:
        monkeypatch.delenv(name)
    # pip would be asked for what is not said, which takes as long as all else.
    for name, value in {"PIP_FIND_LINKS": "", **values}.items():
        monkeypatch.setenv(name, str(value))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Project:
    """A matrix and the locks beside it."""

    folder: Path
    dlc: Dlc

    @property
    def matrix(self) -> Path:
        return self.folder / "matrix.yaml"

    def run(self, *arguments: str) -> Run:
        return self.dlc("--matrix", self.matrix, *arguments)

    def lift(self, package: str) -> Run:
        return self.run(
            "lock", "--upgrade", package, "--reason", "CVE-2022-0001", "--until", "2099-12-31"
        )

    def write(self, text: str, *changes: tuple[str, str]) -> None:
        """Write the matrix, changed in passages that are there once."""
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        self.matrix.write_text(text, "utf-8")

    def replace(self, *changes: tuple[str, str]) -> None:
        self.write(self.matrix.read_text("utf-8"), *changes)

    def upgrade(self, package: str, version: str | None = None, date: str = "2023-12-31") -> None:
        """Put an upgrade into the matrix, and lock nothing."""
        text = with_upgrade(self.matrix.read_text("utf-8"), wanted(package, version, date))
        self.matrix.write_text(text, "utf-8")

    def target(self, name: str) -> Target:
        return next(target for target in load_targets(self.matrix) if target.name == name)

    def place(self, name: str) -> Path:
        return self.folder / "images" / self.target(name).folder

    def state(self, name: str) -> State:
        return state(self.place(name), self.target(name))

    def lock(self, name: str, layer: str) -> str:
        return (self.place(name) / f"{layer}.lock").read_text("utf-8")

    def versions(self, name: str, layer: str) -> dict[str, str]:
        """What a lock has; no version for a direct wheel."""
        return dict(map(pinned, parse(self.lock(name, layer)).values()))

    def locks(self) -> dict[Path, bytes]:
        """All that is below images/."""
        paths = (self.folder / "images").rglob("*")
        return {path: path.read_bytes() for path in paths if path.is_file()}

    def files(self) -> dict[Path, bytes]:
        """All that `dlc lock` could write."""
        return {self.matrix: self.matrix.read_bytes(), **self.locks()}


def wanted(package: str, version: str | None = None, date: str = "2023-12-31") -> Upgrade:
    return Upgrade(
        package=Text(package, Position(file="m", line=1, column=1)),
        version=version,
        date=datetime.date.fromisoformat(date),
        reason="CVE-2022-0001",
        until=datetime.date(2099, 12, 31),
    )


@pytest.fixture
def project(tmp_path: Path, dlc: Dlc) -> Project:
    return Project(folder=tmp_path, dlc=dlc)


# A folder of wheels, without a network


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of our own, in which nothing of any index is."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def shelf(project: Project, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose wheels are all in one folder, which is index and wheelhouse at once."""
    folder = project.folder / "shelf"
    folder.mkdir()
    torch = empty_wheel(folder, "torch", "1.9.1+cpu", tag="cp38-cp38-linux_x86_64")
    empty_wheel(folder, "typing-extensions", "4.0.0")
    empty_wheel(folder, "setuptools", "80.9.0")
    empty_wheel(folder, "setuptools", "81.0.0")
    empty_wheel(folder, "transformers", "4.12.3", "tokenizers>=0.10", "typing-extensions")
    empty_wheel(folder, "tokenizers", "0.10.3")
    empty_wheel(folder, "wheel", "0.37.0")
    empty_wheel(folder, "uv", "0.13.8")
    digest = hashlib.sha256(torch.read_bytes()).hexdigest()
    project.write(SMALL, ("d" * 64, digest), (CONSTRAINTS, REQUIRES + CONSTRAINTS))
    only(
        monkeypatch,
        UV_OFFLINE="1",
        UV_CACHE_DIR=cache,
        UV_FIND_LINKS=folder,
        DLC_WHEELHOUSE=folder,
    )
    return folder


def test_locking(shelf: Path, project: Project) -> None:
    run = project.run("lock", CPU)
    assert (run.code, run.out, run.err) == (0, "", f"{CPU}: 8 requirements locked\n")
    folder = project.place(CPU)
    read = {name: parse((folder / name).read_text("utf-8")) for name in LOCK_NAMES}
    assert {name: list(entries) for name, entries in read.items()} == {
        "build.lock": ["setuptools", "wheel"],
        "framework.lock": ["setuptools", "torch", "typing-extensions"],
        "libraries.lock": ["tokenizers", "transformers"],
        "tools.lock": ["uv"],
    }
    # The constraint holds, and the wheel keeps the address that its source stands for.
    assert read["framework.lock"]["setuptools"].startswith("setuptools==80.9.0 \\\n")
    torch = "torch-1.9.1%2Bcpu-cp38-cp38-linux_x86_64.whl"
    assert read["framework.lock"]["torch"].startswith(
        f"torch @ ${{PYTORCH_WHEELS}}/cpu/{torch} \\\n"
    )
    assert str(shelf) not in "".join(path.read_text("utf-8") for path in folder.iterdir())
    shown = json.loads(project.run("show", CPU, "--format", "json").out)
    assert shown["values"]["lock"] == "fresh"

    project.replace(("date: 2022-02-18", "date: 2022-02-19"))
    shown = json.loads(project.run("show", CPU, "--format", "json").out)
    assert shown["values"]["lock"] == "libraries.lock stale"


def test_what_the_shelf_has_not(shelf: Path, project: Project) -> None:
    (shelf / "typing_extensions-4.0.0-py3-none-any.whl").unlink()
    run = project.run("lock", CPU)
    assert (run.code, run.out) == (9, "")
    assert run.err.startswith(f"{CPU}: failed\ndlc: {CPU} cannot be locked:\n")
    assert "you require typing-extensions" in run.err
    assert run.err.endswith("connect to that host, or put its wheels into a wheelhouse\n")
    assert not (project.folder / "images").exists()


@pytest.mark.usefixtures("shelf")
def test_what_cannot_be_resolved(project: Project) -> None:
    project.replace(("[typing-extensions, setuptools]", "[typing-extensions>=5, setuptools]"))
    run = project.run("lock", CPU)
    assert (run.code, run.out) == (9, "")
    assert "you require typing-extensions>=5" in run.err
    assert run.err.endswith("change the requirements or the date in the matrix\n")
    assert not (project.folder / "images").exists()


def test_a_wheel_that_changed(shelf: Path, project: Project) -> None:
    torch = shelf / WHEEL
    torch.write_bytes(b"another")
    digest = hashlib.sha256(b"another").hexdigest()
    run = project.run("lock", CPU)
    assert run.code == 9
    assert f"{torch} has SHA-256 {digest}, but {project.matrix}:58:20 says " in run.err


def test_equal_layers_are_resolved_once(shelf: Path, small: dict[str, Target]) -> None:
    """The second target comes from what the first left, though the shelf is empty by then."""
    target = dataclasses.replace(
        small[CPU],
        build=dataclasses.replace(small[CPU].build, wheels=()),
        framework_requirements=("typing-extensions",),
        constraints=(),
        library_requirements=("tokenizers",),
    )
    resolver = Resolver()
    first = resolver.lock(target)
    for path in shelf.iterdir():
        path.unlink()
    assert resolver.lock(dataclasses.replace(target, mode="training")) == first


def test_a_wheel_without_a_hash_gets_it_from_the_wheelhouse(shelf: Path, project: Project) -> None:
    """Though it is for another Python than the one that locks."""
    digest = hashlib.sha256((shelf / WHEEL).read_bytes()).hexdigest()
    project.replace((f"              sha256: {digest}\n", ""))
    assert project.run("lock", CPU).err == f"{CPU}: 8 requirements locked\n"
    torch = parse(project.lock(CPU, "framework"))["torch"]
    assert torch == (
        f"torch @ ${{PYTORCH_WHEELS}}/cpu/{quote(WHEEL)} \\\n    --hash=sha256:{digest}\n"
    )
    assert (project.state(CPU).stale, project.state(CPU).unhashed) == ({}, {})


def test_being_told_to_stay_offline_is_not_reaching(shelf: Path, project: Project) -> None:
    digest = hashlib.sha256((shelf / WHEEL).read_bytes()).hexdigest()
    project.replace((f"              sha256: {digest}\n", ""))
    (shelf / WHEEL).unlink()
    run = project.run("lock", CPU, NEURON)
    assert run.code == 0, run.err
    assert project.state(CPU).unhashed == {"torch": unreached("PYTORCH_WHEELS")}
    assert project.state(NEURON).unhashed == {TORCH_NEURON: unreached("NEURON_WHEELS")}


def unreached(source: str) -> str:
    return f"{source} could not be reached when this was locked; `dlc lock` adds it."


# An index that says when


class Index:
    """A package index; each wheel has the day on which it was uploaded."""

    def __init__(self, address: str, folder: Path, pages: dict[str, bytes]) -> None:
        folder.mkdir()
        self.address, self._folder, self._pages = address, folder, pages
        self._files: dict[str, list[dict[str, object]]] = {}

    def add(
        self,
        day: str,
        name: str,
        version: str,
        *requires: str,
        tag: str = "py3-none-any",
        hashed: bool = True,
    ) -> str:
        """Upload an empty wheel; its SHA-256."""
        path = empty_wheel(self._folder, name, version, *requires, tag=tag)
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        with zipfile.ZipFile(path) as archive:
            [metadata] = [name for name in archive.namelist() if name.endswith("METADATA")]
            self._pages[f"{self.address}/{quote(path.name)}.metadata"] = archive.read(metadata)
        self._pages[f"{self.address}/{quote(path.name)}"] = content
        files = self._files.setdefault(name, [])
        files.append(
            {
                "filename": path.name,
                "url": f"{self.address}/{quote(path.name)}",
                "hashes": {"sha256": digest} if hashed else {},
                "upload-time": f"{day}T12:00:00Z",
                "core-metadata": True,
            }
        )
        page = {"meta": {"api-version": "1.1"}, "name": name, "files": files}
        self._pages[f"{self.address}/{name}/"] = json.dumps(page).encode()
        return digest

    def remove(self, name: str) -> None:
        del self._pages[f"{self.address}/{name}/"]

    def lose(self, name: str, version: str) -> None:
        """Go on naming a wheel of which nothing can be fetched."""
        path = f"{self.address}/{name}-{version}-py3-none-any.whl"
        del self._pages[path], self._pages[f"{path}.metadata"]


Serve = Callable[[str], Index]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serves indexes on this machine, by name."""
    pages: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = pages.get(f"{address}{self.path}")
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.send_header("Cache-Control", "no-store")
            if self.path.endswith("/"):
                self.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            """Nothing on stderr, which tests read."""

    with QuietServer(("127.0.0.1", 0), Handler) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        # No two tests have an address in common, by which uv keeps what it read.
        yield lambda name: Index(f"{address}/{tmp_path.name}/{name}", tmp_path / name, pages)
        server.shutdown()
        thread.join()


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address at which nobody answers, as long as this lasts."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def index(
    serve: Serve, nowhere: str, project: Project, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Index:
    """A project of two targets and an index that has what they need; no source can be reached."""
    found = serve("index")
    found.add("2020-08-01", "wheel", "0.37.0")
    found.add("2024-08-01", "uv", "0.13.8")
    found.add("2021-02-01", "setuptools", "52.0.0")
    found.add("2021-10-01", "setuptools", "58.2.0")
    found.add("2023-05-01", "setuptools", "80.9.0")
    found.add("2023-06-01", "setuptools", "81.0.0")
    found.add("2021-10-01", "typing-extensions", "4.0.0")
    found.add("2021-01-21", "tensorflow-cpu", "2.4.1", "setuptools")
    found.add("2021-10-29", "transformers", "4.12.3", "tokenizers>=0.10")
    found.add("2021-05-24", "tokenizers", "0.10.3")
    found.add("2022-01-10", "tokenizers", "0.10.4")
    found.add("2023-06-01", "tokenizers", "0.11.0")
    found.add("2023-07-01", "tokenizers", "0.12.0", "transformers>=5")
    project.write(
        SMALL.partition("releases:\n")[0] + BOTH,
        (CONSTRAINTS, REQUIRES + CONSTRAINTS),
        ("https://wheels.example/pytorch", nowhere),
        ("https://wheels.example/neuron", nowhere),
    )
    only(
        monkeypatch,
        UV_DEFAULT_INDEX=found.address,
        UV_CACHE_DIR=cache,
        UV_HTTP_RETRIES="0",
        DLC_WHEELHOUSE="",
    )
    return found


@pytest.mark.usefixtures("index")
def test_layers_are_as_of_their_own_dates(project: Project) -> None:
    assert project.run("lock").code == 0
    assert project.versions(CPU, "framework") == {
        "setuptools": "58.2.0",
        "torch": "",
        "typing-extensions": "4.0.0",
    }
    assert project.versions(CPU, "libraries") == {"tokenizers": "0.10.4", "transformers": "4.12.3"}
    assert project.versions(TENSORFLOW, "framework") == {
        "setuptools": "52.0.0",
        "tensorflow-cpu": "2.4.1",
    }
    assert project.versions(TENSORFLOW, "libraries") == {
        "tokenizers": "0.10.3",
        "transformers": "4.12.3",
    }
    assert project.versions(TENSORFLOW, "build") == {"setuptools": "52.0.0", "wheel": "0.37.0"}
    assert project.versions(TENSORFLOW, "tools") == {"uv": "0.13.8"}


@pytest.mark.parametrize(
    ("name", "package", "version"),
    [(CPU, "torch", ""), (NEURON, "torch-neuron", "1.9.1.2.1.7.0")],
    ids=["a wheel", "from another index"],
)
def test_what_comes_from_elsewhere_is_not_asked_for(
    name: str, package: str, version: str, index: Index, project: Project
) -> None:
    """Another package may require it, in either layer, and the index have it and what it needs."""
    index.add("2021-01-01", package, "1.9.0", "surplus")
    index.add("2021-01-01", "surplus", "1.0")
    index.add("2021-10-02", "typing-extensions", "4.0.1", package)
    index.add("2021-10-30", "transformers", "4.12.4", package)
    device = "neuron" if name == NEURON else "cpu"
    project.replace(
        ("transformers: 4.12.3", "transformers: 4.12.4"),
        ("1.9.1, devices: [cpu]", f"1.9.1, devices: [{device}]"),
    )
    name = name.replace("4.12.3", "4.12.4")
    assert project.run("lock", name).code == 0
    assert project.versions(name, "framework") == {
        "setuptools": "58.2.0",
        package: version,
        "typing-extensions": "4.0.1",
    }
    assert project.versions(name, "libraries") == {"transformers": "4.12.4"}


# Sources that cannot be reached


@pytest.fixture
def neuron(index: Index, project: Project) -> Project:  # noqa: ARG001 - it has the wheels
    project.replace(("1.9.1, devices: [cpu]", "1.9.1, devices: [neuron]"))
    return project


def test_a_source_that_cannot_be_reached(neuron: Project) -> None:
    run = neuron.run("lock", NEURON)
    assert (run.code, run.err) == (
        0,
        f"{NEURON}: 8 requirements locked\n"
        f"{NEURON}: no SHA-256 of {TORCH_NEURON}: {unreached('NEURON_WHEELS')}\n",
    )
    assert f"\n# No SHA-256: {unreached('NEURON_WHEELS')}\n{TORCH_NEURON}\n" in neuron.lock(
        NEURON, "framework"
    )
    found = neuron.state(NEURON)
    assert (found.text, found.unhashed) == ("fresh", {TORCH_NEURON: unreached("NEURON_WHEELS")})
    with pytest.raises(LockError) as caught:
        inputs(neuron.target(NEURON), neuron.folder / "images", Renderer())
    assert str(caught.value) == (
        f"{NEURON} cannot be built from hashes alone: {TORCH_NEURON} "
        f"({unreached('NEURON_WHEELS')}); run `dlc lock {NEURON}` where that source can be reached"
    )


def test_its_hash_is_added_once_it_can(neuron: Project, nowhere: str, serve: Serve) -> None:
    assert neuron.run("lock", NEURON).code == 0
    source = serve("neuron")
    # It is from a day after that of the lock, which that index does not say in truth.
    digest = source.add("2023-01-01", "torch-neuron", "1.9.1.2.1.7.0", "surplus")
    neuron.replace((f"NEURON_WHEELS: {nowhere}", f"NEURON_WHEELS: {source.address}"))
    assert neuron.run("lock", NEURON).err == f"{NEURON}: 8 requirements locked\n"
    assert parse(neuron.lock(NEURON, "framework"))["torch-neuron"] == (
        f"{TORCH_NEURON} \\\n    --hash=sha256:{digest}\n"
    )
    assert (neuron.state(NEURON).text, neuron.state(NEURON).unhashed) == ("fresh", {})
    made_of = inputs(neuron.target(NEURON), neuron.folder / "images", Renderer())
    assert digest in made_of.files["framework.lock"].decode()


def test_a_hash_stays_where_its_source_cannot_be_reached_again(
    neuron: Project, nowhere: str, serve: Serve
) -> None:
    source = serve("neuron")
    source.add("2021-01-01", "torch-neuron", TORCH_NEURON.partition("==")[2])
    neuron.replace((f"NEURON_WHEELS: {nowhere}", f"NEURON_WHEELS: {source.address}"))
    assert neuron.run("lock", NEURON).code == 0
    before = neuron.lock(NEURON, "framework")
    assert f"\n{TORCH_NEURON} \\\n    --hash=sha256:" in before
    neuron.replace((f"NEURON_WHEELS: {source.address}", f"NEURON_WHEELS: {nowhere}"))
    for arguments in (["lock", NEURON], ["lock", "--refresh", NEURON]):
        run = neuron.run(*arguments)
        assert (run.code, run.err) == (0, f"{NEURON}: fresh\n")
    assert neuron.lock(NEURON, "framework") == before


def test_a_source_that_gives_no_hash(neuron: Project, nowhere: str, serve: Serve) -> None:
    source = serve("neuron")
    source.add("2021-01-01", "torch-neuron", "1.9.1.2.1.7.0", hashed=False)
    neuron.replace((f"NEURON_WHEELS: {nowhere}", f"NEURON_WHEELS: {source.address}"))
    run = neuron.run("lock", NEURON)
    assert (run.code, run.err) == (
        9,
        f"{NEURON}: failed\ndlc: NEURON_WHEELS gives no SHA-256 of {TORCH_NEURON}; "
        "name the wheel in the matrix, with its hash\n",
    )
    assert not (neuron.folder / "images").exists()


def test_a_source_that_has_it_not(neuron: Project, nowhere: str, serve: Serve) -> None:
    """That is no reason to leave the hash out: it would never come."""
    source = serve("neuron")
    source.add("2021-01-01", "torch-neuron", "1.8.0")
    neuron.replace((f"NEURON_WHEELS: {nowhere}", f"NEURON_WHEELS: {source.address}"))
    run = neuron.run("lock", NEURON)
    assert run.code == 9
    assert f"there is no version of {TORCH_NEURON}" in run.err


@pytest.mark.usefixtures("index")
def test_a_wheel_that_cannot_be_reached(project: Project) -> None:
    project.replace((DIGEST, ""))
    run = project.run("lock", CPU)
    assert (run.code, run.err) == (
        0,
        f"{CPU}: 8 requirements locked\n"
        f"{CPU}: no SHA-256 of torch: {unreached('PYTORCH_WHEELS')}\n",
    )
    assert (
        f"\n# No SHA-256: {unreached('PYTORCH_WHEELS')}\n"
        f"torch @ ${{PYTORCH_WHEELS}}/cpu/{quote(WHEEL)}\n"
    ) in project.lock(CPU, "framework")
    assert project.state(CPU).unhashed == {"torch": unreached("PYTORCH_WHEELS")}
    with pytest.raises(LockError, match="cannot be built from hashes alone: torch"):
        inputs(project.target(CPU), project.folder / "images", Renderer())


@pytest.mark.usefixtures("index")
def test_a_wheel_gets_its_hash_from_its_source(
    project: Project, nowhere: str, serve: Serve
) -> None:
    source = serve("cpu")
    digest = source.add("2023-01-01", "torch", "1.9.1+cpu", "surplus", tag="cp38-cp38-linux_x86_64")
    project.replace(
        (DIGEST, ""),
        (f"PYTORCH_WHEELS: {nowhere}", f"PYTORCH_WHEELS: {source.address.removesuffix('/cpu')}"),
    )
    assert project.run("lock", CPU).err == f"{CPU}: 8 requirements locked\n"
    assert parse(project.lock(CPU, "framework"))["torch"] == (
        f"torch @ ${{PYTORCH_WHEELS}}/cpu/{quote(WHEEL)} \\\n    --hash=sha256:{digest}\n"
    )
    assert "surplus" not in project.lock(CPU, "libraries")


def test_an_index_that_cannot_be_reached(
    project: Project, nowhere: str, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert index.address != nowhere
    monkeypatch.setenv("UV_DEFAULT_INDEX", nowhere)
    run = project.run("lock", CPU)
    assert run.code == 9
    assert run.err.endswith("connect to that host, or put its wheels into a wheelhouse\n")
    assert not (project.folder / "images").exists()


# Upgrades


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the locks of the index's project are kept once they are made."""
    return tmp_path_factory.mktemp("made") / "images"


@pytest.fixture
def locked(index: Index, project: Project, made: Path) -> Project:  # noqa: ARG001 - it has the wheels
    """A project with fresh locks, before any upgrade."""
    if made.exists():
        shutil.copytree(made, project.folder / "images")
    else:
        assert project.run("lock").code == 0
        shutil.copytree(project.folder / "images", made)
    return project


def test_an_upgrade(locked: Project) -> None:
    before = locked.matrix.read_text("utf-8")
    plain = locked.files()
    run = locked.lift("tokenizers==0.11.0")
    assert (run.code, run.out, run.err) == (
        0,
        "",
        f"{CPU}: lifted: tokenizers 0.10.4 to 0.11.0\n"
        f"{TENSORFLOW}: lifted: tokenizers 0.10.3 to 0.11.0\n"
        "tokenizers upgraded in 2 of 2 targets\n",
    )
    assert locked.matrix.read_text("utf-8").startswith(before)
    [upgrade] = locked.target(CPU).upgrades
    assert (upgrade.requirement, upgrade.reason) == ("tokenizers==0.11.0", "CVE-2022-0001")
    assert str(upgrade.until) == "2099-12-31"
    # Nothing else was touched.
    changed = {name for name, content in locked.files().items() if plain[name] != content}
    places = [locked.place(name) / "libraries.lock" for name in (CPU, TENSORFLOW)]
    assert changed == {locked.matrix, *places}
    for name, old in ((CPU, "0.10.4"), (TENSORFLOW, "0.10.3")):
        assert f"\n# lifted: tokenizers {old} to 0.11.0\n" in locked.lock(name, "libraries")
        assert locked.versions(name, "libraries") == {
            "tokenizers": "0.11.0",
            "transformers": "4.12.3",
        }
        assert locked.state(name).lifted == {"tokenizers": f"{old} to 0.11.0"}

    check = locked.run("lock", "--check")
    assert (check.code, check.out, check.err) == (
        0,
        "2 targets, 15 requirements, 0 without a SHA-256\n",
        "",
    )
    written = locked.files()
    assert locked.run("lock").code == 0
    assert locked.files() == written


def test_without_its_upgrade_a_lock_is_stale(locked: Project) -> None:
    before, plain = locked.matrix.read_bytes(), locked.files()
    assert locked.lift("tokenizers==0.11.0").code == 0
    locked.matrix.write_bytes(before)
    check = locked.run("lock", "--check")
    assert (check.code, check.out.splitlines()[:2]) == (
        16,
        [f"{CPU}: libraries.lock stale", f"{TENSORFLOW}: libraries.lock stale"],
    )
    assert locked.run("lock").code == 0
    assert locked.files() == plain


@pytest.mark.parametrize(
    ("package", "version"),
    [("numpy", "1.22.0"), ("numpy", None), ("tokenizers", "0.10.3"), ("wheel", "0.40.0")],
    ids=["in no lock", "in no lock, to the newest", "below what it has", "not of an image"],
)
def test_an_upgrade_that_lifts_nothing_leaves_locks_fresh(
    package: str, version: str | None, locked: Project
) -> None:
    locked.upgrade(package, version)
    [at] = (upgrade.at for upgrade in locked.target(CPU).upgrades)
    check = locked.run("lock", "--check")
    assert check.code == 0, check.out
    assert check.err == f"{at}: the upgrade of {package} no longer changes a lock; remove it\n"


def test_and_leaves_them_as_they_are(locked: Project) -> None:
    locks = locked.locks()
    locked.upgrade("numpy")
    locked.upgrade("tokenizers", "0.10.3")
    assert locked.run("lock").code == 0
    assert locked.locks() == locks


def test_to_the_newest_that_the_rest_bears(locked: Project) -> None:
    """0.12.0 wants another transformers."""
    run = locked.lift("tokenizers")
    assert (run.code, run.err.splitlines()[-1]) == (0, "tokenizers upgraded in 2 of 2 targets")
    assert locked.versions(CPU, "libraries")["tokenizers"] == "0.11.0"
    assert locked.run("lock", "--check").code == 0


@pytest.mark.parametrize("version", ["0.12.0", "0.13.0"], ids=["not borne", "not there"])
def test_what_no_lock_bears(version: str, locked: Project) -> None:
    before = locked.files()
    run = locked.lift(f"tokenizers=={version}")
    assert (run.code, run.out) == (9, "")
    assert run.err.startswith(
        f"{CPU}: kept: tokenizers 0.10.4, a newer one conflicts with other pins\n"
        f"{TENSORFLOW}: kept: tokenizers 0.10.3, a newer one conflicts with other pins\n"
        f"dlc: {CPU} cannot be locked:\n"
    )
    assert run.err.endswith(
        f"\nno lock can take tokenizers=={version}; nothing was written; "
        "name another version, or change what the matrix requires of it\n"
    )
    assert locked.files() == before


@pytest.mark.parametrize("package", ["numpy", "numpy==1.22.0", "wheel"])
def test_what_no_lock_has(package: str, locked: Project) -> None:
    before = locked.files()
    run = locked.lift(package)
    name = package.partition("==")[0]
    assert (run.code, run.err) == (
        9,
        f"dlc: no lock has {name}; `grep` the locks below images/ for what they have\n",
    )
    assert locked.files() == before


@pytest.mark.parametrize("package", ["tokenizers==0.10.3", "transformers", "setuptools==52.0.0"])
def test_what_is_the_newest_already(package: str, locked: Project) -> None:
    before = locked.files()
    run = locked.lift(package)
    name = package.partition("==")[0]
    assert (run.code, run.err.splitlines()[-1]) == (
        0,
        f"{name} is the newest wherever it is locked: nothing to upgrade",
    )
    assert locked.files() == before


def test_the_newest_of_before_is_no_longer_it(index: Index, locked: Project) -> None:
    """What is lifted to the newest is so as of the day, and again on another day."""
    locked.upgrade("tokenizers")
    assert locked.run("lock").code == 0
    before = locked.files()
    assert locked.state(CPU).lifted == {"tokenizers": "0.10.4 to 0.11.0"}
    assert "nothing to upgrade" in locked.lift("tokenizers").err
    assert locked.files() == before
    index.add("2023-08-01", "tokenizers", "0.11.1")
    assert locked.run("lock").code == 0
    assert locked.files() == before, "a lock that is fresh stays"
    run = locked.lift("tokenizers")
    assert run.err.splitlines()[-1] == "tokenizers upgraded in 2 of 2 targets"
    assert locked.versions(CPU, "libraries")["tokenizers"] == "0.11.1"


def test_what_one_target_pins_stays_there(locked: Project) -> None:
    """And what is lifted in a framework's layer is so for the libraries above it."""
    run = locked.lift("setuptools==81.0.0")
    assert run.code == 0, run.err
    kept = "setuptools 58.2.0, a newer one conflicts with other pins"
    assert f"{CPU}: kept: {kept}\n" in run.err
    assert f"{TENSORFLOW}: lifted: setuptools 52.0.0 to 81.0.0\n" in run.err
    assert run.err.endswith("setuptools upgraded in 1 of 2 targets\n")
    assert f"\n# kept: {kept}\n" in locked.lock(CPU, "framework")
    assert locked.versions(CPU, "framework")["setuptools"] == "58.2.0"
    assert locked.versions(TENSORFLOW, "framework")["setuptools"] == "81.0.0"
    assert locked.versions(TENSORFLOW, "libraries")["tokenizers"] == "0.10.3"
    assert (locked.state(CPU).lifted, locked.state(CPU).kept) == (
        {},
        {"setuptools": kept.removeprefix("setuptools ")},
    )
    # What source distributions are built with is no part of an image.
    assert locked.versions(TENSORFLOW, "build")["setuptools"] == "52.0.0"
    check = locked.run("lock", "--check")
    assert (check.code, check.err) == (0, "")
    written = locked.files()
    assert locked.run("lock").code == 0
    assert locked.files() == written


def test_a_second_upgrade_keeps_the_first(index: Index, locked: Project) -> None:
    index.add("2023-08-01", "transformers", "4.12.3.post1", "tokenizers>=0.10")
    assert locked.lift("setuptools==80.9.0").code == 0
    assert locked.lift("tokenizers==0.11.0").code == 0
    assert [upgrade.package for upgrade in locked.target(CPU).upgrades] == [
        "setuptools",
        "tokenizers",
    ]
    for name in (CPU, TENSORFLOW):
        assert locked.state(name).lifted.keys() == {"setuptools", "tokenizers"}
        assert locked.state(name).text == "fresh"


def test_an_upgrade_is_replaced(locked: Project) -> None:
    """By a lower version too; what it lifted is resolved anew, not from where it was."""
    assert locked.lift("setuptools==81.0.0").code == 0
    run = locked.lift("setuptools==80.9.0")
    assert run.code == 0, run.err
    assert f"{CPU}: lifted: setuptools 58.2.0 to 80.9.0\n" in run.err
    assert f"{TENSORFLOW}: lifted: setuptools 52.0.0 to 80.9.0\n" in run.err
    [upgrade] = locked.target(CPU).upgrades
    assert upgrade.requirement == "setuptools==80.9.0"
    assert locked.run("lock", "--check").code == 0


def test_the_same_upgrade_for_another_reason(locked: Project) -> None:
    """Locks do not tell of it, so that they stay as they are."""
    assert locked.lift("tokenizers==0.11.0").code == 0
    locks = locked.locks()
    run = locked.run(
        *("lock", "--upgrade", "tokenizers==0.11.0", "--reason", "CVE-2022-0002"),
        *("--until", "2098-12-31"),
    )
    assert (run.code, run.err) == (
        0,
        "the upgrade of tokenizers is until 2098-12-31 now: CVE-2022-0002\n",
    )
    [upgrade] = locked.target(CPU).upgrades
    assert (upgrade.reason, str(upgrade.until)) == ("CVE-2022-0002", "2098-12-31")
    assert locked.locks() == locks


def test_a_matrix_keeps_its_line_breaks(locked: Project) -> None:
    windows = locked.matrix.read_bytes().replace(b"\n", b"\r\n")
    locked.matrix.write_bytes(windows)
    assert locked.lift("tokenizers==0.11.0").code == 0
    written = locked.matrix.read_bytes()
    assert written.startswith(windows)
    assert written.count(b"\r\n") == written.count(b"\n")
    assert locked.run("lock", "--check").code == 0


# Failures leave nothing behind


def test_a_version_that_cannot_be_fetched(index: Index, locked: Project) -> None:
    """That is no reason to keep the old one: with the index whole, it might be lifted."""
    index.lose("tokenizers", "0.11.0")
    before = locked.files()
    run = locked.lift("tokenizers==0.11.0")
    assert run.code == 9
    assert run.err.startswith(f"dlc: {CPU} cannot be locked:\n")
    assert run.err.endswith("connect to that host, or put its wheels into a wheelhouse\n")
    assert locked.files() == before


def test_a_target_that_cannot_be_locked(index: Index, locked: Project) -> None:
    """The first target could be lifted; nothing is written of it either."""
    index.remove("tensorflow-cpu")
    before = locked.files()
    run = locked.lift("tokenizers==0.11.0")
    assert run.code == 9
    assert run.err.startswith(
        f"{CPU}: lifted: tokenizers 0.10.4 to 0.11.0\ndlc: {TENSORFLOW} cannot be locked:\n"
    )
    assert locked.files() == before


def test_libraries_that_do_not_bear_what_their_framework_does(
    index: Index, project: Project
) -> None:
    """A framework's layer is there for all releases on it, so that they all have to bear it."""
    index.add("2021-10-30", "transformers", "4.12.4", "tokenizers>=0.10", "setuptools<80")
    project.replace(("transformers: 4.12.3", "transformers: 4.12.4"))
    assert project.run("lock").code == 0
    before = project.files()
    run = project.lift("setuptools==80.9.0")
    assert run.code == 9
    assert f"dlc: {CPU.replace('4.12.3', '4.12.4')} cannot be locked:\n" in run.err
    assert "setuptools<80" in run.err
    assert project.files() == before


def test_a_folder_that_cannot_be_written(locked: Project) -> None:
    """Neither the matrix is written nor the locks of other targets."""
    before = locked.matrix.read_bytes()
    place = locked.place(TENSORFLOW)
    for path in place.iterdir():
        path.unlink()
    place.rmdir()
    place.write_text("in the way")
    run = locked.lift("tokenizers==0.11.0")
    assert run.code == 1
    assert run.err.splitlines()[-1].startswith(f"dlc: {place}/build.lock cannot be written: not a ")
    assert locked.matrix.read_bytes() == before
    check = locked.run("lock", "--check")
    assert check.code == 16
    assert check.out.startswith(f"{TENSORFLOW}: missing\n")


# Upgrades and each other


def resolved(project: Project, *upgrades: Upgrade) -> tuple[tuple[str, ...], dict[str, str]]:
    """What became of upgrades in the first target's libraries, and the versions that these have."""
    [target] = (each for each in load_targets(project.matrix) if each.framework == "pytorch")
    lock = Resolver().lock(dataclasses.replace(target, upgrades=upgrades))[2]
    return lock.notes, dict(map(pinned, lock.entries.values()))


@pytest.fixture
def hub(index: Index, project: Project) -> Index:
    """The index with another transformers, which needs a hub."""
    index.add("2021-01-01", "hub", "1.0")
    index.add("2023-01-01", "hub", "2.0")
    index.add("2021-10-30", "transformers", "4.12.4", "tokenizers", "hub")
    project.replace(("transformers: 4.12.3", "transformers: 4.12.4"))
    return index


@pytest.mark.parametrize("order", [1, -1], ids=["needing first", "needed first"])
def test_an_upgrade_that_needs_another(order: int, hub: Index, project: Project) -> None:
    hub.add("2023-06-02", "tokenizers", "0.11.1", "hub>=2")
    upgrades = [wanted("tokenizers", "0.11.1"), wanted("hub", "2.0")][::order]
    notes, versions = resolved(project, *upgrades)
    assert sorted(notes) == ["lifted: hub 1.0 to 2.0", "lifted: tokenizers 0.10.4 to 0.11.1"]
    assert versions == {"hub": "2.0", "tokenizers": "0.11.1", "transformers": "4.12.4"}


@pytest.mark.parametrize("order", [1, -1], ids=["bringing first", "brought first"])
def test_an_upgrade_of_what_another_brings_in(order: int, hub: Index, project: Project) -> None:
    hub.add("2021-01-01", "tool", "1.0")
    hub.add("2023-01-01", "tool", "2.0")
    hub.add("2023-01-01", "hub", "3.0", "tool")
    upgrades = [wanted("hub", "3.0"), wanted("tool", "2.0")][::order]
    notes, versions = resolved(project, *upgrades)
    assert notes == ("lifted: hub 1.0 to 3.0", "lifted: tool 1.0 to 2.0")
    assert (versions["hub"], versions["tool"]) == ("3.0", "2.0")


def test_an_upgrade_that_others_would_make_way_for(hub: Index, project: Project) -> None:
    """An older transformers needs no hub: to leave a package out is not to lift it."""
    hub.add("2021-10-01", "tool", "1.0")
    hub.add("2021-10-02", "tool", "2.0", "hub<2")
    hub.add("2021-10-31", "transformers", "4.12.5", "tool")
    project.replace(("transformers: 4.12.4", "transformers: 4.12.5"))
    notes, versions = resolved(project, wanted("hub", "2.0"))
    assert notes == ("kept: hub 1.0, a newer one conflicts with other pins",)
    assert (versions["hub"], versions["tool"]) == ("1.0", "2.0")


def test_an_upgrade_older_than_a_release(hub: Index, project: Project) -> None:
    """To the newest as of then would be a step back."""
    notes, versions = resolved(project, wanted("tokenizers", date="2021-06-01"))
    assert notes == ("kept: tokenizers 0.10.4, a newer one conflicts with other pins",)
    assert versions["tokenizers"] == "0.10.4"
    assert hub.address


def test_an_upgrade_is_as_of_its_own_date(hub: Index, project: Project) -> None:
    """0.11.0 came a day later than it."""
    hub.add("2023-05-31", "tokenizers", "0.10.5")
    notes, versions = resolved(project, wanted("tokenizers", date="2023-05-31"))
    assert notes == ("lifted: tokenizers 0.10.4 to 0.10.5",)
    assert versions["tokenizers"] == "0.10.5"
