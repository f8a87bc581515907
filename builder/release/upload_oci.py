"""The profile `oci`: zstd layers, OCI's media types, and an index with SBOM and provenance.

Engines of the age that the images are built with can push none of these. skopeo converts an image
into a local layout and pushes its blobs; the attestations go beside it as BuildKit attaches them.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import Interrupted, PushError
from builder.registry.client import OCI_INDEX, OCI_MANIFEST, Manifest
from builder.release import provenance, sbom
from builder.release.compare import Local, oci_misfit
from builder.release.image_packages import packages_of
from builder.release.upload_engine import Bytes
from builder.util.http import is_loopback
from builder.util.text import human_size

if TYPE_CHECKING:
    from builder.registry.auth import Login
    from builder.release.push import Export, Pusher

__all__ = ["attestations", "exporter", "index"]

_IN_TOTO = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v0.1"
_SPDX = "https://spdx.dev/Document"
_TRIES = "5"

# The commit that has the sources of a local image; empty where that is not known.
Commit = Callable[[Local], str]


def exporter(commit: Commit) -> Export:
    """What pushes images for this profile. PushError without skopeo.

    What is said about an image is read before anything of it is compressed or sent.
    """
    if shutil.which("skopeo") is None:
        raise PushError(
            "the profile oci needs skopeo, which is not installed",
            remedy="install it: apt-get install skopeo",
        )

    def ready(pusher: Pusher, local: Local) -> Callable[[str], Manifest]:
        packages, distribution = packages_of(pusher.engine, local)
        made = provenance.predicate(local, commit=commit(local))

        def export(repository: str) -> Manifest:
            from builder.util.state import state_directory

            state_directory().mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="oci-", dir=state_directory()) as folder:
                image = _upload(pusher, local, repository, Path(folder))
            name = f"{pusher.place.host}/{repository}"
            listed = sbom.document(
                packages,
                name=name,
                digest=image.digest,
                created=re.sub(r"\.\d+", "", local.created),
                distribution=distribution,
            )
            said = {_SPDX: listed, provenance.PREDICATE: made}
            return _attach(pusher, repository, image, attestations(name, image.digest, said))

        return export

    return ready


def _upload(pusher: Pusher, local: Local, repository: str, folder: Path) -> Manifest:
    """Convert the engine's image, and push it under its digest alone; its manifest."""
    name, host = local.target.name, pusher.place.host
    layout = folder / "layout"
    certificates = pusher.engine.certificates
    source = ["--src-cert-dir", certificates] if certificates else []
    pusher.watcher.news(name, "compressing its layers anew, with zstd")
    _skopeo(
        pusher,
        folder,
        *("--format", "oci", "--dest-compress-format", "zstd"),
        *("--src-daemon-host", pusher.engine.host, *source),
        f"docker-daemon:{local.id}",
        f"oci:{layout}:image",
    )
    [entry] = json.loads((layout / "index.json").read_text("utf-8"))["manifests"]
    content = (layout / "blobs" / entry["digest"].replace(":", "/")).read_bytes()
    image = Manifest(content=content, media_type=OCI_MANIFEST)
    if why := oci_misfit(image):
        raise PushError(f"skopeo made of {name} what is no OCI image: {why}", remedy="update it")

    authfile = folder / "auth.json"
    authfile.touch(mode=0o600)
    authfile.write_text(json.dumps(_auths(host, pusher.logins(host))), "utf-8")
    layers = len(image.document["layers"])
    pusher.watcher.moved(name, Bytes(done=0, total=image.size, layers=0, of_layers=layers))
    _skopeo(
        pusher,
        folder,
        *("--dest-authfile", str(authfile), "--retry-times", _TRIES),
        *(["--dest-tls-verify=false"] if is_loopback(host) else []),
        f"oci:{layout}:image",
        f"docker://{host}/{repository}@{image.digest}",
    )
    pusher.watcher.moved(
        name, Bytes(done=image.size, total=image.size, layers=layers, of_layers=layers)
    )
    pusher.watcher.news(name, f"{human_size(image.size)} as zstd")
    return image


def _skopeo(pusher: Pusher, folder: Path, *arguments: str) -> None:
    """Run `skopeo copy`; PushError with its last words, Interrupted if that is wanted."""
    from builder.util.certificates import ca_bundle

    # Large files on the way do not belong on a /tmp in memory.
    environment = {**os.environ, "TMPDIR": str(folder)}
    if bundle := ca_bundle():
        environment["SSL_CERT_FILE"] = str(bundle)
    # The policy is about what one may pull; this is an image of one's own.
    command = ["skopeo", "--insecure-policy", "copy", "--quiet", *arguments]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    ) as process:
        while True:
            try:
                _, told = process.communicate(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                if pusher.stop.is_set():
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGTERM)
                    process.communicate()
                    raise Interrupted("interrupted") from None
    if process.returncode:
        lines = [line for line in told.splitlines() if line.strip()] or ["it said nothing"]
        words = re.search(r'msg="?(.*?)"?$', lines[-1])
        raise PushError(
            f"skopeo: {words[1] if words else lines[-1]}",
            remedy="see that the registry runs and has room, then push again: what is there stays",
        )


def _auths(host: str, login: Login | None) -> Mapping[str, Any]:
    """A login as Docker's configuration has it."""
    if login is None:
        return {"auths": {}}
    if login.identity_token:
        return {"auths": {host: {"auth": "", "identitytoken": login.identity_token}}}
    text = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
    return {"auths": {host: {"auth": text}}}


def attestations(
    name: str, digest: str, predicates: Mapping[str, Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """in-toto's statements about an image, one for each type of predicate."""
    subject = {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}
    return [
        {"_type": _STATEMENT, "predicateType": kind, "subject": [subject], "predicate": said}
        for kind, said in predicates.items()
    ]


def _attach(
    pusher: Pusher, repository: str, image: Manifest, statements: list[Mapping[str, Any]]
) -> Manifest:
    """Store the statements, their manifest and the index of both; the index, by digest."""
    client = pusher.client
    contents = [_json(each) for each in statements]
    layers = []
    for said, content in zip(statements, contents, strict=True):
        digest = client.put_blob(repository, content)
        layers.append(
            {
                "mediaType": _IN_TOTO,
                "digest": digest,
                "size": len(content),
                "annotations": {"in-toto.io/predicate-type": said["predicateType"]},
            }
        )
    config = _json(
        {
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [each["digest"] for each in layers]},
        }
    )
    about = Manifest(
        content=_json(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": client.put_blob(repository, config),
                    "size": len(config),
                },
                "layers": layers,
            }
        ),
        media_type=OCI_MANIFEST,
    )
    both = index(image, about)
    for manifest in (about, both):
        client.put_manifest(repository, manifest.digest, manifest)
    return both


def index(image: Manifest, about: Manifest) -> Manifest:
    """An index of an image and of what is said about it, as BuildKit writes them."""
    entries = [
        {
            "mediaType": OCI_MANIFEST,
            "digest": image.digest,
            "size": len(image.content),
            "platform": {"architecture": "amd64", "os": "linux"},
        },
        {
            "mediaType": OCI_MANIFEST,
            "digest": about.digest,
            "size": len(about.content),
            "annotations": {
                "vnd.docker.reference.digest": image.digest,
                "vnd.docker.reference.type": "attestation-manifest",
            },
            "platform": {"architecture": "unknown", "os": "unknown"},
        },
    ]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return Manifest(content=_json(document), media_type=OCI_INDEX)


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
