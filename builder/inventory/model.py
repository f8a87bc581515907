"""What is in an image: its packages of all kinds, its configuration and its layers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import quote

from builder.engine.layers import ImageLayers, Layer
from builder.engine.layers import from_json as layers_from_json
from builder.errors import InventoryError

__all__ = ["FORMAT", "KINDS", "Config", "Inventory", "Package", "family", "from_json", "to_json"]

# Of the JSON document; it grows with any change that a reader of the former would miss.
FORMAT = 1

KINDS = ("python", "system", "java", "runtime", "binary")
_PURL = {"python": "pypi", "system": "deb", "java": "maven"}
_CUDA = re.compile(
    r"cuda-|cudnn|nvidia-(?!ml-py)|libcu[a-z]|libnccl|libnpp|libnv|nccl|triton$|tensorrt|cupy"
)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Package:
    """A package.

    `name` is normalised for Python, and `group:artifact` for Java where the group is known;
    `version` is empty where nothing in the image says it. `layer` is the lock that names a Python
    distribution; `within` what carries a package that nobody installed: a jar, or a distribution.
    `path` is where it was found and `evidence` what says so. `license` is an SPDX expression,
    `licenses` are other names of them, `license_files` the places of their texts. `requires` is
    what a Python distribution says that it needs, without extras.
    """

    kind: str
    name: str
    version: str
    layer: str = ""
    architecture: str = ""
    source: str = ""
    source_version: str = ""
    path: str = ""
    within: str = ""
    evidence: str = ""
    license: str = ""
    licenses: tuple[str, ...] = ()
    license_files: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """The accelerator that it belongs to: cuda, neuron, or none."""
        return family(self.name) if self.kind in ("python", "system") else ""

    def purl(self, distribution: str) -> str:
        """Its package URL; `distribution` is that of packages from dpkg, like debian."""
        version = f"@{quote(self.version, safe='')}" if self.version else ""
        kind = _PURL.get(self.kind, "generic")
        name = "/".join(quote(part) for part in self.name.split(":"))
        if self.kind == "system":
            return f"pkg:deb/{distribution}/{name}{version}?arch={self.architecture}"
        return f"pkg:{kind}/{name}{version}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """How an image starts, and what it says of itself."""

    env: Mapping[str, str]
    labels: Mapping[str, str]
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    ports: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Inventory:
    """An image, by name and id, and what is in it; `key` is its build key if it has one.

    `distribution` and `release` are as in /etc/os-release: debian, 12. `differences` are those
    from its locks, each in words. Of locks alone there is no id, no size and no layer, and the
    packages are only those of Python.
    """

    image: str
    id: str
    key: str
    created: str
    distribution: str
    release: str
    packages: tuple[Package, ...]
    config: Config
    layers: tuple[Layer, ...]
    size: int
    differences: tuple[str, ...] = ()

    @property
    def operating_system(self) -> str:
        """The distribution and its release: `debian 12`; empty where that is not known."""
        return f"{self.distribution} {self.release}".strip()

    def require_locked(self) -> None:
        """InventoryError unless what is installed is what the locks say."""
        if self.differences:
            raise InventoryError(
                f"{self.image} is not as locked: {'; '.join(self.differences)}",
                remedy="build it again from its locks, or lock what is meant: dlc lock",
            )


def family(name: str) -> str:
    """The accelerator that a package belongs to by its name: cuda, neuron, or none.

    >>> family("nvidia-cublas-cu12"), family("aws-neuronx-tools"), family("nvidia-ml-py")
    ('cuda', 'neuron', '')
    """
    if "neuron" in name:
        return "neuron"
    return "cuda" if _CUDA.match(name) or re.search(r"-cu(da)?1\d", name) else ""


def to_json(inventory: Inventory) -> dict[str, Any]:
    """An inventory in JSON's types; what is empty in a package is left out."""
    return {
        "dlc_inventory": FORMAT,
        "image": inventory.image,
        "id": inventory.id,
        "key": inventory.key,
        "created": inventory.created,
        "distribution": inventory.distribution,
        "release": inventory.release,
        "size": inventory.size,
        "differences": list(inventory.differences),
        "packages": [
            {name: value for name, value in asdict(each).items() if value or name == "version"}
            for each in inventory.packages
        ],
        "config": asdict(inventory.config),
        "layers": [asdict(layer) for layer in inventory.layers],
    }


def from_json(value: Any, where: str) -> Inventory:
    """What `to_json` made; InventoryError, with `where` it is from, if it is anything else."""
    if not isinstance(value, dict) or "dlc_inventory" not in value:
        raise InventoryError(
            f"{where} is not an inventory", remedy="write one: dlc inventory TARGET --format json"
        )
    if value["dlc_inventory"] != FORMAT:
        raise InventoryError(
            f"{where} has format {value['dlc_inventory']}, and this dlc reads {FORMAT}",
            remedy="write it again with this dlc, or read it with the other",
        )
    try:
        texts = {
            name: _text(value, name)
            for name in ("image", "id", "key", "created", "distribution", "release")
        }
        size = value["size"]
        if type(size) is not int or size < 0:
            raise ValueError("`size` is not a number of bytes")
        read: ImageLayers = layers_from_json({"image": "x", "layers": value["layers"]})
        return Inventory(
            **texts,
            packages=tuple(sorted(_package(each) for each in _list(value, "packages"))),
            config=_config(value["config"]),
            layers=read.layers,
            size=size,
            differences=_texts(value, "differences"),
        )
    except KeyError as error:
        problem = f"{error.args[0]!r} is missing"
    except (TypeError, ValueError) as error:
        problem = str(error)
    raise InventoryError(f"{where} is damaged: {problem}", remedy="write it again")


def _text(value: Mapping[str, Any], name: str) -> str:
    text = value[name]
    if not isinstance(text, str):
        raise TypeError(f"`{name}` is not a text")
    return text


def _list(value: Mapping[str, Any], name: str) -> list[Any]:
    found = value.get(name) or []
    if not isinstance(found, list):
        raise TypeError(f"`{name}` is not a list")
    return found


def _texts(value: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = _list(value, name)
    if not all(isinstance(each, str) for each in found):
        raise TypeError(f"`{name}` is not a list of texts")
    return tuple(found)


def _package(value: Any) -> Package:
    if not isinstance(value, dict):
        raise TypeError("a package is not an object")
    if value.get("kind") not in KINDS:
        raise ValueError(f"a package has the unknown kind {value.get('kind')!r}")
    if not value.get("name"):
        raise ValueError("a package has no name")
    lists = {"licenses", "license_files", "requires"}
    known = [field.name for field in fields(Package) if field.name not in lists]
    texts: dict[str, Any] = {name: _text(value, name) for name in known if name in value}
    return Package(**{"version": "", **texts, **{name: _texts(value, name) for name in lists}})


def _config(value: Any) -> Config:
    if not isinstance(value, dict):
        raise TypeError("`config` is not an object")
    maps = {}
    for name in ("env", "labels"):
        found = value[name]
        if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
            raise TypeError(f"`{name}` is not a mapping of texts")
        maps[name] = found
    return Config(
        **maps,
        entrypoint=_texts(value, "entrypoint"),
        cmd=_texts(value, "cmd"),
        user=_text(value, "user"),
        workdir=_text(value, "workdir"),
        ports=_texts(value, "ports"),
    )
