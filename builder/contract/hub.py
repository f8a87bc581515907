"""A stand-in for the Hub, under its own name, for servers that load a model by its id."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.contract.network import lines, neighbour, network
from builder.serve.programs import FILES

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

__all__ = ["Hub", "HubModel", "Request", "files_of", "stand_in"]

HOST = "huggingface.co"
LARGE_FILES_HOST = "cdn-lfs.huggingface.co"
FOLDER = "/srv/hub"
AUTHORITY = "/srv/authority.pem"
TOKEN = "hf_the-only-good-token"  # noqa: S105 - of a stand-in


@dataclass(frozen=True, kw_only=True, slots=True)
class HubModel:
    """A model with its files, by name, at each revision: a branch or a tag; `main` is one.

    `redirects` says how small files are answered: straight, or as the Hub has done since 2025 for
    public models of an organisation, with a redirect to a path without a host.
    """

    revisions: Mapping[str, Mapping[str, bytes]]
    private: bool = False
    redirects: bool = False

    def commit(self, revision: str) -> str:
        """The hash of a revision's files.

        >>> model = HubModel(revisions={"main": {"a": b"1"}, "v1": {"a": b"1"}, "old": {}})
        >>> model.commit("main") == model.commit("v1") != model.commit("old")
        True
        """
        digest = hashlib.sha1(usedforsecurity=False)
        for name, content in sorted(self.revisions[revision].items()):
            digest.update(f"{name} {len(content)} ".encode() + content)
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What the stand-in was asked. `token` is none, good or wrong; `file` the name of a file."""

    method: str
    path: str
    status: int
    token: str
    host: str

    @property
    def file(self) -> str:
        """The name of the file that was asked for, or nothing."""
        path = self.path.partition("?")[0]
        wanted = "/resolve/" in path or "/resolve-cache/" in path
        return path.rpartition("/")[2] if wanted else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hub:
    """A running stand-in: what a server on its network needs to believe it, and what it heard."""

    network: str
    files: Mapping[str, bytes]
    container: Container
    models: Mapping[str, HubModel]
    environment: Mapping[str, str] = field(
        default_factory=lambda: {"REQUESTS_CA_BUNDLE": AUTHORITY, "SSL_CERT_FILE": AUTHORITY}
    )
    token: str = TOKEN

    def requests(self) -> list[Request]:
        """Everything that was asked since it started, in this order."""
        return [Request(**line) for line in lines(self.container) if "path" in line]


@contextmanager
def stand_in(
    client: docker.DockerClient, image: str, models: Mapping[str, HubModel]
) -> Iterator[Hub]:
    """A Hub with models, by id, in a container of the image, on a network without a way out.

    ContainerError if the image's Python does not run it.
    """
    import trustme

    authority = trustme.CA()
    certificate = authority.issue_cert(HOST, LARGE_FILES_HOST)
    pem = certificate.private_key_and_cert_chain_pem.bytes()
    with (
        network(client) as name,
        neighbour(
            client,
            image,
            name,
            names=(HOST, LARGE_FILES_HOST),
            command=["python", f"{FOLDER}/hub_server.py", FOLDER],
            files={**files_of(models), f"{FOLDER}/server.pem": pem},
        ) as container,
    ):
        trusted = {AUTHORITY: authority.cert_pem.bytes()}
        yield Hub(network=name, files=trusted, container=container, models=models)


def files_of(models: Mapping[str, HubModel]) -> dict[str, bytes]:
    """What hub_server.py needs but for its certificate, by path."""
    described = {
        name: {
            "private": model.private,
            "redirects": model.redirects,
            "revisions": {revision: model.commit(revision) for revision in model.revisions},
        }
        for name, model in models.items()
    }
    hub = {"token": TOKEN, "large_files": LARGE_FILES_HOST, "models": described}
    files = {
        f"{FOLDER}/hub_server.py": (FILES / "hub_server.py").read_bytes(),
        f"{FOLDER}/hub.json": json.dumps(hub).encode(),
    }
    for model in models.values():
        for revision, content in model.revisions.items():
            folder = f"{FOLDER}/{model.commit(revision)}"
            files |= {f"{folder}/{name}": data for name, data in content.items()}
    return files
