"""The inventory of an image of the engine, kept by build key and id: an id never changes."""

from __future__ import annotations

import functools
import hashlib
import json
import tarfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from builder.engine.containers import created, refused
from builder.engine.export import Chunks
from builder.engine.image import KEY_LABEL
from builder.engine.layers import from_engine
from builder.engine.unpacked import unpacked_size
from builder.errors import ContainerError, InventoryError, WriteError
from builder.inventory import programs
from builder.inventory.filesystem import Contents, scan
from builder.inventory.locked import compare
from builder.inventory.model import Config, Inventory, from_json, to_json
from builder.util import atomic
from builder.util.state import state_directory

if TYPE_CHECKING:
    import docker

__all__ = ["BUFFER", "dumps", "exported", "of_image", "record_of"]

T = TypeVar("T")

# tarfile copies what is left of its buffer for each header: a large one is slow.
BUFFER = 1 << 16
_CHUNK = 1 << 20
_COMPONENTS_LABEL = "dlc.components"
_ENVIRONMENT = "/opt/venv"


def of_image(client: docker.DockerClient, image: str, name: str) -> Inventory:
    """What is in an image, read once for each id, and recorded under its build key.

    `name` is what people call it. ContainerError if the engine has no such image.
    """
    import docker.errors

    try:
        attributes = client.images.get(image).attrs
    except docker.errors.APIError as error:
        if error.status_code not in (400, 404):  # what can be no image's name is no image's
            raise
        raise ContainerError(
            f"there is no image {name}", remedy=f"run `dlc build {name}`"
        ) from error
    identity = str(attributes["Id"])
    labels = (attributes.get("Config") or {}).get("Labels") or {}
    record = record_of(labels.get(KEY_LABEL, ""), identity)
    with suppress(OSError, ValueError, InventoryError):  # what is damaged is made again
        document = json.loads(record.read_text("utf-8"))
        known = from_json(document, str(record))
        if document.get("program") == _program():
            return replace(known, image=name)
    found = _inventory(client, attributes, exported(client, identity, scan), name)
    with suppress(WriteError):  # to look needs no state that can be written
        document = {**to_json(found), "program": _program()}
        atomic.write(record, json.dumps(document, indent=1) + "\n", folders=True)
    return found


def record_of(key: str, identity: str) -> Path:
    """Where the inventory of an image is kept."""
    root = state_directory() / "inventories"
    return root / (key or "no-key") / f"{identity.partition(':')[2]}.json"


def dumps(inventory: Inventory) -> str:
    """An inventory as the text of a file."""
    return json.dumps(to_json(inventory), indent=1, ensure_ascii=False) + "\n"


@functools.cache
def _program() -> str:
    """A digest of this package: what other code found is not what this one finds."""
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def exported(client: docker.DockerClient, image: str, read: Callable[[tarfile.TarFile], T]) -> T:
    """What `read` makes of all that a container of the image would see; none is started."""
    with (
        created(
            client, image, command=["unused"], network_mode="none", read_only=True
        ) as container,
        refused(f"{image} cannot be read", "see `dlc engine status`"),
    ):
        # The types of docker's client say that it is a text.
        parts: Any = container.export(chunk_size=_CHUNK)
        stream = Chunks(iter(parts))
        try:
            with tarfile.open(fileobj=stream, mode="r|", bufsize=BUFFER) as tar:
                return read(tar)
        except tarfile.TarError as error:
            raise InventoryError(
                f"the engine's export of {image} breaks off: {error}", remedy="try again"
            ) from error


def _inventory(
    client: docker.DockerClient, attributes: Mapping[str, Any], contents: Contents, name: str
) -> Inventory:
    config = attributes.get("Config") or {}
    labels = dict(config.get("Labels") or {})
    env = dict(each.partition("=")[::2] for each in config.get("Env") or ())
    identity = str(attributes["Id"])
    packages, differences = compare(
        contents.packages, contents.locks, env.get("VIRTUAL_ENV", _ENVIRONMENT)
    )
    packages += tuple(programs.components(labels.get(_COMPONENTS_LABEL, "")))
    return Inventory(
        image=name,
        id=identity,
        key=labels.get(KEY_LABEL, ""),
        created=str(attributes.get("Created") or ""),
        distribution=contents.distribution,
        release=contents.release,
        packages=tuple(sorted(packages)),
        config=Config(
            env=dict(sorted(env.items())),
            labels=dict(sorted(labels.items())),
            entrypoint=tuple(config.get("Entrypoint") or ()),
            cmd=tuple(config.get("Cmd") or ()),
            user=str(config.get("User") or ""),
            workdir=str(config.get("WorkingDir") or ""),
            ports=tuple(sorted(config.get("ExposedPorts") or ())),
        ),
        layers=from_engine(client, identity).layers,
        size=unpacked_size(client, identity),
        differences=differences,
    )
