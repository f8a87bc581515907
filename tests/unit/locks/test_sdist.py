"""What source distributions need: read from archives, else asked in a sandbox."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import socket
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import LockError, UnansweredError, UnreachableError
from builder.locks.sdist import needs as sdist_needs
from builder.locks.sdist import source as sdists
from builder.locks.sdist.build import built_needs
from builder.locks.sdist.sandbox import SandboxError, run_python
from builder.locks.sdist.source import Needs, noted_needs, opened
from builder.locks.uv.compile import Question, compile_requirements
from builder.locks.uv.process import uv_process
from builder.matrix.mirrors import Mirrors
from tests.package_index import IndexFile, PackageIndex, sdist, wheel
from tests.unit.locks.test_resolve import only

INFO = "Metadata-Version: 2.1\nName: Old.Thing\nVersion: 1.0\n"
REQUIRES = 'six>=1\n\n[:python_version < "3.7"]\ndataclasses\n\n[fast]\nnumpy\n'


def egg(
    package: str, requires: str | None, sources: str = "", info: str = INFO
) -> dict[str, bytes]:
    """The files of an egg-info, as setuptools writes them."""
    folder = f"src/{package}.egg-info"
    found = {f"{folder}/PKG-INFO": info, f"{folder}/SOURCES.txt": f"setup.py\n{sources}"}
    if requires is not None:
        found[f"{folder}/requires.txt"] = requires
        found[f"{folder}/SOURCES.txt"] += f"{folder}/requires.txt\n"
    return {path: text.encode() for path, text in found.items()}


def archive(folder: Path, files: Mapping[str, bytes], kind: str = "tar.gz") -> Path:
    path = folder / f"old_thing-1.0.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as made:
            for name, data in files.items():
                made.writestr(f"old_thing-1.0/{name}", data)
    else:
        mode = "w:gz" if kind == "tgz" else f"w:{kind.rpartition('.')[2]}"
        with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
            for name, data in files.items():
                member = tarfile.TarInfo(f"old_thing-1.0/{name}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path


def noted(path: Path) -> Needs | None:
    with opened(path) as files:
        return noted_needs(files, "old-thing", "1.0")


@pytest.mark.parametrize("kind", ["tar.gz", "tgz", "tar.bz2", "tar.xz", "zip"])
def test_an_egg_info_is_read(kind: str, tmp_path: Path) -> None:
    info = INFO + "Requires-Python: >=3.6\nProvides-Extra: fast\n"
    assert noted(archive(tmp_path, egg("Old_Thing", REQUIRES, info=info), kind)) == Needs(
        requires=("six>=1", 'dataclasses; python_version < "3.7"', 'numpy; extra == "fast"'),
        extras=("fast",),
        python=">=3.6",
    )


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"PKG-INFO": INFO.encode()}, "no egg-info"),
        (egg("other", "six\n"), "of another package"),
        (egg("old_thing", "six\n", info=INFO.replace("1.0", "2.0")), "of another version"),
        (egg("old_thing", "six >> 1\n"), "no requirement"),
        (egg("old_thing", None, "src/old_thing.egg-info/requires.txt\n"), "it was left out"),
    ],
)
def test_what_is_not_certain_is_not_read(files: dict[str, bytes], why: str, tmp_path: Path) -> None:
    assert noted(archive(tmp_path, files)) is None, why


def test_no_requirements_are_certain_too(tmp_path: Path) -> None:
    assert noted(archive(tmp_path, egg("old_thing", None))) == Needs()


def test_archives_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path, egg("old_thing", REQUIRES))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LockError, match=r"old_thing-1\.0\.tar\.gz cannot be read"):
        noted(path)
    path.write_bytes(gzip.compress(bytes(1 << 20)) * 2)
    monkeypatch.setattr(sdists, "_ARCHIVE_BYTES", 1 << 20)
    with pytest.raises(LockError, match="is larger than 1 MiB unpacked"):
        noted(path)
    with pytest.raises(LockError, match="is no kind of archive that is known"):
        noted(tmp_path / "old_thing-1.0.egg")
    big = egg("old_thing", "#" * (1 << 20) + "\nsix\n")
    monkeypatch.undo()
    with pytest.raises(LockError, match=r"requires\.txt is larger than 1 MiB"):
        noted(archive(tmp_path, big))


@given(
    kind=st.sampled_from(["tar.gz", "tar", "zip"]),
    place=st.floats(0, 1),
    bytes_there=st.binary(max_size=8),
)
def test_broken_archives_are_errors_with_a_remedy(
    kind: str, place: float, bytes_there: bytes
) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = archive(Path(name), egg("old_thing", REQUIRES), "zip" if kind == "zip" else "tar.gz")
        data = path.read_bytes()
        if kind == "tar":
            data = gzip.decompress(data)
        at = int(place * len(data))
        data = data[:at] + bytes_there + data[at + len(bytes_there) :]
        path.write_bytes(gzip.compress(data) if kind == "tar" else data)
        with suppress(LockError):
            noted(path)


def test_links_and_paths_of_an_archive_lead_nowhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("six\n", "utf-8")
    path = tmp_path / "old_thing-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, data in egg("old_thing", None, "old_thing.egg-info/x\n").items():
            member = tarfile.TarInfo(f"old_thing-1.0/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("old_thing-1.0/src/old_thing.egg-info/requires.txt")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        tar.addfile(link)
    assert noted(path) == Needs()


# A build backend that tells all that it can see, as requirements.
BACKEND = b"""\
import json, os, pathlib, socket
PORT = int(pathlib.Path("port").read_text()) if pathlib.Path("port").exists() else 0
MARK = pathlib.Path("mark").read_text() if pathlib.Path("mark").exists() else ""

