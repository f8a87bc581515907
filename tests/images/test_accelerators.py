"""CUDA's and Neuron's packages: apt's real steps, on repositories with next to empty packages.

They stand in for NVIDIA's and Neuron's by way of the mirrors, and have their layout, their files'
names and the pinned versions, beside newer ones. The base is Debian 12 with its own Python, and
what comes after the accelerator is left out.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import docker
import pytest

from builder.build.bake import Baker, Outcome
from builder.build.bakefile import Job
from builder.cli.progress import Builds, Progress
from builder.dockerfile.render import Renderer
from builder.engine import apt, bases
from builder.engine.connection import Engine
from builder.engine.namespace import labels, local_name
from builder.engine.tagging import remove_image
from builder.matrix.mirrors import Mirrors
from builder.matrix.target import Target
from tests.images import apt_repository
from tests.images.apt_repository import Keyring
from tests.images.conftest import ROOT
from tests.images.mirror_server import nothing_stays, serving
from tests.images.printed import printed

pytestmark = pytest.mark.images

CU110 = "huggingface-tensorflow-inference:2.4.1-transformers4.6.1-gpu-py37-cu110-ubuntu18.04"
CU112 = "huggingface-tensorflow-inference:2.6.3-transformers4.17.0-gpu-py38-cu112-ubuntu20.04"
NEURON = (
    "huggingface-pytorch-inference-neuron:"
    "1.9.1-transformers4.12.3-neuron-py37-sdk1.17.1-ubuntu18.04"
)
NEURONX = (
    "huggingface-pytorch-training-neuronx:"
    "2.1.2-transformers4.43.2-neuronx-py310-sdk2.20.0-ubuntu20.04"
)
ROWS = (CU110, CU112, NEURON, NEURONX)
SUITES = {"neuron": "bionic", "neuronx": "focal"}
KINDS = ("cuda", "neuron")
# The fingerprint that the Dockerfiles have, where the mirrors name none.
NEURON_KEY = "00FA2C1079260870A76D2C285749CAD8646D9185"
NEURON_PROGRAMS = ("neuron-monitor", "neuron-monitor-cloudwatch.py")
# Likewise the hash of NVIDIA's keyring package.
NVIDIAS = "cf5ca9853118b9fb2b78dd2708786e1eb5ab14e39d8738539281429428eb4efe"
OWNER, STRANGER = "Packages <packages@example.com>", "Stranger <stranger@example.com>"


class Quiet(SimpleHTTPRequestHandler):
    """A folder's files."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name above
        """Say nothing."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A server with a folder for each set of repositories, and the keys to sign them with."""

    root: Path
    host: str
    keyring: Keyring
    ours: str
    stranger: str
    base: str
    engine: Engine
    rows: Mapping[str, Target]

    @property
    def keyring_path(self) -> str:
        """Where CUDA's keyring package is, the same for all rows."""
        [path] = {row.cuda_keyring.path for row in self.rows.values() if row.cuda_keyring}
        return path

    def repositories(self, name: str, *, signer: str = "", missing: str = "") -> None:
        """Make repositories for all rows, without the `missing` pin.

        CUDA's comes with a package of our key, Neuron's with a file of ours and the stranger's.
        """
        keys, signer = [self.ours, self.stranger], signer or self.ours
        package = self.root / name / "cuda" / self.keyring_path
        apt_repository.cuda_keyring(package, key=self.ours, keyring=self.keyring)
        for row in self.rows.values():
            wanted = [pin for pin in row.accelerator_packages if pin != missing]
            pins = [*wanted, *(f"{pin}.1" for pin in row.accelerator_packages)]
            folder = self.root / name
            if row.device == "gpu":
                apt_repository.cuda(
                    folder / "cuda",
                    base=row.base.name,
                    pins=pins,
                    signer=signer,
                    keyring=self.keyring,
                )
            else:
                apt_repository.neuron(
                    folder / "neuron",
                    suite=SUITES[row.device],
                    pins=pins,
                    keys=keys,
                    signer=signer,
                    keyring=self.keyring,
                    files={
                        f"opt/aws/neuron/bin/{program}": f"#!/bin/sh\necho {program}\n".encode()
                        for program in (NEURON_PROGRAMS if row.device == "neuron" else ())
                    },
                )

    def keyring_hash(self, name: str) -> str:
        """The SHA-256 of those repositories' keyring package."""
        package = self.root / name / "cuda" / self.keyring_path
        return hashlib.sha256(package.read_bytes()).hexdigest()

    def mirrors(self, name: str, *, keys: bool = True) -> Mirrors:
        """What sends builds to those repositories; with our `keys`, unless not."""
        address = f"http://{self.host}/{name}"
        ours = {"CUDA_PACKAGES": self.keyring_hash(name), "NEURON_PACKAGES": self.ours}
        return Mirrors(
            sources={"CUDA_PACKAGES": f"{address}/cuda", "NEURON_PACKAGES": f"{address}/neuron"},
            keys=ours if keys else {},
        )

    def build(self, folder: Path, mirrors: Mirrors, *names: str) -> list[Outcome]:
        """Build rows up to their accelerator; `folder` is for what that needs."""
        renderer = Renderer(_templates(folder / "templates"))
        jobs = []
        for name in names:
            row = self.rows[name]
            context = folder / row.folder
            context.mkdir(parents=True)
            for file, content in renderer.files(row).items():
                (context / file).write_bytes(content)
                (context / file).chmod(0o755)
            for lock in ("tools.lock", "build.lock"):
                shutil.copy(ROOT / "images" / name.replace(":", "/") / lock, context)
            arguments = {"BASE": self.base, "TOOLS_BASE": self.base}
            jobs.append(Job(target=row, context=context, arguments=arguments, labels=labels()))
        return Baker(self.engine, Builds(Progress())).build(
            jobs, at_once=len(jobs), mirrors=mirrors
        )


