"""docs/pins.md: what AWS's Dockerfiles pin beside what the locks here have, and why they differ.

`python -m tools.pins` writes it from docs/pins.yaml and the locks; `--check` fails where it is
another.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from builder.locks.committed import Committed
from builder.locks.freshness import layers
from builder.locks.lockfile import pinned
from builder.matrix.target import Target
from builder.matrix.targets import load_targets

__all__ = ["Difference", "Row", "differences", "main", "page", "read", "versions"]

ROOT = Path(__file__).parents[1]
DATA, PAGE = ROOT / "docs" / "pins.yaml", ROOT / "docs" / "pins.md"
REPOSITORY = "https://github.com/aws/deep-learning-containers"
NEWEST = "newest"
TITLE = """\
# Pins of the official images

Written by `make docs` from [pins.yaml](pins.yaml), which has what the Dockerfiles of AWS's images
after the reference tables pin, and from the locks of the same rows here. Where both agree, or AWS
names a bound that holds here, nothing is listed. The commit is the revision of AWS's repository
that was read: AWS changes a Dockerfile after its release, and rebuilds the image under that tag.
Inference images for GPU have the same sets of libraries as those for CPU; those for Neuron are not
compared.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What the Dockerfile of a row pins, by package, and why an image here differs."""

    name: str
    dockerfile: str
    commit: str
    pins: Mapping[str, str]
    why: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A package whose version here does not fit what AWS pins; `ours` is None without it."""

    package: str
    official: str
    ours: str | None
    reason: str


def read(path: Path = DATA) -> tuple[dict[str, str], list[Row]]:
    """The reasons by name, and the rows."""
    import yaml

    # As text, so that 2.3 stays what it is.
    data: dict[str, Any] = yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)  # noqa: S506
    keys = ("dockerfile", "commit", "pins", "why")
    rows = [Row(name=row["row"], **{key: row[key] for key in keys}) for row in data["rows"]]
    return data["reasons"], rows


def versions(committed: Committed, target: Target) -> dict[str, str]:
    """What a target's locks have, by package; nothing for a wheel that is named by its address."""
    owns = (committed.own(layer, target) for layer in layers(target)[1:-1])
    entries = (entry for lock in owns if lock for entry in lock.entries.values())
    return dict(map(pinned, entries))


def differences(row: Row, have: Mapping[str, str]) -> Iterator[Difference]:
    """Where a row differs, by package.

    KeyError if no reason is known; ValueError if one is named that nothing needs.

    >>> row = Row(name="", dockerfile="", commit="", pins={"a": "1.0", "b": ">=2"}, why={})
    >>> [each.reason for each in differences(row, {"a": "1.1", "b": "2.5"})]
    ['newest']
    """
    unused = set(row.why)
    for package, official in sorted(row.pins.items()):
        ours = have.get(package)
        exact = official[:1].isdigit()
        if ours is not None and fits(ours, official):
            continue
        newer = exact and ours is not None and Version(ours) > Version(official)
        reason = row.why[package] if package in row.why or not newer else NEWEST
        unused.discard(package)
        yield Difference(package=package, official=official, ours=ours, reason=reason)
    if unused:
        raise ValueError(f"{row.name}: no reason is needed for {', '.join(sorted(unused))}")


def fits(version: str, official: str) -> bool:
    """Whether a version is what was pinned, or within the bounds.

    >>> fits("2.3.0", "2.3"), fits("2.4.0", "2.3"), fits("1.0", "*"), fits("1.0", "commit 1a2b")
    (True, False, True, False)
    """
    if official == "*" or official.startswith("commit "):
        return official == "*"
    specifiers = f"=={official}" if official[:1].isdigit() else official
    return SpecifierSet(specifiers).contains(version, prereleases=True)


def page(reasons: Mapping[str, str], found: Iterable[tuple[Row, Sequence[Difference]]]) -> str:
    """The page, with a number for each reason, in the order of the table."""
    numbers: dict[str, int] = {}
    lines = []
    for row, differing in found:
        link = f"[{row.commit}]({REPOSITORY}/blob/{row.commit}/{row.dockerfile})"
        same = len(row.pins) - len(differing)
        lines += ["", f"`{row.name}`, {link}: {same} of {len(row.pins)} agree", ""]
        lines += ["| package | official | here | why |", "|---|---|---|---|"]
        for each in differing:
            number = numbers.setdefault(each.reason, len(numbers) + 1)
            official = "any version" if each.official == "*" else each.official
            lines.append(f"| {each.package} | {official} | {each.ours or 'none'} | {number} |")
    why = [f"{number}. {reasons[reason]}" for reason, number in numbers.items()]
    return "\n".join([TITLE.rstrip(), *lines, "", "Why:", "", *why, ""])


def main() -> None:
    """Write the page, or look whether it is up to date."""
    parser = argparse.ArgumentParser(prog="python -m tools.pins", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    text = current()
    if not arguments.check:
        PAGE.write_text(text, "utf-8")
    elif text != PAGE.read_text("utf-8"):
        sys.exit("docs/pins.md is not up to date: run `make docs`")


def current() -> str:
    """The page as it should be."""
    targets = {target.name: target for target in load_targets(ROOT / "matrix.yaml")}
    reasons, rows = read()
    committed = Committed(ROOT / "images", [targets[row.name] for row in rows])
    return page(
        reasons,
        [(row, list(differences(row, versions(committed, targets[row.name])))) for row in rows],
    )


if __name__ == "__main__":
    main()