def reached(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError as error:
        return str(error)
    return "reached"

def prepare_metadata_for_build_wheel(folder, settings=None):
    print("noise on standard output")
    if MARK:
        try:
            pathlib.Path(MARK).write_text("I ran")
        except OSError:
            pass
    seen = {
        "environment": dict(os.environ),
        "user": os.getuid(),
        "roots": sorted(os.listdir("/")),
        "marks": os.path.exists(os.path.dirname(MARK)) if MARK else False,
        "socket": reached(PORT),
        "writes": [path for path in ("/", "/usr", "/given", "/etc") if os.access(path, os.W_OK)],
        "capabilities": [
            line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")
        ],
    }
    told = json.dumps(seen).encode().hex()
    info = pathlib.Path(folder, "probe-1.dist-info")
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\\nName: probe\\nVersion: 1\\nRequires-Dist: beta\\n"
        f"Provides-Extra: {told}\\n"
    )
    return info.name
"""
SYSTEM = b'[build-system]\nrequires = []\nbuild-backend = "tell"\nbackend-path = ["."]\n'


def probe(**more: bytes) -> IndexFile:
    files = {"pyproject.toml": SYSTEM, "tell.py": BACKEND, **more}
    return sdist("probe", "1", files=files)


@pytest.fixture
def asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Has uv ask an index of the tests, with a cache of its own."""

    def ask(index: PackageIndex, **values: str) -> None:
        only(monkeypatch, UV_CACHE_DIR=tmp_path / "cache", **index.environment, **values)

    monkeypatch.setattr(sdist_needs, "_READ", {})
    monkeypatch.setattr("builder.locks.uv.compile._KNOWN", {})
    yield ask


