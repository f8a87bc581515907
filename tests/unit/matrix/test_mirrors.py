"""Mirrors: reading them, what they map, and the script that steps of a build read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from builder.errors import MatrixError
from builder.matrix.mirrors import Archive, Mirrors, find, read, script
from tests.conftest import GOLDEN, Dlc

SITE = """\
registries: {docker.io: registry.example/hub}
archives:
  debian12: {main: "https://mirror.example/debian", security: "https://mirror.example/security"}
  ubuntu20.04: {main: "https://mirror.example/ubuntu"}
sources:
  PYTORCH_WHEELS: https://mirror.example/pytorch
  CUDA_PACKAGES: https://mirror.example/cuda
keys: {CUDA_PACKAGES: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef}
index: https://mirror.example/simple
netrc: NETRC
"""
SECRET = "machine mirror.example login me password it's $ecret\n"  # noqa: S105


@pytest.fixture
def site(tmp_path: Path) -> Mirrors:
    """A site with a mirror of each kind."""
    (tmp_path / "netrc").write_text(SECRET, "utf-8")
    path = tmp_path / "mirrors.yaml"
    path.write_text(SITE.replace("NETRC", str(tmp_path / "netrc")), "utf-8")
    bases, sources = ["debian12", "ubuntu20.04"], ["PYTORCH_WHEELS", "CUDA_PACKAGES"]
    return read(path, bases=bases, sources=sources)


def test_read(site: Mirrors) -> None:
    assert site.registries == {"docker.io": "registry.example/hub"}
    assert site.archives["debian12"].security == "https://mirror.example/security"
    assert site.archives["ubuntu20.04"] == Archive(
        main="https://mirror.example/ubuntu", security="https://mirror.example/ubuntu"
    )
    assert site.index == "https://mirror.example/simple"
    assert site.credentials == SECRET


@pytest.mark.parametrize(
    ("reference", "mapped"),
    [
        ("ubuntu:20.04@sha256:00", "registry.example/hub/library/ubuntu:20.04@sha256:00"),
        ("team/image:1", "registry.example/hub/team/image:1"),
        ("docker.io/team/image:1", "registry.example/hub/team/image:1"),
        ("public.example/image:1", "public.example/image:1"),
        ("localhost/image", "localhost/image"),
        ("host:5000/image", "host:5000/image"),
    ],
)
def test_images(site: Mirrors, reference: str, mapped: str) -> None:
    assert site.image(reference) == mapped
    assert Mirrors().image(reference) == reference


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (
            "archives: {debian13: {main: 'https://a.example/x'}}\nsources: {PYTORCH: 'https://a'}\n",
            [
                "1:12: the matrix has no 'debian13'; did you mean 'debian12'?",
                "2:11: the matrix has no 'PYTORCH'; did you mean 'PYTORCH_WHEELS'?",
            ],
        ),
        (
            "index: https://a.example/simple/\n",
            [
                "1:8: 'https://a.example/simple/' is not an address without a slash at its end; "
                "write one like https://mirror.example/path"
            ],
        ),
        (
            "keys: {CUDA_PACKAGES: ABC, NEURON_PACKAGES: abc}\n",
            [
                "1:23: 'ABC' is not the SHA-256 of a keyring package; "
                "write one like cf5ca985... (64 hexadecimal digits)",
                "1:45: 'abc' is not a key's fingerprint; write one like 00FA2C10... "
                "(40 hexadecimal digits)",
            ],
        ),
        (
            "keys: {PYTORCH_WHEELS: abc}\n",
            [
                "1:8: 'PYTORCH_WHEELS' is not a key of the keys; known: "
                "CUDA_PACKAGES, NEURON_PACKAGES"
            ],
        ),
        (
            "netrc: /nowhere/at/all\n",
            [
                "1:8: /nowhere/at/all cannot be read: No such file or directory; "
                "fix or remove `netrc`"
            ],
        ),
        (
            "archives: {debian12: {security: 'https://a.example/s', snapshot: 'https://a.example/p'}}\n",
            ["1:12: debian12 has no `main`; only `snapshot` can stand alone"],
        ),
        ("mirror: x\n", ["1:1: 'mirror' is not a key of the mirrors; known: "]),
    ],
    ids=["unknown names", "slash", "key", "another key", "netrc", "only security", "section"],
)
def test_mistakes(text: str, messages: list[str], tmp_path: Path) -> None:
    path = tmp_path / "mirrors.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(MatrixError) as caught:
        read(path, bases=["debian12"], sources=["PYTORCH_WHEELS"])
    said = str(caught.value).splitlines()
    assert len(said) == len(messages)
    for line, message in zip(said, messages, strict=True):
        assert line.startswith(f"{path}:{message}")


def test_where_they_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DLC_MIRRORS", raising=False)
    assert find(tmp_path) is None
    (tmp_path / "mirrors.yaml").touch()
    assert find(tmp_path) == tmp_path / "mirrors.yaml"
    monkeypatch.setenv("DLC_MIRRORS", "/elsewhere.yaml")
    assert find(tmp_path) == Path("/elsewhere.yaml")


@pytest.mark.parametrize("command", ["plan", "list"])
@pytest.mark.parametrize("how", ["--mirrors", "DLC_MIRRORS"])
def test_mirrors_that_are_named_and_missing(
    how: str, command: str, dlc: Dlc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For commands that need no mirrors, too: who named them believes that they count."""
    path = tmp_path / "nowhere.yaml"
    if how == "DLC_MIRRORS":
        monkeypatch.setenv(how, str(path))
    given = (how, path) if how == "--mirrors" else ()
    run = dlc("--matrix", GOLDEN / "matrix.yaml", command, *given)
    said = f"dlc: {how} names {path}, which does not exist; write it (docs/building.md)"
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith(said)


