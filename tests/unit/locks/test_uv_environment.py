"""What of the caller's environment and configuration reaches uv."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import uv

from builder.errors import LockError, UnansweredError
from builder.locks.uv.compile import Question, compile_requirements
from builder.locks.uv.environment import passes, uv_environment
from builder.matrix.mirrors import Mirrors
from builder.util.memory import MemoryFiles, memory_files
from tests.conftest import Dlc
from tests.package_index import PackageIndex, sdist, wheel
from tests.unit.locks.test_resolve import only

# What uv's help names that says which versions and files to choose, or with what to run. A variable
# of a new uv stands in neither list: put it into this one or into WHERE_AND_HOW.
REFUSED = {
    *("UV_BUILD_CONSTRAINT", "UV_CONSTRAINT", "UV_EXCLUDE", "UV_EXCLUDE_NEWER", "UV_OVERRIDE"),
    *("UV_FORK_STRATEGY", "UV_INDEX_STRATEGY", "UV_PRERELEASE", "UV_RESOLUTION"),
    *("UV_CONFIG_FILE", "UV_NO_CONFIG", "UV_PROJECT", "UV_WORKING_DIR", "UV_WORKING_DIRECTORY"),
    *("UV_NO_BUILD_ISOLATION", "UV_NO_SOURCES", "UV_LINK_MODE", "UV_TORCH_BACKEND"),
    *("UV_MANAGED_PYTHON", "UV_NO_MANAGED_PYTHON", "UV_NO_PYTHON_DOWNLOADS", "UV_PYTHON"),
    *("UV_PYTHON_DOWNLOADS", "UV_SYSTEM_PYTHON"),
    *("UV_CUSTOM_COMPILE_COMMAND", "UV_NO_PROGRESS", "UV_NO_SOURCES_PACKAGE"),
}


@pytest.mark.integration
def test_every_variable_of_uv_is_known() -> None:
    told = subprocess.run(
        [uv.find_uv_bin(), "help", "pip", "compile"], capture_output=True, text=True, check=True
    )
    named = set(re.findall(r"\[env: `?(UV_[A-Z_]+)", told.stdout))
    assert len(named) > 20, "uv's help is written otherwise now"
    assert {name for name in named if not passes(name)} - REFUSED == set()
    assert not any(map(passes, REFUSED))


@pytest.fixture
def index() -> PackageIndex:
    return PackageIndex(
        wheel("alpha", "1.0"), wheel("alpha", "1.1"), wheel("alpha", "2.0rc1"), wheel("beta", "1")
    )


@pytest.mark.integration
def test_nothing_of_the_caller_chooses(
    index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = tmp_path / "pins"
    pins.write_text("alpha==1.0\n", "utf-8")
    with index:
        only(monkeypatch, UV_CACHE_DIR=tmp_path / "cache", **index.environment)
        for name in ("UV_OVERRIDE", "UV_CONSTRAINT", "UV_EXCLUDE", "PIP_CONSTRAINT"):
            monkeypatch.setenv(name, str(pins))
        monkeypatch.setenv("UV_PRERELEASE", "allow")
        monkeypatch.setenv("UV_RESOLUTION", "lowest")
        monkeypatch.setenv("UV_EXCLUDE_NEWER", "2000-01-01")
        monkeypatch.setenv("UV_EXCLUDE_NEWER_PACKAGE", "alpha=2000-01-01")
        monkeypatch.setenv("UV_NO_BINARY", "1")
        monkeypatch.setenv("UV_TORCH_BACKEND", "nonsense")
        monkeypatch.setenv("UV_PYTHON", "3.99")
        monkeypatch.setenv("UV_NEXT_YEARS_OPTION", "1")
        monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "none.toml"))
        question = Question(requirements=("alpha", "beta"), python="3.9", date="2025-06-01")
        found = compile_requirements(question, "me")
    assert [entry.split()[0] for entry in found.values()] == ["alpha==1.1", "beta==1"]


@pytest.mark.integration
def test_no_configuration_of_the_caller_chooses(
    index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uv").mkdir()
    for path in (tmp_path / "uv.toml", tmp_path / "uv" / "uv.toml"):
        path.write_text('prerelease = "allow"\n', "utf-8")
    (tmp_path / "pyproject.toml").write_text('[tool.uv]\nprerelease = "allow"\n', "utf-8")
    monkeypatch.chdir(tmp_path)
    with index:
        only(monkeypatch, UV_CACHE_DIR=tmp_path / "cache", **index.environment)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        found = compile_requirements(Question(requirements=("alpha",), python="3.9"), "me")
    assert found["alpha"].startswith("alpha==1.1 ")


@pytest.mark.integration
def test_the_index_of_the_mirrors_goes_before_the_callers(
    index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with index, PackageIndex(wheel("alpha", "1.7")) as site:
        only(monkeypatch, UV_CACHE_DIR=tmp_path / "cache", **index.environment)
        monkeypatch.setenv("UV_INDEX_URL", index.url)
        question = Question(requirements=("alpha",), python="3.9", date="2025-06-01")
        found = compile_requirements(question, "me", Mirrors(index=site.url))
    assert found["alpha"].startswith("alpha==1.7 ")
    assert index.asked == []


@pytest.mark.integration
@pytest.mark.parametrize("how", ["mirrors", "address", "variables"])
def test_credentials_of_an_index(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = {
        "old.egg-info/PKG-INFO": b"Metadata-Version: 1.1\nName: old\nVersion: 1\n",
        "old.egg-info/requires.txt": b"alpha\n",
    }
    with PackageIndex(wheel("alpha", "1"), sdist("old", "1", files=noted)) as index:
        index.login = ("me", "hush")
        only(monkeypatch, UV_CACHE_DIR=tmp_path / "cache")
        mirrors = Mirrors()
        if how == "mirrors":
            netrc = "machine 127.0.0.1 login me password hush\n"
            mirrors = Mirrors(index=index.url, credentials=netrc)
        elif how == "address":
            monkeypatch.setenv("UV_DEFAULT_INDEX", index.url.replace("//", "//me:hush@"))
        else:
            monkeypatch.setenv("UV_DEFAULT_INDEX", f"team={index.url}")
            monkeypatch.setenv("UV_INDEX_TEAM_USERNAME", "me")
            monkeypatch.setenv("UV_INDEX_TEAM_PASSWORD", "hush")
        question = Question(requirements=("old",), python="3.9", date="2025-06-01")
        found = compile_requirements(question, "me", mirrors)
    assert list(found) == ["alpha", "old"]
    assert "hush" not in "".join(found.values())


@pytest.mark.integration
def test_an_index_without_upload_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with PackageIndex(wheel("alpha-one", "1", uploaded=None), wheel("beta", "1")) as index:
        only(monkeypatch, UV_CACHE_DIR=tmp_path / "cache", **index.environment)
        with pytest.raises(UnansweredError) as caught:
            question = Question(requirements=("alpha-one", "beta"), python="3.9", date="2025-06-01")
            compile_requirements(question, "me")
        assert "the package index has no upload time of alpha_one-1-py3-none-any.whl" in str(
            caught.value
        )
        assert caught.value.remedy == "use an index that tells upload times (PEP 700)"
        # A date does no harm where nothing of it is chosen by one.
        compile_requirements(Question(requirements=("alpha-one",), python="3.9"), "me")
        with pytest.raises(LockError) as refused:
            compile_requirements(
                Question(requirements=("beta>1",), python="3.9", date="2025-06-01"), "me"
            )
    assert refused.value.remedy == "change the requirements or the date in the matrix"


def test_certificates_and_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    secret = "machine mirror.example login me password hush\n"  # noqa: S105
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CERT", str(bundle))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("https_proxy", "http://proxy.example")
    with memory_files() as files:
        found = uv_environment(Mirrors(credentials=secret), tmp_path, files)
        assert Path(found["NETRC"]).read_text("utf-8") == secret
    assert [path.name for path in tmp_path.iterdir()] == ["ca.pem"]
    assert found.keys() == {"SSL_CERT_FILE", "NETRC", "TMPDIR", "PYTHONHOME", "https_proxy"}
    assert found["SSL_CERT_FILE"] == str(bundle)


@pytest.mark.integration
def test_a_keyring_runs_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    keyring = folder / "keyring"
    keyring.write_text('#!/bin/sh\necho "home ${PYTHONHOME-none} $AWS_PROFILE $*"\n', "utf-8")
    keyring.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("UV_KEYRING_PROVIDER", "subprocess")
    monkeypatch.setenv("AWS_PROFILE", "team")
    monkeypatch.setenv("UV_PRERELEASE", "allow")
    environment = uv_environment(Mirrors(), tmp_path, MemoryFiles())
    assert "UV_PRERELEASE" not in environment
    told = subprocess.run(
        ["keyring", "get", "a"], env=environment, capture_output=True, text=True, check=True
    )
    assert told.stdout == "home none team get a\n"


@pytest.mark.integration
def test_the_command_asks_the_index_of_the_mirrors(
    dlc: Dlc, golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc, site = tmp_path / "netrc", tmp_path / "site.yaml"
    netrc.write_text("machine 127.0.0.1 login me password hush\n", "utf-8")
    names = ("transformers", "datasets", "torch", "tensorflow")
    with PackageIndex() as caller, PackageIndex(*(wheel(name, "99.0") for name in names)) as index:
        index.login = ("me", "hush")
        site.write_text(f"index: {index.url}\nnetrc: {netrc}\n", "utf-8")
        only(monkeypatch, UV_CACHE_DIR=tmp_path / "cache", **caller.environment)
        run = dlc("--matrix", golden / "matrix.yaml", "--mirrors", site, "outdated")
    assert (run.code, run.err) == (0, "")
    assert run.out.count("99.0") == len(run.out.splitlines()) - 1
    assert caller.asked == []
