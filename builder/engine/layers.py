"""What images share: their layers, who uses each, and the bytes that saves.

A registry keeps each layer once, and whoever pulls two images fetches what they share once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from builder.engine.unpacked import diff_ids, layer_sizes, uses_containerd
from builder.errors import ContainerError

if TYPE_CHECKING:
    import docker

__all__ = [
    "ImageLayers",
    "Layer",
    "SharedLayer",
    "Sharing",
    "from_engine",
    "from_json",
    "pair",
    "sharing",
    "step_of",
    "to_json",
]

BASE = "base"
STEP_WIDTH = 72

_DIGEST = re.compile(r"sha256:[0-9a-f]{12,64}")
# With what templates/macros.j2 puts around every step.
_SHELL = re.compile(
    r"^(?:\|\d+ .*?)?/bin/(?:ba)?sh (?:-o \w+ )*-\w*c (?:began=.*? --date=@\d+ \{\} \+ )?"
)
_VARIABLES = re.compile(r"^(?:[A-Za-z_]\w*=\S* )+(?=\S)")
# Instructions that only change the image's configuration.
_NO_LAYER = {
    *("ARG", "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER"),
    *("ONBUILD", "SHELL", "STOPSIGNAL", "USER", "VOLUME"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One layer: the engine's diff id, its bytes unpacked, the instruction that made it."""

    digest: str
    size: int
    step: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLayers:
    """An image's layers, the base's first."""

    name: str
    layers: tuple[Layer, ...]

    @property
    def size(self) -> int:
        """The image's bytes, unpacked."""
        return sum(layer.size for layer in self.layers)


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedLayer:
    """A layer and the names of the images that have it, in order, each once."""

    digest: str
    size: int
    step: str
    users: tuple[str, ...]

    @property
    def saved(self) -> int:
        """The bytes saved because its users share it."""
        return self.size * (len(self.users) - 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sharing:
    """What images share, the layer that saves most bytes first.

    `total` is the bytes of all images, `unique` those of each digest once.
    """

    images: tuple[str, ...]
    layers: tuple[SharedLayer, ...]
    total: int
    unique: int

    @property
    def ratio(self) -> float:
        """How many times larger the images would be without sharing; 1 where nothing is."""
        return self.total / self.unique if self.unique else 1.0


def sharing(images: Iterable[ImageLayers]) -> Sharing:
    """Count each digest's users and bytes.

    Where images tell different sizes of one digest the largest counts: a smaller one comes from
    a history that does not tell it (see `pair`).
    """
    images = tuple(images)
    first: dict[str, Layer] = {}
    sizes: dict[str, int] = {}
    users: dict[str, dict[str, None]] = {}
    for image in images:
        for layer in image.layers:
            first.setdefault(layer.digest, layer)
            sizes[layer.digest] = max(sizes.get(layer.digest, 0), layer.size)
            users.setdefault(layer.digest, {})[image.name] = None
    layers = (
        SharedLayer(digest=digest, size=sizes[digest], step=layer.step, users=tuple(users[digest]))
        for digest, layer in first.items()
    )
    return Sharing(
        images=tuple(image.name for image in images),
        layers=tuple(sorted(layers, key=lambda each: (-each.saved, -each.size, each.digest))),
        total=sum(image.size for image in images),
        unique=sum(sizes.values()),
    )


def to_json(image: ImageLayers) -> dict[str, Any]:
    """An image's layers in JSON's types."""
    return {"image": image.name, "layers": [asdict(layer) for layer in image.layers]}


def from_json(value: Any) -> ImageLayers:
    """What `to_json` made, other keys ignored; ValueError says what is wrong with it."""
    name = value.get("image") if isinstance(value, dict) else None
    if not isinstance(name, str) or not name.isprintable() or not name:
        raise ValueError("`image` is not the name of an image")
    layers = value.get("layers")
    if not isinstance(layers, list):
        raise ValueError(f"{name}: `layers` is not a list")
    return ImageLayers(name=name, layers=tuple(_layer(name, layer) for layer in layers))


def _layer(name: str, value: Any) -> Layer:
    if not isinstance(value, dict):
        raise ValueError(f"{name}: a layer is not an object")
    digest, size, step = (value.get(key) for key in ("digest", "size", "step"))
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ValueError(f"{name}: a layer's `digest` is not sha256:... in hexadecimal")
    if type(size) is not int or not 0 <= size < 2**63:  # True is an int too
        raise ValueError(f"{name}: the `size` of {digest[:19]} is not a number of bytes")
    if not isinstance(step, str) or not step.isprintable():
        raise ValueError(f"{name}: the `step` of {digest[:19]} is not one line of text")
    return Layer(digest=digest, size=size, step=step)


def from_engine(client: docker.DockerClient, name: str) -> ImageLayers:
    """The layers of an image in the engine; ContainerError if it has no such image.

    Raises docker.errors.DockerException when the engine refuses or does not answer.
    """
    import docker.errors

    try:
        image = client.images.get(name)
        history = image.history()
    except docker.errors.NotFound as error:
        raise ContainerError(
            f"there is no image {name}", remedy=f"run `dlc build {name}`"
        ) from error
    found = diff_ids(image)
    layers = pair(found, history[::-1], total=int(image.attrs.get("Size") or 0))
    if uses_containerd(client):
        sizes = layer_sizes(client, str(image.id), found)
        layers = tuple(replace(each, size=sizes[each.digest]) for each in layers)
    return ImageLayers(name=name, layers=layers)


def pair(
    digests: Sequence[str], history: Sequence[Mapping[str, Any]], *, total: int = 0
) -> tuple[Layer, ...]:
    """Join diff ids with the entries of the engine's history, both oldest first.

    Where the base brought fewer entries than layers, the steps belong to the last layers, and
    those before are the base's. The engine hands out sizes from the first layer on all the same;
    what they lack of the image's `total` bytes is said of the first layer without a size, so that
    the sum is right.
    """
    entries = _with_layers(history, len(digests))
    missing = len(digests) - len(entries)
    steps = [BASE] * missing + [step_of(str(entry.get("CreatedBy") or "")) for entry in entries]
    # An ADD that begins an image unpacks a root file system: a distribution's.
    if steps and not steps[0].startswith(("RUN ", "COPY ")):
        steps[0] = BASE
    sizes = [_size(entry) for entry in entries]
    if missing:
        sizes += [max(0, total - sum(sizes))] + [0] * (missing - 1)
    return tuple(
        Layer(digest=digest, size=size, step=step)
        for digest, size, step in zip(digests, sizes, steps, strict=True)
    )


def _with_layers(history: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """The entries, at most `count`, that made a layer.

    The engine does not tell which did. Those with bytes did; of the others, as many as layers are
    left: what may write (an empty file, a directory) before WORKDIR, which mostly writes nothing.
    """

    def unlikely(number: int) -> int:
        if _size(history[number]):
            return 0
        return 2 if _verb(history[number]) == "WORKDIR" else 1

    possible = [n for n, each in enumerate(history) if _size(each) or _verb(each) not in _NO_LAYER]
    return [history[number] for number in sorted(sorted(possible, key=unlikely)[:count])]


def _size(entry: Mapping[str, Any]) -> int:
    return max(0, int(entry.get("Size") or 0))


def _verb(entry: Mapping[str, Any]) -> str:
    return step_of(str(entry.get("CreatedBy") or "")).split(" ", maxsplit=1)[0]


def step_of(created_by: str) -> str:
    """The instruction of a history entry, as short as a person wants it.

    >>> step_of("COPY framework.lock /opt/dlc/ # buildkit")
    'COPY framework.lock'
    >>> step_of("RUN /bin/sh -c A=b     /mnt/install.sh /opt/dlc/framework.lock # buildkit")
    'RUN /mnt/install.sh /opt/dlc/framework.lock'
    """
    text = "".join(each if each.isprintable() else " " for each in created_by)
    text = " ".join(text.split()).removesuffix("# buildkit").strip()
    if not text:
        return BASE
    # The builder before BuildKit wrote only the command; #(nop) marks what was no command.
    shell = _SHELL.match(text)
    if shell and text[shell.end() :].startswith("#(nop)"):
        text = text[shell.end() :].removeprefix("#(nop)").strip()
    elif shell:
        text = f"RUN {text}"
    verb, _, rest = text.partition(" ")
    if verb == "RUN":
        rest = _command(_SHELL.sub("", rest))
    elif verb in ("ADD", "COPY"):
        rest = _sources(rest)
    text = f"{verb} {rest}".strip()
    return text if len(text) <= STEP_WIDTH else f"{text[: STEP_WIDTH - 1].rstrip()}…"


def _command(text: str) -> str:
    """Of a chain of commands the one that says what it is for."""
    commands = text.split(" && ")
    install = "apt-get install "
    command = next((each for each in commands if each.startswith(install)), commands[0])
    if command.startswith(install):
        words = command.split()[2:]
        return install + " ".join(word for word in words if not word.startswith("-"))
    return _VARIABLES.sub("", command)


def _sources(text: str) -> str:
    """What is copied, without where to; the old builder tells only a checksum of it."""
    words = [word for word in text.split() if not word.startswith("--")]
    if len(words) > 2 and words[-2] == "in":
        return words[-1]
    return " ".join(words[:-1] or words)
