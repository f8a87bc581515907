"""The inventory of an image of the engine, kept by build key and id: an id never changes.

What its layers hold is kept by these, too, so that an image with other labels is not read again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import tarfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from builder.engine.containers import created, refused
from builder.engine.export import Chunks
from builder.engine.image import KEY_LABEL
from builder.engine.layers import from_engine
from builder.engine.unpacked import content_id, unpacked_size
from builder.errors import ContainerError, InventoryError, WriteError
from builder.inventory import programs
from builder.inventory.filesystem import scan
from builder.inventory.locked import compare
from builder.inventory.model import Config, Inventory, Package, from_json, to_json
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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Holds:
    """What an image's layers hold, whatever it says of itself."""

    packages: tuple[Package, ...]
    distribution: str
    release: str
    differences: tuple[str, ...]


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
    if known := _read(record):
        return replace(known, image=name)
    alike = _record_of_content(attributes)
    same = _read(alike) if alike else None
    found = _inventory(client, attributes, same or _look(client, attributes), name)
    document = {**to_json(found), "program": _program()}
    with suppress(WriteError):  # to look needs no state that can be written
        for path in [record, *([alike] if alike and not same else [])]:
            atomic.write(path, json.dumps(document, indent=1) + "\n", folders=True)
    return found


def _read(record: Path) -> Inventory | None:
    """What was recorded by this code; what is damaged is made again."""
    with suppress(OSError, ValueError, InventoryError):
        document = json.loads(record.read_text("utf-8"))
        known = from_json(document, str(record))
        if document.get("program") == _program():
            return known
    return None


def _record_of_content(attributes: Mapping[str, Any]) -> Path | None:
    """Where the inventory of an image that holds the same is kept."""
    config = attributes.get("Config") or {}
    found = content_id(attributes, _environment(config), _components(config))
    digest = found.partition(":")[2]
    return state_directory() / "contents" / f"{digest}.json" if digest else None


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


def _look(client: docker.DockerClient, attributes: Mapping[str, Any]) -> _Holds:
    """What an image holds, read from all of it."""
    config = attributes.get("Config") or {}
    contents = exported(client, str(attributes["Id"]), scan)
    packages, differences = compare(contents.packages, contents.locks, _environment(config))
    packages += tuple(programs.components(_components(config)))
    return _Holds(
        packages=tuple(sorted(packages)),
        distribution=contents.distribution,
        release=contents.release,
        differences=differences,
    )


def _inventory(
    client: docker.DockerClient, attributes: Mapping[str, Any], holds: _Holds | Inventory, name: str
) -> Inventory:
    config = attributes.get("Config") or {}
    labels = dict(config.get("Labels") or {})
    identity = str(attributes["Id"])
    return Inventory(
        image=name,
        id=identity,
        key=labels.get(KEY_LABEL, ""),
        created=str(attributes.get("Created") or ""),
        distribution=holds.distribution,
        release=holds.release,
        packages=holds.packages,
        config=Config(
            env=dict(sorted(_env(config).items())),
            labels=dict(sorted(labels.items())),
            entrypoint=tuple(config.get("Entrypoint") or ()),
            cmd=tuple(config.get("Cmd") or ()),
            user=str(config.get("User") or ""),
            workdir=str(config.get("WorkingDir") or ""),
            ports=tuple(sorted(config.get("ExposedPorts") or ())),
        ),
        layers=from_engine(client, identity).layers,
        size=unpacked_size(client, identity),
        differences=holds.differences,
    )


def _env(config: Mapping[str, Any]) -> dict[str, str]:
    return dict(each.partition("=")[::2] for each in config.get("Env") or ())


def _environment(config: Mapping[str, Any]) -> str:
    """The virtual environment that Python's packages are in."""
    return _env(config).get("VIRTUAL_ENV", _ENVIRONMENT)


def _components(config: Mapping[str, Any]) -> str:
    return str((config.get("Labels") or {}).get(_COMPONENTS_LABEL, ""))
