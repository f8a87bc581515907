"""The bake file, and the certificates that go into a build."""

from __future__ import annotations

import datetime
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from builder.build.bake import Baker
from builder.build.bakefile import Job, definition, target_id
from builder.cli.progress import Builds, Progress
from builder.engine.build_secrets import certificates_secret
from builder.engine.connection import Engine
from builder.errors import BuildError
from builder.matrix.mirrors import Mirrors, read, script
from builder.matrix.target import Target
from tests.conftest import Dlc, Run

CPU = "huggingface-pytorch-inference:1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04"
ID = "huggingface-pytorch-inference_1_9_1-transformers4_12_3-cpu-py38-ubuntu20_04"
BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE")


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller without proxies and certificates of their own."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "FTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in BUNDLES:
        monkeypatch.delenv(name, raising=False)


def seconds(target: Target) -> str:
    """The first second of the date of a target's locks, as SOURCE_DATE_EPOCH."""
    return str((target.date - datetime.date(1970, 1, 1)).days * 24 * 60 * 60)


def job(target: Target) -> Job:
    return Job(
        target=target,
        context=Path("/contexts") / target.folder,
        arguments={"BASE": "base@sha256:00", "TOOLS_BASE": "tools@sha256:11"},
        labels={"dlc.key": "0", "dlc.base": "pulled"},
    )


def test_definition(small: dict[str, Target]) -> None:
    assert definition([job(small[CPU])], {"ca-bundle": Path("/etc/ca.pem"), "a": Path("b")}) == {
        "target": {
            ID: {
                "context": f"/contexts/{small[CPU].folder}",
                "dockerfile": "Dockerfile",
                "args": {
                    "BASE": "base@sha256:00",
                    "TOOLS_BASE": "tools@sha256:11",
                    "SOURCE_DATE_EPOCH": seconds(small[CPU]),
                },
                "labels": {"dlc.base": "pulled", "dlc.key": "0"},
                "secret": ["id=a,src=b", "id=ca-bundle,src=/etc/ca.pem"],
                "platforms": ["linux/amd64"],
                "output": ["type=docker"],
            }
        }
    }


def test_every_target_has_an_id_of_its_own(targets: tuple[Target, ...]) -> None:
    found = definition([job(target) for target in targets], {})["target"]
    assert list(found) == [target_id(target) for target in targets]
    assert len(found) == len(targets)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for name in found)


def test_arguments_are_those_of_the_dockerfile(small: dict[str, Target], golden: Path) -> None:
    for target in small.values():
        text = (golden / target.folder / "Dockerfile").read_text("utf-8")
        assert set(re.findall(r"^ARG (\w+)", text, re.MULTILINE)) == {"BASE", "TOOLS_BASE"}


def test_secrets_are_those_of_the_dockerfile(small: dict[str, Target], golden: Path) -> None:
    for target in small.values():
        text = (golden / target.folder / "Dockerfile").read_text("utf-8")
        assert set(re.findall(r"type=secret,id=([\w-]+)", text)) == {"ca-bundle", "site"}


