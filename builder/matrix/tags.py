"""The grammar of repository names and tags, both ways.

    <framework-version>[-transformers<version>]-<device>-<py>[-<device-tag>][-v<revision>]

A device tag is an operating system, after an accelerator if there is one: `ubuntu20.04`,
`cu111-ubuntu20.04`, `sdk1.17.1-ubuntu18.04`; in own images a variant may follow, `debian12-slim`.
Official images carry shorter forms of it too (release pages of the official images): the versions
of framework and Transformers both shortened to two numbers, without Transformers, and without the
device tag.
"""

from __future__ import annotations

import re
from dataclasses import replace

from builder.errors import TagError
from builder.util.frozen import frozen

__all__ = [
    "Repository",
    "Tag",
    "aliases",
    "parse_repository",
    "parse_tag",
    "python_from_tag",
    "python_tag",
    "short",
]

_REPOSITORY = (
    r"huggingface-(?P<framework>pytorch|tensorflow)-(?P<compiler>trcomp-(?=training$))?"
    r"(?P<mode>training|inference)(?:-(?P<neuron>neuronx?))?"
)
_VERSION = r"\d+\.\d+(?:\.\d+(?:\.(?:post|dev)\d+|(?:a|b|rc)\d+)?)?"
_REVISION = r"v\d+(?:\.\d+)?"
_TAG = (
    rf"(?P<framework_version>{_VERSION})"
    rf"(?:-transformers(?P<transformers>{_VERSION}))?"
    r"-(?P<device>cpu|gpu|neuronx|neuron)"
    r"-py(?P<python>3\d{1,2})"
    r"(?:-(?P<accelerator>cu\d{2,4}|sdk\d+\.\d+\.\d+))?"
    rf"(?:-(?P<os>(?!{_REVISION}(?:-|$))[a-z][a-z0-9.]*"
    rf"(?:-(?!{_REVISION}(?:-|$))[a-z0-9.]+)*(?<=[a-z0-9])))?"
    r"(?:-v(?P<revision>\d+(?:\.\d+)?))?"
)
_ACCELERATOR_OF = {"cpu": "", "gpu": "cu", "neuron": "sdk", "neuronx": "sdk"}
_GOES_WITH = {
    "cpu": "has none",
    "gpu": "goes with one like cu111",
    "neuron": "goes with one like sdk1.17.1",
    "neuronx": "goes with one like sdk2.20.0",
}


@frozen
class Repository:
    """`huggingface-{framework}-{mode}`, for Inferentia and Trainium with the device after it.

    `neuron` is neuron or neuronx, else empty. With SageMaker's training `compiler` it is
    `huggingface-{framework}-trcomp-training`.
    """

    framework: str
    mode: str
    neuron: str = ""
    compiler: bool = False

    def __str__(self) -> str:
        mode = f"trcomp-{self.mode}" if self.compiler else self.mode
        return "-".join(filter(None, ("huggingface", self.framework, mode, self.neuron)))


@frozen
class Tag:
    """The parts of a tag; `python` is a version like 3.8, absent parts are None."""

    framework_version: str
    transformers: str | None
    device: str
    python: str
    accelerator: str | None = None
    os: str | None = None
    revision: str | None = None

    @property
    def device_tag(self) -> str:
        """Accelerator and operating system: `cu111-ubuntu20.04`; empty in abbreviated tags."""
        return "-".join(part for part in (self.accelerator, self.os) if part)

    def __str__(self) -> str:
        parts = (
            self.framework_version,
            f"transformers{self.transformers}" if self.transformers else "",
            self.device,
            python_tag(self.python),
            self.device_tag,
            f"v{self.revision}" if self.revision else "",
        )
        return "-".join(part for part in parts if part)


def python_tag(python: str) -> str:
    """Write a Python version as tags do.

    >>> python_tag("3.10")
    'py310'
    """
    return "py" + python.replace(".", "")


def python_from_tag(text: str) -> str:
    """Read a Python version as tags, or people, write it.

    >>> python_from_tag("py310"), python_from_tag("3.10")
    ('3.10', '3.10')
    """
    match = re.fullmatch(r"(?:py)?3\.?(\d{1,2})", text, re.ASCII)
    if not match:
        raise TagError(f"{text!r} is not a Python version", remedy="write py311 or 3.11")
    return f"3.{match[1]}"


def parse_repository(text: str) -> Repository:
    """Read a repository name; TagError if it is none of ours."""
    match = re.fullmatch(_REPOSITORY, text)
    if not match:
        raise TagError(
            f"{text!r} is not a repository name",
            remedy="they are huggingface-{pytorch,tensorflow}-{training,inference}[-neuron[x]]",
        )
    return Repository(
        framework=match["framework"],
        mode=match["mode"],
        neuron=match["neuron"] or "",
        compiler=match["compiler"] is not None,
    )


def parse_tag(text: str) -> Tag:
    """Read a tag in any of its forms; TagError, with the reason, if it is none.

    >>> str(parse_tag("1.9.1-transformers4.12.3-cpu-py38-ubuntu20.04").os)
    'ubuntu20.04'
    """
    match = re.fullmatch(_TAG, text, re.ASCII)
    example = "1.9.1-transformers4.12.3-gpu-py38-cu111-ubuntu20.04"
    if not match:
        raise TagError(f"{text!r} is not a tag", remedy=f"a tag looks like {example}")
    tag = Tag(
        framework_version=match["framework_version"],
        transformers=match["transformers"],
        device=match["device"],
        python=f"3.{match['python'][1:]}",
        accelerator=match["accelerator"],
        os=match["os"],
        revision=match["revision"],
    )
    if tag.transformers and _is_short(tag.framework_version) != _is_short(tag.transformers):
        raise TagError(
            f"{text!r} mixes a full and a short version",
            remedy="no released image does: write both with two numbers or both with three",
        )
    wanted = _ACCELERATOR_OF[tag.device]
    given = re.match("cu|sdk|", tag.accelerator or "")
    if tag.os and given and given[0] != wanted:
        raise TagError(
            f"{text!r} has {tag.accelerator or 'no accelerator'} for device {tag.device}",
            remedy=f"{tag.device} {_GOES_WITH[tag.device]}",
        )
    if tag.accelerator and not tag.os:
        raise TagError(f"{text!r} ends before the operating system", remedy=f"compare {example}")
    return tag


def short(tag: Tag) -> Tag:
    """The tag with two-number versions."""
    return replace(
        tag,
        framework_version=_two(tag.framework_version),
        transformers=_two(tag.transformers) if tag.transformers else None,
    )


def aliases(tag: Tag, *, revision: str = "1.0") -> tuple[str, ...]:
    """All tags that one official release of `tag` carries, the full one first.

    `revision` is that of the release, like 1.0; short forms carry its first number only. Forms
    without Transformers are shared by releases on the same framework version: the newest owns them.
    """
    brief = short(tag)
    major = revision.split(".", maxsplit=1)[0]
    plain, plain_brief = replace(tag, transformers=None), replace(brief, transformers=None)
    found = [
        tag,
        replace(tag, revision=revision),
        brief,
        replace(brief, revision=major),
        plain,
        replace(plain_brief, revision=major),
    ]
    # The official releases of Neuron images are configured without those of SageMaker.
    if tag.device not in ("neuron", "neuronx"):
        found += [
            replace(plain, accelerator=None, os=None),
            replace(plain_brief, accelerator=None, os=None),
        ]
    return tuple(dict.fromkeys(str(each) for each in found))


def _two(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _is_short(version: str) -> bool:
    return version.count(".") == 1