def _templates(folder: Path) -> Path:
    """Templates of the accelerator and what it stands on alone, in a folder of their own.

    No step of an earlier build will do for the accelerator's, and apt's caches are not those of
    real images, which have another distribution.
    """
    ours = ROOT / "templates"
    stages = folder / "stages"
    stages.mkdir(parents=True)
    for name in ("toolchain", "framework", "libraries", "inference", "training"):
        (stages / f"{name}.j2").write_text("# Left out.\n", "utf-8")
    for kind in KINDS:
        text = (ours / f"stages/{kind}.j2").read_text("utf-8")
        (stages / f"{kind}.j2").write_text(f"ENV FOLDER={folder}\n{text}", "utf-8")
        text = (ours / f"stages/{kind}-keyring.j2").read_text("utf-8")
        step = "RUN {{ site_mounts() }}"
        assert text.count(step) == 1
        text = text.replace(step, f"ENV FOLDER={folder}\n{step}")
        (stages / f"{kind}-keyring.j2").write_text(text, "utf-8")
    macros = (ours / "macros.j2").read_text("utf-8")
    assert macros.count("{{ os }}") == 2
    (folder / "macros.j2").write_text(macros.replace("{{ os }}", "accelerators"), "utf-8")
    return folder


@contextmanager
def _keyring() -> Iterator[Keyring]:
    if not (shutil.which("gpg") and shutil.which("gpg-agent")):
        try:
            apt.install("gnupg", say=print)
        except apt.InstallError as error:
            pytest.skip(f"gpg is not here and cannot be installed: {error}")
    # Not below pytest's folder: the path of a socket may be no longer than 107 characters.
    with tempfile.TemporaryDirectory(prefix="dlc-gpg-") as home:
        keyring = Keyring(Path(home))
        try:
            yield keyring
        finally:
            keyring.close()


def _of_our_own(client: docker.DockerClient, base: str) -> str:
    """The base under another id, so that no step is also one of the real images.

    While one of those is built, Engine 20.10 finds no step after a shared one in its cache.
    """
    tag = local_name("accelerators-base:1")
    client.images.build(
        fileobj=io.BytesIO(f"FROM {base}\nLABEL accelerators=1\n".encode()),
        tag=tag,
        labels=labels(),
        rm=True,
    )
    return tag


