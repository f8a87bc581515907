"""A client of registries: version 2 of their protocol, the part that images need."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin

from builder.errors import RegistryError
from builder.matrix.platforms import DEFAULT
from builder.registry.auth import Logins, of_docker
from builder.registry.exchange import PATIENCE, Answer
from builder.registry.http import Connection
from builder.registry.responses import CONFIG, MANIFEST, TAGS, json_object
from builder.registry.upload import Upload
from builder.util.http import is_loopback

__all__ = ["Descriptor", "Manifest", "RegistryClient", "is_loopback", "labels_of"]

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
INDEXES = frozenset({DOCKER_LIST, OCI_INDEX})
MANIFESTS = (DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST)

_MANIFEST_BYTES = 4 << 20  # what the specification has registries accept
_BLOB_BYTES = 32 << 20
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Descriptor:
    """What a registry has under a reference; `size` in bytes, that of the manifest."""

    digest: str
    media_type: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A manifest as its very bytes, which its digest is of, and what they say."""

    content: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, as references have it."""
        return f"sha256:{hashlib.sha256(self.content).hexdigest()}"

    @property
    def document(self) -> Mapping[str, Any]:
        """The bytes, read; RegistryError if they are no JSON object.

        Of one that a client read, the shape is sound.
        """
        found = json_object(self.content)
        if found is None:
            raise RegistryError("invalid manifest: not a JSON object", remedy="see who made it")
        return found

    @property
    def size(self) -> int:
        """Bytes of the config and of all layers, as they are stored; 0 for an index."""
        parts = (self.document.get("config", {}), *self.document.get("layers", ()))
        return sum(part.get("size", 0) for part in parts)


def labels_of(config: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels in all that an image says of itself."""
    return (config.get("config") or {}).get("Labels") or {}


