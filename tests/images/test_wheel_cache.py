"""The cache of wheels that all images share: code of one image's packages cannot reach another's.

One row has a wheel whose code runs whenever Python starts, and a source distribution whose build
does; both write wherever they can. The next row on the same engine installs the same packages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import docker
import pytest

from builder.engine.namespace import local_name
from builder.engine.tagging import remove_image
from tests.images.conftest import dlc
from tests.images.mirror_server import gateway
from tests.images.printed import printed
from tests.images.small_matrix import files, write_small_matrix
from tests.package_index import PackageIndex, sdist, wheel

pytestmark = pytest.mark.images

FIRST, SECOND = (
    f"huggingface-pytorch-training:9.8.{n}-transformers5.{n}.0-cpu-py311-debian12" for n in (1, 2)
)
RELEASES = """\
frameworks:
  pytorch:
    9.8.1:
      locked: 2025-01-02
      python: 3.11
      base: debian12
      toolchain: none
      builds: {cpu: {requires: [eager, plain]}}
    9.8.2:
      locked: 2025-01-02
      python: 3.11
      base: debian12
      toolchain: none
      builds: {cpu: {requires: [plain]}}
libraries:
  first: {requires: [built-here, plain-too]}
  second: {requires: [plain-too]}
releases:
  - transformers: 5.1.0
    datasets: 1.0.0
    date: 2025-01-02
    training: {libraries: first, pytorch: [{version: 9.8.1, devices: [cpu], origin: own}]}
  - transformers: 5.2.0
    datasets: 1.0.0
    date: 2025-01-02
    training: {libraries: second, pytorch: [{version: 9.8.2, devices: [cpu], origin: own}]}
"""
# Only in a build: a container that only looks at the image is none of its business.
REACH = b'''\
import os

MARK = "# written by another package\\n"
FOLDERS = ("/srv", "/mnt", "/media", "/tmp", "/var/tmp", "/var/cache", "/root", "/home")


def reach():
    """Append to every module that can be written, but for the image's own."""
    written = []
    if not os.path.exists("/mnt/install.sh"):
        return written
    for top in (*FOLDERS, os.environ.get("UV_CACHE_DIR", "/srv")):
        for folder, _, names in os.walk(top):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    if name.endswith(".py") and not path.startswith(os.getcwd()):
                        with open(path, "a") as file:
                            file.write(MARK)
                        written.append(path)
                except OSError:
                    pass
    return written
'''
BACKEND = (
    REACH
    + b"""

def told():
    try:
        with open("/media/site") as file:
            site = file.read()
    except OSError as error:
        site = error.strerror
    return {
        "user": os.geteuid(),
        "groups": os.getgroups(),
        "written": reach(),
        "site": site,
        "environment": dict(os.environ),
    }


def build_wheel(folder, config_settings=None, metadata_directory=None):
    import json
    import zipfile

    info = "built_here-1.0.dist-info"
    contents = {
        "built_here.json": json.dumps(told()),
        f"{info}/METADATA": "Metadata-Version: 2.1\\nName: built-here\\nVersion: 1.0\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    contents[f"{info}/RECORD"] = "".join(f"{name},,\\n" for name in [*contents, f"{info}/RECORD"])
    name = "built_here-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    return name
"""
)
PROJECT = b'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
KNOWN = b"Metadata-Version: 2.2\nName: built-here\nVersion: 1.0\n"
PLAIN = {"plain": b"ANSWER = 42\n", "plain_too": b"ANSWER = 43\n"}
SECRET = "secret-of-the-site-93b1"  # noqa: S105 - what a build must not see


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """The engine on which both rows were built, and the index that they came from."""

    client: docker.DockerClient
    index: PackageIndex

    def read(self, name: str, path: str) -> bytes:
        """A file of an image's packages."""
        program = (
            "import sysconfig, pathlib\n"
            f"path = pathlib.Path(sysconfig.get_paths()['purelib'], {path!r})\n"
            "print(path.read_text(), end='')"
        )
        return printed(self.client, local_name(name), ["python", "-c", program])


@pytest.fixture(scope="module")
def rows(client: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    """Both rows, built one after the other."""
    folder = tmp_path_factory.mktemp("rows")
    path = write_small_matrix(folder)
    head = path.read_text("utf-8").partition("frameworks:")[0]
    path.write_text(f"sources: {{OTHER: https://other.example/x}}\n{head}{RELEASES}", "utf-8")
    # No other session has the same bytes, so none has filled the cache.
    session = f"# {folder}\n".encode()
    eager = {"eager.py": REACH + b"\n\nreach()\n", "eager.pth": b"import eager\n"}
    offered = [
        *files(),
        wheel("eager", "1.0", files=eager),
        *(
            wheel(name.replace("_", "-"), "1.0", files={f"{name}.py": text + session})
            for name, text in PLAIN.items()
        ),
        sdist(
            "built-here",
            "1.0",
            files={"PKG-INFO": KNOWN, "pyproject.toml": PROJECT, "backend.py": BACKEND},
        ),
    ]
    with PackageIndex(*offered, host=gateway(client)) as index:
        (folder / "mirrors.yaml").write_text(
            f"index: {index.url}\nsources: {{OTHER: 'https://builder:{SECRET}@other.example/x'}}\n"
        )
        for command in (["lock"], ["build", FIRST], ["build", SECOND]):
            result = dlc("--matrix", str(path), *command, **index.environment)
            assert result.returncode == 0, result.stderr
        yield Rows(client=client, index=index)
    for name in (FIRST, SECOND):
        remove_image(client, local_name(name))


def test_the_next_row_gets_what_is_locked(rows: Rows) -> None:
    for name in (FIRST, SECOND):
        for module, text in PLAIN.items():
            assert rows.read(name, f"{module}.py").startswith(text)
            assert b"written by another package" not in rows.read(name, f"{module}.py")


def test_the_next_row_got_it_from_the_cache(rows: Rows) -> None:
    for module in PLAIN:
        assert rows.index.asked.count(f"/files/{module}-1.0-py3-none-any.whl") == 1


def test_a_source_distribution_is_built_by_nobody(rows: Rows) -> None:
    told = json.loads(rows.read(FIRST, "built_here.json"))
    assert (told["user"], told["groups"]) == (65534, [])
    assert told["written"] == []
    assert told["site"] == "Permission denied"
    assert SECRET not in json.dumps(told["environment"])


def test_nothing_tells_when_it_was_built(rows: Rows) -> None:
    record = rows.read(FIRST, "built_here-1.0.dist-info/RECORD").decode().splitlines()
    names = {line.split(",")[0].removeprefix("built_here-1.0.dist-info/") for line in record}
    assert names == {"built_here.json", "INSTALLER", "METADATA", "RECORD", "REQUESTED", "WHEEL"}