@pytest.fixture(scope="module")
def site(
    engine: Engine,
    client: docker.DockerClient,
    targets: tuple[Target, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("packages cannot be made: dpkg-deb is not here")
    debian = next(target.tools_base for target in targets)
    source = bases.BaseSource(name=debian.name, image=debian.image, bootstrap=debian.bootstrap)
    base = _of_our_own(client, bases.ensure(engine, source, say=print).reference)
    [python] = debian.pythons
    rows = {
        target.name: replace(
            target,
            python=python,
            standalone_python="",
            base=replace(debian, name=target.base.name),
            stand_in=target.base.name,
        )
        for target in targets
        if target.name in ROWS
    }
    root = tmp_path_factory.mktemp("repositories")
    with serving(client, partial(Quiet, directory=str(root))) as host, _keyring() as keyring:
        yield Site(
            root=root,
            host=host,
            keyring=keyring,
            ours=keyring.make(OWNER),
            stranger=keyring.make(STRANGER),
            base=base,
            engine=engine,
            rows=rows,
        )


@pytest.fixture(scope="module")
def built(
    site: Site, client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, str]]:
    """The images of all rows, by row."""
    site.repositories("ours")
    folder = tmp_path_factory.mktemp("built")
    outcomes = dict(zip(ROWS, site.build(folder, site.mirrors("ours"), *ROWS), strict=True))
    try:
        assert not [_told(outcome) for outcome in outcomes.values() if outcome.error]
        yield {name: local_name(outcome.target.name) for name, outcome in outcomes.items()}
    finally:
        for outcome in outcomes.values():
            if outcome.image_id:
                remove_image(client, local_name(outcome.target.name))


def _told(outcome: Outcome) -> str:
    """All that a user gets to read of a build that failed."""
    return "\n".join([outcome.step, *outcome.output[-40:], outcome.error])


def test_the_rows_are_one_for_each_set_of_packages(targets: tuple[Target, ...]) -> None:
    """By the packages' names; the first of Neuronx's SDKs has one less than the rest."""
    names = {
        target.name: (target.device, {pin.partition("=")[0] for pin in target.accelerator_packages})
        for target in targets
        if target.accelerator_packages
    }
    rows = [names[name] for name in ROWS]
    for device, pins in names.values():
        assert [own for kind, own in rows if kind == device and pins <= own], pins
    assert all(
        kind != other or not own <= more
        for (kind, own), (other, more) in itertools.permutations(rows, 2)
    )


@pytest.mark.parametrize("row", ROWS)
def test_the_pins_are_installed(
    row: str, built: Mapping[str, str], site: Site, client: docker.DockerClient
) -> None:
    pins = site.rows[row].accelerator_packages
    names = [pin.partition("=")[0] for pin in pins]
    query = ["dpkg-query", "--show", "--showformat", "${Package}=${Version} ${Status}\n", *names]
    output = printed(client, built[row], query)
    installed = sorted(output.decode().splitlines())
    assert installed == sorted(f"{pin} install ok installed" for pin in pins)


@pytest.mark.parametrize("row", ROWS)
def test_no_file_is_named_after_the_repository(
    row: str, built: Mapping[str, str], client: docker.DockerClient
) -> None:
    find = ["find", "/etc/apt", "/mnt", "/media", "-name", "cuda*", "-o", "-name", "neuron*"]
    assert printed(client, built[row], find) == b""


def test_nothing_of_the_repository_stays(
    built: Mapping[str, str], site: Site, client: docker.DockerClient
) -> None:
    """In no layer of any row."""
    armor = site.keyring.export(site.ours).splitlines()[2]
    key = site.keyring.export(site.ours, armor=False)[:40]
    secrets = [*(text.encode() for text in (site.host, site.ours, OWNER)), armor, key]
    nothing_stays(client, list(built.values()), secrets)


@pytest.mark.parametrize(("row", "version"), [(CU110, "11.0"), (CU112, "11.2")])
def test_cuda_is_set_up(
    row: str, version: str, built: Mapping[str, str], client: docker.DockerClient
) -> None:
    variables = client.images.get(built[row]).attrs["Config"]["Env"]
    assert {
        "NVIDIA_VISIBLE_DEVICES=all",
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
        f"NVIDIA_REQUIRE_CUDA=cuda>={version}",
        "TF_FORCE_GPU_ALLOW_GROWTH=true",
    } <= set(variables)
    loader = printed(client, built[row], ["cat", "/etc/ld.so.conf.d/cuda.conf"])
    assert loader == f"/usr/local/cuda-{version}/lib64\n".encode()


def test_neuron_is_set_up(built: Mapping[str, str], client: docker.DockerClient) -> None:
    variables = dict(
        line.split("=", 1) for line in client.images.get(built[NEURON]).attrs["Config"]["Env"]
    )
    assert variables["PATH"].split(":")[:2] == ["/opt/aws/neuron/bin", "/opt/venv/bin"]
    assert not [name for name in variables if name.startswith("NVIDIA_")]
    find = ["sh", "-c", f"for name in {' '.join(NEURON_PROGRAMS)}; do command -v $name; done"]
    found = printed(client, built[NEURON], find)
    assert found.decode().split() == [f"/opt/aws/neuron/bin/{name}" for name in NEURON_PROGRAMS]


def test_the_linker_finds_neuronx(built: Mapping[str, str], client: docker.DockerClient) -> None:
    show = ["cat", "/etc/ld.so.conf.d/neuron.conf"]
    assert printed(client, built[NEURONX], show) == b"/opt/aws/neuron/lib\n"


def test_another_signature_is_refused(site: Site, tmp_path: Path) -> None:
    """The repository offers the right key, but is signed with a stranger's."""
    site.repositories("stranger", signer=site.stranger)
    for outcome in site.build(tmp_path, site.mirrors("stranger"), CU110, NEURON):
        told = _told(outcome)
        assert outcome.error, outcome.target.name
        assert f"NO_PUBKEY {site.stranger[-16:]}" in told
        assert f"http://{site.host}/stranger/" in told
        assert "is not signed" in told


def test_without_keys_only_the_real_key_will_do(site: Site, tmp_path: Path) -> None:
    site.repositories("unnamed")
    mirrors = site.mirrors("unnamed", keys=False)
    for outcome in site.build(tmp_path, mirrors, CU110, NEURON):
        told = _told(outcome)
        assert outcome.error, outcome.target.name
        if outcome.target.device == "gpu":
            assert _refusal(site, "unnamed", NVIDIAS) in told
        else:
            assert f"has no key {NEURON_KEY}; name the site's own under keys" in told


def test_another_keyring_package_than_the_named_one_is_refused(site: Site, tmp_path: Path) -> None:
    site.repositories("changed")
    mirrors = site.mirrors("changed")
    wanted = site.keyring_hash("changed")
    apt_repository.cuda_keyring(
        site.root / "changed/cuda" / site.keyring_path, key=site.stranger, keyring=site.keyring
    )
    [outcome] = site.build(tmp_path, mirrors, CU112)
    assert outcome.error
    assert _refusal(site, "changed", wanted) in _told(outcome)


def _refusal(site: Site, name: str, wanted: str) -> str:
    return (
        f"{site.keyring_path} has SHA-256 {site.keyring_hash(name)}, not {wanted}; "
        "name that of the site's own under keys in the mirrors"
    )


@pytest.mark.parametrize(
    ("row", "missing"),
    [
        (CU110, "libcudnn8=8.0.5.39-1+cuda11.0"),
        (CU112, "libcublas-11-2=11.4.1.1026-1"),
        (NEURON, "aws-neuron-tools=2.0.623.0"),
    ],
)
def test_a_missing_version_is_named(row: str, missing: str, site: Site, tmp_path: Path) -> None:
    name, _, version = missing.partition("=")
    site.repositories(name, missing=missing)
    [outcome] = site.build(tmp_path, site.mirrors(name), row)
    assert outcome.error
    assert f"E: Version '{version}' for '{name}' was not found" in _told(outcome)
