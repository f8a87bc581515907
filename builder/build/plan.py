"""What a build is determined by, and which targets need one.

Everything that determines an image has a digest: its rendered files, its locks, the images it
starts from, the platform and the profile. Their digest is the build key. An image carries it in
the label `dlc.key`, and the digests by name in `dlc.inputs`, so that a later plan can tell what
changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from builder.dockerfile.render import Renderer
from builder.engine.image import DIGITS, INPUTS_LABEL, KEY_LABEL, ImageInfo
from builder.errors import LockError, StaleLockError
from builder.locks import freshness, lockfile, system
from builder.matrix import components
from builder.matrix.requirements import normalise
from builder.matrix.tags import python_tag
from builder.matrix.target import Target

__all__ = [
    "Derived",
    "Difference",
    "Inputs",
    "Planned",
    "compare",
    "find_by_key",
    "framework_layer",
    "index_by_key",
    "inputs",
    "plan",
    "rebuild_reasons",
]

PROFILE = "sagemaker"


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """All that determines an image: its files, and the digest of each input by name."""

    target: Target
    files: Mapping[str, bytes]
    digests: Mapping[str, str]

    @property
    def key(self) -> str:
        """The build key: SHA-256 in hexadecimal digits.

        A wheelhouse is no part of it: the locks name its wheels by hash.
        """
        return _digest(self.digests)

    def labels(self) -> dict[str, str]:
        """What the image says of it."""
        parts = (f"{name}={digest[:DIGITS]}" for name, digest in sorted(self.digests.items()))
        return {KEY_LABEL: self.key, INPUTS_LABEL: " ".join(parts)}


def framework_layer(target: Target) -> str:
    """The name of what a target shares with the others on its framework's build.

    Their layers are the same up to and including the framework's.
    """
    words = (target.framework, target.framework_version, target.device, python_tag(target.python))
    return "-".join((*words, target.parts.device_tag))


# Why an image with the right key is not what was built of it; empty if it is.
Derived = Callable[["Inputs", ImageInfo], str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One input: the digits of its digest in an image and now; None where it is no input."""

    name: str
    before: str | None
    now: str | None

    @property
    def state(self) -> str:
        """What became of it."""
        if self.before == self.now:
            return "unchanged"
        if self.before is None:
            return "added"
        return "changed" if self.now else "removed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A target and why it needs a build; no reason if its image is up to date.

    `inputs` is None where it cannot be built as it is: the reason says why, `remedy` what to do,
    and `stale` whether its locks are not fresh. `other_name` is that of an image with the right key
    where the target's own name is not its.
    """

    target: Target
    inputs: Inputs | None
    reasons: tuple[str, ...]
    image: ImageInfo | None
    other_name: str = ""
    stale: bool = False
    remedy: str = ""

    @property
    def state(self) -> str:
        """In a word: up to date, build, stale (lock it first), or blocked (no hash is known)."""
        if self.up_to_date:
            return "up to date"
        return "build" if self.inputs else "stale" if self.stale else "blocked"

    @property
    def up_to_date(self) -> bool:
        """Whether the image that is there was made of the same."""
        return not self.reasons


def inputs(target: Target, images: Path, renderer: Renderer) -> Inputs:
    """What a target is to be built from now, with the locks below `images`.

    StaleLockError if a lock is missing or was resolved from something else than the matrix says
    now; LockError if it has a requirement without a hash, or a component has none.
    """
    committed = images / target.folder
    found = freshness.state(committed, target)
    bare: dict[str, str] = {
        each.name: f"no sha256 at {each.at.exact}"
        for each in components.unhashed(target.components)
    }
    at = _places(target)
    unhashed = {name: f"{why}{at.get(name, '')}" for name, why in found.unhashed.items()}
    if bare:
        named = "; ".join(f"{name} ({why})" for name, why in {**bare, **unhashed}.items())
        raise LockError(
            f"{target.name} cannot be built from hashes alone: {named}",
            remedy="add it to the matrix, from the file itself or from who publishes it",
        )
    if found.stale:
        raise StaleLockError(
            f"{target.name} has locks that are not fresh: {found.text}",
            remedy=found.remedy or f"run `dlc lock {target.name}`",
        )
    if unhashed:
        named = "; ".join(f"{name} ({why})" for name, why in unhashed.items())
        raise LockError(
            f"{target.name} cannot be built from hashes alone: {named}",
            remedy=f"run `dlc lock {target.name}` where that source can be reached",
        )
    files = renderer.files(target)
    # The very texts that were found to be fresh.
    files |= {f"{layer}.lock": lockfile.content(text) for layer, text in found.texts.items()}
    if target.system_date:
        files[system.NAME] = (committed / system.NAME).read_bytes()
    digests = {name: _sha256(content) for name, content in files.items()}
    texts = {
        "base": target.base.image,
        "tools-base": target.tools_base.image,
        "platform": target.platform,
        "profile": PROFILE,
    }
    if target.components:
        texts["components"] = " ".join(each.name for each in target.components)
    digests |= {name: _sha256(text.encode()) for name, text in texts.items()}
    return Inputs(target=target, files=files, digests=digests)


def plan(
    targets: Iterable[Target],
    images: Path,
    renderer: Renderer,
    built: Mapping[str, ImageInfo],
    derived: Derived = lambda _inputs, _image: "",
) -> list[Planned]:
    """Which targets need a build, and why; `built` are the images that are there, by name.

    `derived` is asked of those with the right key, as labels are inherited.
    """
    planned, keyed = [], index_by_key(built)
    for target in targets:
        image, other = built.get(target.name), ""
        try:
            now = inputs(target, images, renderer)
        except LockError as error:
            blocked = error.message.removeprefix(f"{target.name} ")
            stale = isinstance(error, StaleLockError)
            planned.append(
                Planned(
                    target=target,
                    inputs=None,
                    reasons=(blocked,),
                    image=image,
                    stale=stale,
                    remedy=error.remedy,
                )
            )
            continue
        reasons = tuple(rebuild_reasons(now, image))
        if image and not reasons:
            reasons = tuple(filter(None, [derived(now, image)]))
        if reasons and (found := find_by_key(now, keyed, derived)):
            reasons, (other, image) = (), found
        planned.append(
            Planned(target=target, inputs=now, reasons=reasons, image=image, other_name=other)
        )
    return planned


def index_by_key(built: Mapping[str, ImageInfo]) -> dict[str, dict[str, ImageInfo]]:
    """The images that have each build key, by name."""
    found: dict[str, dict[str, ImageInfo]] = {}
    for name, image in built.items():
        if key := image.key:
            found.setdefault(key, {})[name] = image
    return found


def find_by_key(
    now: Inputs, keyed: Mapping[str, Mapping[str, ImageInfo]], derived: Derived
) -> tuple[str, ImageInfo] | None:
    """A name, its target's own if it can be, and the image that was built of the same; or None."""
    there = keyed.get(now.key, {})
    names = sorted(there, key=lambda name: name != now.target.name)
    return next(((name, there[name]) for name in names if not derived(now, there[name])), None)


