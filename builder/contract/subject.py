"""The image under test: what its name promises, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.errors import TagError
from builder.matrix.tags import Repository, Tag, parse_repository, parse_tag
from builder.serve.programs import run_report

if TYPE_CHECKING:
    import docker

__all__ = ["Subject", "components", "examine", "parse"]

COMPONENTS_LABEL = "dlc.components"
TOOLCHAIN_LABEL = "dlc.toolchain"


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """An image and its name, taken apart. `packages` are versions by normalised name.

    `components` are the versions of those that its label names, by their kinds; `toolchain` is what
    its label says that it compiles with, empty for nothing.
    """

    image: str
    repository: Repository
    tag: Tag
    packages: Mapping[str, str]
    components: Mapping[str, str] = field(default_factory=dict)
    toolchain: str = ""

    def version(self, package: str) -> tuple[int, ...]:
        """The numbers of an installed version, to compare; empty if it is not installed.

        >>> from builder.contract.subject import parse
        >>> repository, tag = parse("huggingface-pytorch-training:1.6.0-transformers4.4.2-gpu-py36")
        >>> Subject(
        ...     image="x", repository=repository, tag=tag, packages={"a": "2.6.0.post1"}
        ... ).version("a")
        (2, 6, 0)
        """
        from packaging.version import Version

        found = self.packages.get(package)
        return Version(found).release if found else ()


def parse(name: str) -> tuple[Repository, Tag]:
    """The repository and tag in an image's name, whatever registry or prefix stands before them.

    TagError if the name is not of our grammar.
    """
    repository, colon, tag = name.rpartition("/")[2].partition(":")
    if not colon:
        raise TagError(f"{name} has no tag", remedy="name the image as repository:tag")
    return parse_repository(repository), parse_tag(tag)


def components(label: str) -> dict[str, str]:
    """The kinds and versions in the label `dlc.components`.

    >>> components("openmpi=4.1.1 mpi4py=3.0.3")
    {'openmpi': '4.1.1', 'mpi4py': '3.0.3'}
    """
    return {kind: version for kind, _, version in (part.partition("=") for part in label.split())}


def examine(client: docker.DockerClient, image: str, name: str) -> Subject:
    """Ask an image for its packages and labels; ContainerError if its Python does not tell."""
    from builder.matrix.requirements import normalise

    repository, tag = parse(name)
    packages = run_report(client, image, "image_report.py")["packages"]
    labels = client.images.get(image).labels
    return Subject(
        image=image,
        repository=repository,
        tag=tag,
        packages={normalise(key): version for key, version in packages.items()},
        components=components(labels.get(COMPONENTS_LABEL, "")),
        toolchain=labels.get(TOOLCHAIN_LABEL, ""),
    )