class RegistryClient:
    """One registry. Its methods may be called from several threads."""

    def __init__(
        self,
        host: str,
        *,
        logins: Logins = of_docker,
        pause: float = 0.5,
        patience: float = PATIENCE,
        stop: threading.Event | None = None,
    ) -> None:
        """`host` is HOST[:PORT]; `pause` the seconds before the second retry, then doubled.

        Nothing is waited for longer than `patience` seconds, nor once `stop` is set.
        """
        self.host = host
        self._http = Connection(host, logins=logins, pause=pause, patience=patience, stop=stop)

    def head(self, repository: str, reference: str) -> Descriptor | None:
        """What is under a tag or digest; None if nothing is."""
        path = f"{repository}/manifests/{reference}"
        answer = self._http.ask("HEAD", path, repository, accept=MANIFESTS)
        if answer.status == 404:
            return None
        self._http.refuse(answer, f"{repository}:{reference}")
        digest = answer.headers.get("Docker-Content-Digest", "")
        if not _DIGEST.fullmatch(digest):  # not every registry says it
            found = self.manifest(repository, reference)
            if found is None:
                return None
            size = len(found.content)
            return Descriptor(digest=found.digest, media_type=found.media_type, size=size)
        length = answer.headers.get("Content-Length", "")
        return Descriptor(
            digest=digest,
            media_type=answer.media_type,
            size=int(length) if length.isdecimal() and length.isascii() else 0,
        )

    def manifest(self, repository: str, reference: str) -> Manifest | None:
        """The manifest under a tag or digest; None if there is none.

        RegistryError if it is not what a digest asked for, or makes no sense.
        """
        what = f"{repository}:{reference}"
        path = f"{repository}/manifests/{reference}"
        answer = self._read(path, repository, what, most=_MANIFEST_BYTES, accept=MANIFESTS)
        if answer is None:
            return None
        content = answer.content
        found = Manifest(content=content, media_type=answer.media_type)
        if _DIGEST.fullmatch(reference) and found.digest != reference:
            raise self._http.error(f"it serves {found.digest} as {what}", "try again")
        document = self._http.document(content, f"the manifest of {what}", MANIFEST)
        named = document.get("mediaType", found.media_type)
        if named not in MANIFESTS:
            raise self._http.error(
                f"{what} is no manifest of an image but {named[:80]!r}", "ask for another"
            )
        return Manifest(content=content, media_type=named)

    def labels(
        self, repository: str, reference: str, platform: str = DEFAULT
    ) -> Mapping[str, str] | None:
        """The labels of the image under a reference; None if there is none."""
        config = self.config(repository, reference, platform)
        return None if config is None else labels_of(config)

    def config(
        self, repository: str, reference: str, platform: str = DEFAULT
    ) -> Mapping[str, Any] | None:
        """All that the image under a reference says of itself; None if there is none."""
        manifest = self.image_manifest(repository, reference, platform)
        if manifest is None:
            return None
        what = f"the config of {repository}:{reference}"
        digest = self._digest(manifest.document.get("config", {}), what)
        return self._http.document(self.blob(repository, digest), what, CONFIG)

    def image_manifest(
        self, repository: str, reference: str, platform: str = DEFAULT
    ) -> Manifest | None:
        """The same for an image, and for an index that of its image for a platform."""
        manifest = self.manifest(repository, reference)
        if manifest is None or manifest.media_type not in INDEXES:
            return manifest
        for entry in manifest.document.get("manifests", ()):
            found = entry.get("platform", {})
            if f"{found.get('os')}/{found.get('architecture')}" == platform:
                what = f"the image of {repository}:{reference} for {platform}"
                return self.manifest(repository, self._digest(entry, what))
        raise self._http.error(f"{repository}:{reference} has no image for {platform}", "")

    def _digest(self, descriptor: Mapping[str, Any], what: str) -> str:
        digest = descriptor.get("digest", "")
        if not _DIGEST.fullmatch(digest):  # it becomes part of an address
            raise self._http.error(
                f"{what} is named by {digest[:80]!r}, which is no digest", "see the registry"
            )
        return str(digest)

    def tags(self, repository: str) -> list[str]:
        """All tags of a repository, sorted; none where it does not exist."""
        found: list[str] = []
        path = f"{repository}/tags/list?n=1000"
        asked: set[str] = set()
        while path and path not in asked:  # one that sends back to where it was has no more
            asked.add(path)
            answer = self._read(path, repository, repository, most=_BLOB_BYTES)
            if answer is None:
                return []
            what = f"the list of tags of {repository}"
            found += self._http.document(answer.content, what, TAGS).get("tags", [])
            path = self._next(answer, what)
        return sorted(set(found))

    def put_manifest(self, repository: str, reference: str, manifest: Manifest) -> None:
        """Store a manifest under a tag or its digest. Its blobs must be there already."""
        path = f"{repository}/manifests/{reference}"
        headers = {"Content-Type": manifest.media_type}
        answer = self._http.ask("PUT", path, repository, data=manifest.content, headers=headers)
        self._http.refuse(answer, f"{repository}:{reference}")
        stored = answer.headers.get("Docker-Content-Digest", manifest.digest)
        if stored != manifest.digest:
            raise self._http.error(
                f"it stored {stored} as {repository}:{reference}, not {manifest.digest}",
                "push again; if it stays so, see the registry",
            )

    def blob(self, repository: str, digest: str) -> bytes:
        """A small blob; RegistryError if it is missing, large or not what its digest says."""
        what = f"{repository}@{digest}"
        path = f"{repository}/blobs/{digest}"
        answer = self._read(path, repository, what, most=_BLOB_BYTES)
        if answer is None:
            raise self._http.error(f"it has no blob {what}", "push the image again")
        if f"sha256:{hashlib.sha256(answer.content).hexdigest()}" != digest:
            raise self._http.error(f"digest mismatch: it serves other bytes as {what}", "try again")
        return answer.content

    def _read(
        self, path: str, repository: str, what: str, *, most: int, accept: Iterable[str] = ()
    ) -> Answer | None:
        """What is there; None if nothing is."""
        answer = self._http.ask("GET", path, repository, accept=accept, most=most)
        if answer.status == 404:
            return None
        self._http.refuse(answer, what)
        return answer

    def _next(self, answer: Answer, what: str) -> str:
        """The address of a list's next page, empty if there is none.

        RegistryError if it is another host's, which has no say in what is here.
        """
        if not answer.following:
            return ""
        try:
            address = urljoin(answer.url, answer.following)
            own = self._http.is_own(address)
        except ValueError as error:
            shown = f"{answer.following[:80]!r}"
            raise self._http.error(f"{shown} is no address", "see the registry") from error
        if not own:
            raise self._http.error(f"{what} goes on at {address[:80]!r}", "see the registry")
        return address

    def has_blob(self, repository: str, digest: str) -> bool:
        """Whether a blob is there."""
        answer = self._http.ask("HEAD", f"{repository}/blobs/{digest}", repository)
        if answer.status == 404:
            return False
        self._http.refuse(answer, f"{repository}@{digest}")
        return True

    def put_blob(self, repository: str, content: bytes) -> str:
        """Store a small blob unless it is there; its digest."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if not self.has_blob(repository, digest):
            Upload(self._http, repository, digest, content).run()
        return digest

    def mount(self, repository: str, digest: str, sources: Iterable[str]) -> bool:
        """Let a repository have a blob of another one of the registry; whether one had it.

        Not every registry does that, and who may push here may not see there: GitHub's begins an
        upload, Docker Hub wants a token for both, and a token server may give none for the other
        (oras-project/rust-oci-client issue 235).
        """
        for source in sources:
            query = urlencode({"mount": digest, "from": source})
            place = f"{repository}/blobs/uploads/?{query}"
            try:
                answer = self._http.ask("POST", place, repository)
            except RegistryError as error:
                if error.status not in {400, 401, 403}:
                    raise
                continue
            if answer.status == 201:
                return True
            if answer.status < 300 and (begun := answer.headers.get("Location")):
                # What cannot be mounted is to be uploaded, which is for later.
                with suppress(RegistryError):
                    self._http.ask("DELETE", urljoin(answer.url, begun), repository, once=True)
        return False

    def put_file(
        self, repository: str, digest: str, path: Path, moved: Callable[[int], None]
    ) -> None:
        """Store a large blob; `moved` is told how many bytes of it are on their way or there."""
        Upload(self._http, repository, digest, path, moved).run()