def compare(now: Mapping[str, str], before: Mapping[str, str]) -> list[Difference]:
    """The digest of every input beside that of an image, in the order of their names."""
    return [
        Difference(name=name, before=before.get(name), now=now.get(name, "")[:DIGITS] or None)
        for name in sorted({*now, *before})
    ]


def changed(now: Mapping[str, str], before: Mapping[str, str]) -> list[str]:
    """The inputs whose digests are not those of an image, in the order of their names.

    >>> changed({"base": "ab", "x": "12"}, {"base": "cd", "y": "00"})
    ['base changed', 'x added', 'y removed']
    """
    return [f"{each.name} {each.state}" for each in compare(now, before) if each.before != each.now]


def rebuild_reasons(now: Inputs, image: ImageInfo | None) -> list[str]:
    """Why an image is to be built; nothing if it was made of the same."""
    if image is None:
        return ["there is no image"]
    if image.key == now.key:
        return []
    if INPUTS_LABEL not in image.labels:
        return ["the image has no build key label"]
    return changed(now.digests, image.inputs) or ["the build key differs"]


def _places(target: Target) -> dict[str, str]:
    """Where the matrix names the wheels of a target's components, by package, to end a reason."""
    return {
        normalise(wheel.filename.split("-")[0]): f"; {wheel.at.exact}"
        for component in target.components
        for wheel in component.wheels
    }


@lru_cache(maxsize=256)  # Most files of an image are the same in all, but for its locks.
def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest(parts: Mapping[str, str]) -> str:
    lines = [f"{name} {digest}" for name, digest in sorted(parts.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
