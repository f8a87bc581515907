"""A stand-in for a package index, for models that bring a requirements.txt."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.contract.network import neighbour, network
from builder.engine.containers import text
from builder.matrix.requirements import normalise

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

__all__ = ["Index", "stand_in", "wheel"]

HOST = "packages.internal"
FOLDER = "/srv/index"


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """A running stand-in, and what pip on its network needs in order to use it."""

    network: str
    container: Container

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which pip asks nobody else."""
        return {"PIP_INDEX_URL": f"http://{HOST}/simple/", "PIP_TRUSTED_HOST": HOST}

    def requests(self) -> str:
        """A line for every request, of http.server's making."""
        return text(self.container.logs(stdout=False, stderr=True))


@contextmanager
def stand_in(
    client: docker.DockerClient, image: str, wheels: Mapping[str, bytes]
) -> Iterator[Index]:
    """An index with wheels, by the names of their files, on a network without a way out.

    ContainerError if the image's Python does not run it.
    """
    # What http.server says of a folder is what pip wants: a page with a link to each file.
    files = {
        f"{FOLDER}/simple/{normalise(file.partition('-')[0])}/{file}": content
        for file, content in wheels.items()
    }
    serve = f"cd {FOLDER} && exec python -m http.server 80"
    with (
        network(client) as name,
        neighbour(
            client, image, name, names=[HOST], command=["sh", "-c", serve], files=files
        ) as container,
    ):
        yield Index(network=name, container=container)


def wheel(name: str, version: str, code: str) -> dict[str, bytes]:
    """A wheel for any Python, with one module of its own name, by the name of its file.

    >>> list(wheel("tiny", "1.0", "ANSWER = 42"))
    ['tiny-1.0-py3-none-any.whl']
    """
    about = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": code,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},{_hash(content)},{len(content)}\n" for path, content in files.items())
    files[f"{about}/RECORD"] = f"{record}{about}/RECORD,,\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return {f"{name}-{version}-py3-none-any.whl": buffer.getvalue()}


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).decode().rstrip("=")
