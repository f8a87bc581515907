"""What a push has to do for a tag: decided by what is there already, never by what one hopes.

Two images are the same if they are one by digest, or were built from the same by key: builds are
not the same to the byte, and whoever builds a key once more must not move its tags.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from builder.build.plan import changed
from builder.engine.image import INPUTS_LABEL, KEY_LABEL, TargetImage, inputs_of, key_tag
from builder.errors import PushError
from builder.inventory.model import Inventory
from builder.registry.client import DOCKER_MANIFEST, INDEXES, OCI_INDEX, OCI_MANIFEST, Manifest
from builder.release.tags import is_fixed

__all__ = [
    "DOCKER_CONFIG",
    "DOCKER_LAYER",
    "OCI",
    "OCI_CONFIG",
    "OCI_LAYER",
    "SAGEMAKER",
    "Prepared",
    "Remote",
    "conflict",
    "is_same",
    "misfit",
]

SAGEMAKER = "sagemaker"
OCI = "oci"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+zstd"


@dataclass(frozen=True, kw_only=True, slots=True)
class Remote:
    """What a registry has under a tag; `manifest` is the image's own, `top` the tag's.

    They are one but for an index.
    """

    top: Manifest
    manifest: Manifest
    labels: Mapping[str, str]

    @property
    def image_id(self) -> str:
        """The digest of its config, which classic engines have as an image's id."""
        return str(self.manifest.document.get("config", {}).get("digest", ""))


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """An image that can be pushed; `there` is its manifest if the registry has it already.

    `attach` is what is pushed beside it, for profiles that have that; `inventory` is what is in it,
    unless the registry has another build of it.
    """

    local: TargetImage
    repository: str
    there: Manifest | None
    attach: Callable[[str, Manifest], Manifest] | None = None
    inventory: Inventory | None = None


def is_same(local: TargetImage, remote: Remote) -> bool:
    """Whether the registry has the image that the engine has."""
    return (
        local.id in {remote.image_id, remote.manifest.digest, remote.top.digest}
        or remote.labels.get(KEY_LABEL) == local.key
    )


def differences(local: TargetImage, remote: Remote) -> str:
    """What the local image was built from that the other was not, in a few words."""
    if INPUTS_LABEL not in remote.labels:
        return "the one there does not say what it was built from"
    return ", ".join(changed(local.inputs, inputs_of(remote.labels))) or "built from something else"


def conflict(reference: str, local: TargetImage, remote: Remote, digest: str = "") -> PushError:
    """The error for a tag that must not move; `digest` is ours, if it is known."""
    ours = f"{digest}, image {local.id}" if digest else f"image {local.id}"
    if is_same(local, remote):  # by key: another build of it, or another profile
        why = "built from the same, but not the same bytes or format"
        remedy = "to push a profile beside another, give it a prefix of its own"
    else:
        why = differences(local, remote)
        tag = reference.rpartition(":")[2]
        if tag == key_tag(local.key):
            remedy = "see who pushed it, and delete it there if it is not what it says"
        elif is_fixed(tag):
            remedy = "a release never changes: push this image as another, --release X.Y"
        else:
            remedy = "the repository keeps its tags: push to another, or delete the tag there"
    return PushError(
        f"{reference} is {remote.top.digest}, image {remote.image_id}, and must not become {ours}: "
        f"{why}",
        remedy=remedy,
    )


def misfit(manifest: Manifest, profile: str) -> str:
    """Why a manifest is not what a profile promises; empty if it is.

    SageMaker takes neither OCI's media types nor an index (aws/amazon-sagemaker-feedback#180).
    """
    if profile == OCI:
        if manifest.media_type != OCI_INDEX:
            return f"it is {manifest.media_type}, not an OCI index"
        return ""
    if manifest.media_type in INDEXES:
        return f"it is an index, {manifest.media_type}, which SageMaker does not take"
    return _parts(
        manifest.media_type, manifest.document, DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER
    )


def oci_misfit(manifest: Manifest) -> str:
    """The same for the image's own manifest in an index."""
    return _parts(manifest.media_type, manifest.document, OCI_MANIFEST, OCI_CONFIG, OCI_LAYER)


def _parts(media_type: str, document: Mapping[str, Any], *wanted: str) -> str:
    config = document.get("config", {}).get("mediaType")
    layers = [layer.get("mediaType") for layer in document.get("layers", ())]
    if not layers:
        return "it has no layers"
    found = ((media_type, wanted[0]), (config, wanted[1]), *((each, wanted[2]) for each in layers))
    for is_, must in found:
        if is_ != must:
            return f"expected {must}, found {is_}"
    return ""