@pytest.fixture
def canary() -> Iterator[socket.socket]:
    """A server on loopback that nobody is to reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server


def needs(index: PackageIndex, package: str, version: str, file: IndexFile) -> Needs:
    with uv_process(Mirrors(index=index.url)) as uv:
        path = uv.folder / file.filename
        path.write_bytes(file.content)
        return built_needs(package, version, path, uv, "2025-06-01")


@pytest.mark.integration
@pytest.mark.parametrize("root", [True, False])
def test_a_build_sees_nothing_of_the_caller(
    root: bool,
    asking: Callable[..., None],
    canary: socket.socket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if root and os.geteuid() != 0:
        pytest.skip("only root has another user to be")
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    mark = tmp_path / "mark"
    file = probe(port=str(canary.getsockname()[1]).encode(), mark=str(mark).encode())
    with PackageIndex(file) as index:
        asking(index)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
        found = needs(index, "probe", "1", file)
    seen = json.loads(bytes.fromhex(found.extras[0]))
    assert set(seen["environment"]) == {"PATH", "HOME", "LANG", "PYTHONPATH"}
    # Without root it is 0 of a namespace of its own, or in a container another user again.
    assert seen["user"] in ({65534} if root else {0, 65534})
    assert seen["capabilities"] == ["0" * 16]
    assert not seen["marks"]
    assert not mark.exists()
    assert "etc" in seen["roots"]
    assert not {"var", "run", "boot", "srv"} & set(seen["roots"])
    assert seen["socket"] != "reached"
    with pytest.raises(BlockingIOError):
        canary.accept()
    if root:
        assert seen["writes"] == []


@pytest.mark.integration
def test_uv_itself_runs_nothing(
    asking: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    line = f"open({str(mark)!r}, 'w').write('I ran')\n".encode()
    old = sdist("old", "1", files={"setup.py": line + b"import setuptools; setuptools.setup()"})
    hooked = wheel("hooked", "1", files={"hooked.pth": b"import os; " + line})
    system = (
        b'[build-system]\nrequires = ["hooked"]\nbuild-backend = "tell"\nbackend-path = ["."]\n'
    )
    new = sdist("probe", "1", files={"pyproject.toml": system, "tell.py": line + BACKEND})
    files = (old, new, hooked, wheel("beta", "1"), wheel("setuptools", "80"), wheel("wheel", "1"))
    asked: list[str] = []

    def built(package: str, *_: object) -> Needs:
        asked.append(package)
        return Needs(requires=("beta",))

    monkeypatch.setattr(sdist_needs, "built_needs", built)
    with PackageIndex(*files) as index:
        asking(index)
        question = Question(requirements=("old", "probe"), python="3.8", date="2025-06-01")
        found = compile_requirements(question, "me")
        again = compile_requirements(question, "me")
    assert list(found) == ["beta", "old", "probe"]
    assert again == found
    # The words of uv for a build that fails are known, or it would not have been asked.
    assert sorted(asked) == ["old", "probe"]
    assert not mark.exists()


@pytest.mark.integration
def test_an_older_version_is_not_taken_for_a_newer_one_without_wheels(
    asking: Callable[..., None],
) -> None:
    info = b"Metadata-Version: 1.2\nName: old\nVersion: 2\n"
    new = sdist("old", "2", files={**egg("old", "beta\n", info=info.decode()), "setup.py": b"1/0"})
    with PackageIndex(wheel("old", "1"), new, wheel("beta", "1")) as index:
        asking(index)
        question = Question(requirements=("old",), python="3.8", date="2025-06-01")
        found = compile_requirements(question, "me")
    assert [entry.split()[0] for entry in found.values()] == ["beta==1", "old==2"]
    assert f"--hash=sha256:{new.sha256}" in found["old"]


@pytest.mark.integration
def test_a_backend_may_want_more(asking: Callable[..., None]) -> None:
    backend = b"""\
def get_requires_for_build_wheel(settings=None):
    return ["helper"]
def prepare_metadata_for_build_wheel(folder, settings=None):
    import helper, os
    os.mkdir(f"{folder}/probe-1.dist-info")
    with open(f"{folder}/probe-1.dist-info/METADATA", "w") as file:
        file.write("Metadata-Version: 2.1\\nName: probe\\nVersion: 1\\n")
        file.write(f"Requires-Dist: {helper.NAME}\\n")
    return "probe-1.dist-info"