def test_proxies(small: dict[str, Target], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:p${x}%{y}@proxy.example:3128")
    monkeypatch.setenv("no_proxy", "localhost")
    monkeypatch.setenv("HTTP_PROXY", "")
    monkeypatch.setenv("RSYNC_PROXY", "none of ours")
    [found] = definition([job(small[CPU])], {})["target"].values()
    assert found["args"] == {
        "HTTPS_PROXY": "http://user:p$${x}%%{y}@proxy.example:3128",
        "no_proxy": "localhost",
        "BASE": "base@sha256:00",
        "TOOLS_BASE": "tools@sha256:11",
        "SOURCE_DATE_EPOCH": seconds(small[CPU]),
    }


def test_no_bundle() -> None:
    assert certificates_secret() is None


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(b"x" * 500 * 1024)
    monkeypatch.setenv(name, str(path))
    assert certificates_secret() == path


def test_the_first_bundle_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in reversed(BUNDLES):
        path = tmp_path / f"{name}.pem"
        path.touch()
        monkeypatch.setenv(name, str(path))
        assert certificates_secret() == path
    monkeypatch.setenv(BUNDLES[0], "")
    assert certificates_secret() == tmp_path / f"{BUNDLES[1]}.pem"


def test_a_missing_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (tmp_path, tmp_path / "none.pem"):
        monkeypatch.setenv("PIP_CERT", str(path))
        with pytest.raises(BuildError) as caught:
            certificates_secret()
        assert str(caught.value) == (
            f"PIP_CERT names {path}, which is no file; fix or unset PIP_CERT"
        )


def test_a_bundle_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(b"x" * (500 * 1024 + 1))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(BuildError) as caught:
        certificates_secret()
    assert str(caught.value) == (
        f"{path} is larger than a build secret may be (500 KiB); "
        "point SSL_CERT_FILE at a bundle with the certificates that you need"
    )


def test_dry_run(dlc: Dlc, golden: Path, small: dict[str, Target]) -> None:
    run = dlc(
        *("--matrix", golden / "matrix.yaml", "build", "*cpu*", "--dry-run", "--format", "json")
    )
    assert (run.code, run.err) == (0, "")
    found = json.loads(run.out)["target"]
    assert list(found) == [target_id(t) for t in small.values() if t.device == "cpu"]
    digest = small[CPU].base.image.partition("@sha256:")[2]
    assert found[ID]["args"]["BASE"] == f"dlc-base/{small[CPU].base.name}:{digest[:12]}"
    assert found[ID]["args"]["TOOLS_BASE"].startswith(f"dlc-base/{small[CPU].tools_base.name}:")
    assert found[ID]["context"] == str(golden / "images" / small[CPU].folder)


SITE = """\
index: https://mirror.example/simple
keys: {NEURON_PACKAGES: 0123456789ABCDEF0123456789ABCDEF01234567}
netrc: NETRC
"""
SECRET = "machine mirror.example login me password hush\n"  # noqa: S105


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A file of mirrors, with credentials."""
    (tmp_path / "netrc").write_text(SECRET, "utf-8")
    path = tmp_path / "site.yaml"
    path.write_text(SITE.replace("NETRC", str(tmp_path / "netrc")), "utf-8")
    return path


def test_dry_run_names_the_secret_of_the_mirrors(
    dlc: Dlc, golden: Path, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("CERTIFICATES", "utf-8")
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.chdir(tmp_path)
    options = ("--matrix", golden / "matrix.yaml", "--mirrors", site)
    run = dlc(*options, "build", CPU, "--dry-run", "--format", "json")
    path = tmp_path / "dlc-site"
    assert run.code == 0
    assert json.loads(run.out)["target"][ID]["secret"] == [
        f"id=ca-bundle,src={bundle}",
        f"id=site,src={path}",
    ]
    assert "hush" not in run.out + run.err
    assert not path.exists()

    # The command that it names writes what a build by `dlc` itself gets.
    _, _, command = run.err.strip().partition(" to be: dlc ")
    told = dlc(*shlex.split(command))
    assert told == Run(code=0, out="", err=f"wrote {path}; it may have credentials\n")
    [wanted] = {script(read(site, bases=[], sources=[]), "CERTIFICATES")}
    assert path.read_text("utf-8") == wanted
    assert SECRET.strip() in wanted
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_script_is_replaced_and_never_readable(
    dlc: Dlc, golden: Path, site: Path, tmp_path: Path
) -> None:
    path = tmp_path / "script"
    path.touch(mode=0o644)
    run = dlc(
        *("--matrix", golden / "matrix.yaml", "--mirrors", site), *("mirrors", "script", path)
    )
    assert run.code == 0
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_mirrors_no_script(
    dlc: Dlc, golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DLC_MIRRORS", raising=False)
    run = dlc("--matrix", golden / "matrix.yaml", "mirrors", "script", tmp_path / "script")
    assert run.code == 2
    assert "there are no mirrors, so builds need no script; see --mirrors" in run.err
    assert not (tmp_path / "script").exists()


def test_a_script_that_is_too_large(
    dlc: Dlc, golden: Path, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(b"x" * 500 * 1024)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    run = dlc(
        *("--matrix", golden / "matrix.yaml", "--mirrors", site),
        *("mirrors", "script", tmp_path / "script"),
    )
    assert run.code == BuildError.exit_code
    assert "are larger than a build secret may be (500 KiB)" in run.err
    assert not (tmp_path / "script").exists()


def test_dry_run_prints_no_credentials_of_proxies(
    dlc: Dlc, golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hush@proxy.example:3128")
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    run = dlc("--matrix", golden / "matrix.yaml", "build", CPU, "--dry-run", "--format", "json")
    assert (run.code, run.err) == (0, "")
    assert "hush" not in run.out
    found = json.loads(run.out)
    assert found["variable"] == {"HTTPS_PROXY": {"default": ""}}
    assert found["target"][ID]["args"]["HTTPS_PROXY"] == "${HTTPS_PROXY}"
    assert found["target"][ID]["args"]["http_proxy"] == "http://proxy.example:3128"


BUILDX = """#!{python}
import json, os, pathlib, re, sys
options = dict(zip(sys.argv[1:], sys.argv[2:]))
[target] = json.loads(pathlib.Path(options["--file"]).read_text())["target"].values()
seen = [json.dumps(target)]
for text in target["secret"]:
    seen.append(pathlib.Path(re.search("src=(.*)", text)[1]).read_text())
pathlib.Path("{seen}").write_text("\\n".join(seen))
left = [p for p in pathlib.Path("{temporary}").rglob("*") if p.is_file()]
pathlib.Path("{disk}").write_text("".join(p.read_text() for p in left))
sys.exit("ERROR: enough seen")
"""


@pytest.mark.integration
def test_credentials_reach_a_build_and_no_disk(
    small: dict[str, Target], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill leaves nothing of them, as there was nothing."""
    temporary, seen, disk = tmp_path / "temporary", tmp_path / "seen", tmp_path / "disk"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setenv("https_proxy", "http://me:hush@proxy.example")
    program = tmp_path / "buildx"
    text = BUILDX.format(python=sys.executable, seen=seen, disk=disk, temporary=temporary)
    program.write_text(text, "utf-8")
    program.chmod(0o755)
    engine = Engine(host="unix:///x", version="27", private=False, buildx=(str(program),))
    mirrors = Mirrors(credentials="machine m.example login me password hush-hush\n")
    [outcome] = Baker(engine, Builds(Progress())).build(
        [job(small[CPU])], at_once=1, mirrors=mirrors
    )
    assert outcome.error == "ERROR: enough seen"
    assert "me:hush@proxy.example" in seen.read_text("utf-8")
    assert "password hush-hush" in seen.read_text("utf-8")
    assert "hush" not in disk.read_text("utf-8")
    assert list(temporary.iterdir()) == []
