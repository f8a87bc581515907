"""Which tags a release of a target carries, and which of them never move.

An official release carries all that the official images carry (see `builder.matrix.tags.aliases`):
the full tag, `-vX.Y`, and shorter forms that several targets may share. Who is pushed last must not
decide who has a shared one, so the matrix does: the target with the newest Transformers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from packaging.version import Version

from builder.errors import PushError
from builder.matrix.tags import aliases
from builder.matrix.target import Target

__all__ = ["MAJORS", "check_revision", "is_fixed", "moving", "next_revision", "revisions"]

# Revisions whose tags ECR can be told to keep (see `ecr_repositories`): it takes few patterns.
MAJORS = ("1", "2", "3")
_FIXED = re.compile(r"key-[0-9a-f]{16}|.+-v\d+\.\d+", re.ASCII)


def check_revision(revision: str, targets: Iterable[Target]) -> None:
    """PushError, with all of them, if targets are of another major release than a revision.

    Their label `dlc_major_version` would say another number, and ECR might not keep the tag.
    """
    major = revision.partition(".")[0]
    others = [target for target in targets if target.major != major]
    if others:
        listed = "".join(f"\n  {target.name}: {target.major}.Y" for target in others)
        raise PushError(
            f"{revision} does not match the major release of these targets:{listed}\n ",
            remedy="push each major release by itself, or say another `major` in the matrix",
        )


def is_fixed(tag: str) -> bool:
    """Whether a tag, once it is there, must stay what it is, whatever the registry would allow.

    >>> is_fixed("2.9.0-gpu-py312-v1.0"), is_fixed("2.9-gpu-py312-v1"), is_fixed("2.9.0-gpu-py312")
    (True, False, False)
    """
    return _FIXED.fullmatch(tag) is not None


def moving(target: Target, targets: Iterable[Target], *, revision: str) -> tuple[str, ...]:
    """The tags that a new revision of a target takes over, the full one first.

    `targets` are all of the matrix: of those that would carry the same short tag, the one with the
    newest Transformers has it. Only official targets have short ones.
    """
    if target.origin != "official":
        return (target.tag,)
    mine = [tag for tag in aliases(target.parts, revision=revision) if not is_fixed(tag)]
    taken: set[str] = set()
    for other in targets:
        same_place = other.repository == target.repository and other.name != target.name
        if same_place and other.origin == "official" and _age(other) > _age(target):
            taken.update(aliases(other.parts, revision=revision))
    return tuple(tag for tag in mine if tag == target.tag or tag not in taken)


def revisions(full: str, tags: Iterable[str]) -> list[str]:
    """The revisions of a full tag that are among a repository's tags, the oldest first.

    >>> revisions("9.9.9-cpu", ["9.9.9-cpu-v1.10", "9.9.9-cpu-v1.9", "9.9.9-cpu", "9.9-cpu-v1"])
    ['1.9', '1.10']
    """
    found = (re.fullmatch(re.escape(full) + r"-v(\d+\.\d+)", tag, re.ASCII) for tag in tags)
    return sorted((match[1] for match in found if match), key=_numbers)


def next_revision(known: Sequence[str], major: str) -> str:
    """The revision after the newest that is known of a major one.

    >>> next_revision(["1.0", "1.9", "1.10", "2.3"], "1"), next_revision([], "2")
    ('1.11', '2.0')
    """
    minors = [_numbers(each)[1] for each in known if each.split(".")[0] == major]
    return f"{major}.{max(minors, default=-1) + 1}"


def _numbers(revision: str) -> tuple[int, int]:
    major, minor = revision.split(".")
    return int(major), int(minor)


def _age(target: Target) -> tuple[Version, Version, str]:
    versions = (Version(target.transformers), Version(target.framework_version))
    return (*versions, target.tag)