def test_messages_about_mirrors_speak_of_mirrors(tmp_path: Path) -> None:
    path = tmp_path / "mirrors.yaml"
    for content in (b"index: \xff\n", b"index: a\x01b\n", b""):
        path.write_bytes(content)
        with pytest.raises(MatrixError) as caught:
            read(path, bases=[], sources=[])
        assert "matrix" not in str(caught.value).removeprefix(str(tmp_path))


# The script


def run(text: str, system: str, tmp_path: Path) -> dict[str, str]:
    """Read the script as a step of a build does; the variables and the files that it leaves."""
    media, release = tmp_path / "media", tmp_path / "os-release"
    media.mkdir()
    release.write_text(system, "utf-8")
    text = text.replace("/media/", f"{media}/").replace("/etc/os-release", str(release))
    (media / "site").write_text(text, "utf-8")
    result = subprocess.run(
        ["sh", "-euc", f'test ! -f "{media}/site" || . "{media}/site"; env -0'],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stderr == ""
    variables = dict(each.split("=", 1) for each in result.stdout.split("\0") if each)
    files = {path.name: path.read_text("utf-8") for path in media.iterdir() if path.is_file()}
    return {
        name: each.replace(str(media), "/media") for name, each in {**variables, **files}.items()
    }


DEBIAN = "ID=debian\nVERSION_ID=12\nVERSION_CODENAME=bookworm\n"
UBUNTU = 'ID=ubuntu\nVERSION_ID="20.04"\nVERSION_CODENAME=focal\n'


def test_without_mirrors_there_is_no_script() -> None:
    assert script(Mirrors(), "certificates") == ""


@pytest.mark.integration
def test_variables(site: Mirrors, tmp_path: Path) -> None:
    found = run(script(site), DEBIAN, tmp_path)
    assert found["UV_DEFAULT_INDEX"] == found["PIP_INDEX_URL"] == "https://mirror.example/simple"
    assert "PIP_TRUSTED_HOST" not in found
    assert found["PYTORCH_WHEELS"] == "https://mirror.example/pytorch"
    assert found["CUDA_KEY"] == "0123456789abcdef" * 4
    assert (found["NETRC"], found["netrc"]) == ("/media/netrc", SECRET)


@pytest.mark.integration
def test_apt_on_debian(site: Mirrors, tmp_path: Path) -> None:
    found = run(script(site, "the certificates"), DEBIAN, tmp_path)
    assert found["sources.list"].splitlines() == [
        "deb https://mirror.example/debian bookworm main",
        "deb https://mirror.example/debian bookworm-updates main",
        "deb https://mirror.example/security bookworm-security main",
    ]
    assert found["apt.conf"].splitlines() == [
        'Dir::Etc::netrc "/media/netrc";',
        'Acquire::https::CaInfo "/media/ca.pem";',
        'Dir::Etc::SourceList "/media/sources.list";',
        'Dir::Etc::SourceParts "/media/parts";',
    ]
    assert found["ca.pem"] == "the certificates"
    assert found["APT_CONFIG"] == "/media/apt.conf"


@pytest.mark.integration
def test_apt_on_ubuntu(site: Mirrors, tmp_path: Path) -> None:
    found = run(script(site), UBUNTU, tmp_path)
    assert found["sources.list"].splitlines() == [
        "deb https://mirror.example/ubuntu focal main universe",
        "deb https://mirror.example/ubuntu focal-updates main universe",
        "deb https://mirror.example/ubuntu focal-security main universe",
    ]


@pytest.mark.integration
def test_a_distribution_without_a_mirror_keeps_its_own(site: Mirrors, tmp_path: Path) -> None:
    found = run(script(site), UBUNTU.replace("20.04", "18.04"), tmp_path)
    assert not {"APT_PARTS", "sources.list"} & found.keys()
    # Its repositories of NVIDIA's or Neuron's may want a password all the same.
    assert found["apt.conf"] == 'Dir::Etc::netrc "/media/netrc";\n'
    assert found["PIP_INDEX_URL"] == "https://mirror.example/simple"