"""
    file = sdist("probe", "1", files={"pyproject.toml": SYSTEM, "tell.py": backend})
    helper = wheel("helper", "1", files={"helper.py": b"NAME = 'gamma'"})
    with PackageIndex(file, helper) as index:
        asking(index)
        assert needs(index, "probe", "1", file) == Needs(requires=("gamma",))


@pytest.mark.integration
@pytest.mark.parametrize(
    ("system", "backend", "told"),
    [
        (SYSTEM.replace(b"[]", b'["absent"]'), BACKEND, "what its build needs is not to be had"),
        (SYSTEM.replace(b"[]", b'["--index-url=x"]'), BACKEND, "what is no requirement"),
        (SYSTEM.replace(b"[]", b'["a @ file:///a"]'), BACKEND, "a from an address of its own"),
        (SYSTEM.replace(b"[]", b"3"), BACKEND, "its pyproject.toml is malformed"),
        (
            SYSTEM,
            BACKEND.replace(b"Name: probe", b"Name: other"),
            "the metadata of another package",
        ),
    ],
)
def test_builds_that_fail(
    system: bytes, backend: bytes, told: str, asking: Callable[..., None]
) -> None:
    file = sdist("probe", "1", files={"pyproject.toml": system, "tell.py": backend})
    with PackageIndex(file) as index:
        asking(index)
        with pytest.raises(LockError, match=re.escape(told)):
            needs(index, "probe", "1", file)


@pytest.mark.integration
def test_a_build_that_fails_is_no_answer(asking: Callable[..., None]) -> None:
    file = probe(**{"tell.py": b"raise SystemExit('no mood')"})
    with PackageIndex(file) as index:
        asking(index)
        with pytest.raises(UnansweredError) as caught:
            compile_requirements(Question(requirements=("probe",), python="3.8"), "me")
    assert str(caught.value).startswith(
        "probe==1 is only there as source, and what it needs is not known: its build failed:\n"
    )
    assert "no mood" in str(caught.value)
    assert caught.value.remedy == "require a version that has a wheel"


@pytest.mark.integration
def test_a_file_that_is_not_what_its_index_says(
    asking: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = probe()
    with PackageIndex(file) as index:
        asking(index)
        question = Question(requirements=("probe",), python="3.8")
        monkeypatch.setattr(IndexFile, "sha256", "0" * 64)
        with pytest.raises(LockError, match=r"hash|SHA-256"):
            compile_requirements(question, "me")


def test_a_machine_without_a_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.locks.sdist.sandbox._TOOLS", ("a-tool-that-is-not-there",))
    monkeypatch.setattr("builder.engine.connection.find", lambda: None)
    with pytest.raises(SandboxError) as caught:
        run_python(tmp_path, "-c", "print(1)")
    assert str(caught.value) == (
        "this machine cannot shut a build in: it has no a-tool-that-is-not-there, and no Docker "
        "Engine of this machine runs; run it as root, where user namespaces are allowed, or where "
        "a Docker Engine runs; or require a version that has a wheel"
    )


def test_offline_is_offline() -> None:
    source = sdist_needs.Source.parse("a @ https://files.example/a-1.tar.gz")
    with uv_process(Mirrors()) as uv:
        uv.environment["UV_OFFLINE"] = "1"
        with pytest.raises(UnreachableError, match="disabled by UV_OFFLINE"):
            sdist_needs.needs_of(source, uv, [], "")


PROBE = "Metadata-Version: 1.2\nName: probe\nVersion: 1\n"


@pytest.mark.integration
@pytest.mark.parametrize("days", [("03", "06", "03"), ("06", "03", "06")], ids=["up", "down"])
def test_a_wheel_that_came_later_speaks_for_itself(
    days: tuple[str, ...], asking: Callable[..., None]
) -> None:
    """And not before its day, whatever was asked first."""
    old = {**egg("probe", "early\n", info=PROBE), "setup.py": b"1/0"}
    with PackageIndex(
        sdist("probe", "1", files=old, uploaded="2025-01-01T00:00:00Z"),
        wheel("probe", "1", requires=["later"], uploaded="2025-05-01T00:00:00Z"),
        *(wheel("early", "1"), wheel("later", "1")),
    ) as index:
        asking(index)
        for month in days:
            question = Question(requirements=("probe",), python="3.8", date=f"2025-{month}-01")
            found = compile_requirements(question, "me")
            assert [*found] == [{"03": "early", "06": "later"}[month], "probe"]


@pytest.mark.integration
def test_what_has_no_wheel_is_read_once_for_all_days_before(asking: Callable[..., None]) -> None:
    files = {**egg("probe", "", info=PROBE), "setup.py": b"1/0"}
    read = []
    with PackageIndex(sdist("probe", "1", files=files)) as index:
        asking(index)
        for month in ("06", "03"):
            index.asked.clear()
            question = Question(requirements=("probe",), python="3.8", date=f"2025-{month}-01")
            assert [*compile_requirements(question, "me")] == ["probe"]
            read.append(any(path.endswith(".tar.gz") for path in index.asked))
    assert read == [True, False]
