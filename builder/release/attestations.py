"""The profile `oci`: an index of an image and of its SBOM and provenance, as BuildKit writes them.

What is said about an image is read from it before anything of it is compressed or sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from builder import __version__
from builder.engine.image import TargetImage
from builder.errors import PushError
from builder.inventory import spdx
from builder.matrix.platforms import DEFAULT
from builder.registry.client import OCI_INDEX, OCI_MANIFEST, Manifest
from builder.release import provenance, signing
from builder.release.compare import OCI_CONFIG
from builder.release.inventories import inventory_of

if TYPE_CHECKING:
    from builder.inventory.model import Inventory
    from builder.release.push import Attach, Pusher
    from builder.release.signing import Signer

__all__ = ["Seal", "attacher", "attestations", "index", "sealer", "test_result"]

_IN_TOTO = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v0.1"
_SPDX = "https://spdx.dev/Document"

# The commit that has the sources of a local image; empty where that is not known.
Commit = Callable[[TargetImage], str]

# What signs an image in a registry: its name there, its digest, that of what is under its tags, and
# what is in it, if that was seen here.
Seal = Callable[[TargetImage, str, str, str, "Inventory | None"], None]


def attacher(commit: Commit) -> Attach:
    """What reads all that it says of an image, and gives what pushes that beside it."""

    def ready(pusher: Pusher, local: TargetImage) -> Callable[[str, Manifest], Manifest]:
        found = inventory_of(pusher.engine, local)
        if not found.packages:
            raise PushError(
                f"{local.target.name} does not say which packages it has",
                remedy=f"build it again: dlc build {local.target.name}",
            )
        made = provenance.predicate(local, commit=commit(local))

        def attach(repository: str, image: Manifest) -> Manifest:
            pusher.client.put_manifest(repository, image.digest, image)
            name = f"{pusher.place.host}/{repository}"
            listed = spdx.document(found, name=name, digest=image.digest)
            predicates = {_SPDX: listed, provenance.PREDICATE: made}
            statements = attestations(name, image.digest, predicates)
            return _attach(pusher, repository, image, statements, local.target.platform)

        return attach

    return ready


def sealer(
    signer: Signer, commit: Commit, results: Mapping[str, Mapping[str, Any]] | None = None
) -> Seal:
    """What signs an image that was pushed, and statements of what is in it and what it is made of.

    Also of what its tests said, if `results` has that, by the target's name.
    """

    def seal(local: TargetImage, name: str, image: str, top: str, found: Inventory | None) -> None:
        reference = f"{name}@{top}"
        if found is None:
            raise PushError(
                f"{reference} is another build of the same key, and is not signed: what is in it "
                "was not seen here",
                remedy="sign it where it was built, or see who did: dlc verify",
            )
        signer.sign(reference)
        listed = spdx.document(found, name=name, digest=image)
        signer.attest(reference, signing.SPDX, listed)
        made = provenance.predicate(local, commit=commit(local))
        signer.attest(reference, signing.PROVENANCE, made)
        if result := (results or {}).get(local.target.name):
            signer.attest(reference, signing.TEST_RESULT, result)

    return seal


def test_result(passed: Iterable[str]) -> Mapping[str, Any]:
    """The predicate of tests that passed, as in-toto's test-result 0.1 has it."""
    return {
        "result": "PASSED",
        "configuration": [{"name": "dlc test", "uri": f"urn:dlc:builder:{__version__}"}],
        "passedTests": sorted(passed),
    }


def attestations(
    name: str, digest: str, predicates: Mapping[str, Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """in-toto's statements about an image, one for each type of predicate."""
    subject = {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}
    return [
        {"_type": _STATEMENT, "predicateType": kind, "subject": [subject], "predicate": predicate}
        for kind, predicate in predicates.items()
    ]


def _attach(
    pusher: Pusher,
    repository: str,
    image: Manifest,
    statements: list[Mapping[str, Any]],
    platform: str,
) -> Manifest:
    """Store the statements, their manifest and the index of both; the index, by digest."""
    client = pusher.client
    contents = [_json(each) for each in statements]
    layers = []
    for statement, content in zip(statements, contents, strict=True):
        digest = client.put_blob(repository, content)
        layers.append(
            {
                "mediaType": _IN_TOTO,
                "digest": digest,
                "size": len(content),
                "annotations": {"in-toto.io/predicate-type": statement["predicateType"]},
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
                    "mediaType": OCI_CONFIG,
                    "digest": client.put_blob(repository, config),
                    "size": len(config),
                },
                "layers": layers,
            }
        ),
        media_type=OCI_MANIFEST,
    )
    both = index(image, about, platform)
    for manifest in (about, both):
        client.put_manifest(repository, manifest.digest, manifest)
    return both


def index(image: Manifest, about: Manifest, platform: str = DEFAULT) -> Manifest:
    """An index of an image and of what is said about it, as BuildKit writes them."""
    system, _, architecture = platform.partition("/")
    entries = [
        {
            "mediaType": OCI_MANIFEST,
            "digest": image.digest,
            "size": len(image.content),
            "platform": {"architecture": architecture, "os": system},
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
