"""The result of a proof: one row for each target, as JSON for programs and a table for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from builder.engine.layers import ImageLayers, from_json, sharing
from builder.locks.freshness import state
from builder.matrix.target import Target
from builder.report.layers_svg import draw, summary
from builder.util.check import Check
from builder.util.text import human_size

__all__ = [
    "Row",
    "layers",
    "load",
    "not_tried",
    "passed",
    "picture",
    "save",
    "span",
    "table",
    "unproven",
]

_INTRODUCTION = """\
# Which rows build

Written by `make prove`: each target was built from its committed locks, checked, and asked or
trained once: Python and versions as the tag says, every package as locked, `pip check`, labels, and
an answer. Row by row, with bases, seconds, answers and what no image has, it is on the page *Proof*
of the [site](site.md) (`make site`), and in [proof.json](proof.json).

Where a base or a wheel could not be reached, a stand-in took its place: Debian 12 with a CPython of
the same minor version for Ubuntu, the package index's wheel of the same version for PyTorch's own
build. Such an image has other bytes than the real one: its size and seconds are its own, the locks
and the templates are the real target's. What no stand-in replaced is named under the table.

"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What became of one target. Seconds are those of its build, size in bytes unpacked.

    `stand_in` is what is not the real thing, empty for a real image; `key` is the digest of what
    the image was made of, bases apart; `locks` of the committed locks; `error` why there is none.
    `limit` is the most that `size` may be, `fills` what the image holds, both in bytes.
    """

    image: str
    base: str
    stand_in: str
    gaps: Sequence[str]
    locked: str
    date: str
    locks: str
    key: str
    proven: str
    seconds: float = 0.0
    size: int = 0
    error: str = ""
    limit: int = 0
    fills: Mapping[str, int] = field(default_factory=dict)
    checks: Sequence[Check] = ()
    layers: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    @property
    def passed(self) -> bool:
        """Whether it was built and every check passed."""
        return bool(self.checks) and not self.error and all(check.passed for check in self.checks)


def passed(rows: Iterable[Row]) -> int:
    """How many rows passed."""
    return sum(row.passed for row in rows)


def load(path: Path) -> dict[str, Row]:
    """The rows of a result by the target's name; none if there is no file yet."""
    if not path.is_file():
        return {}
    rows = json.loads(path.read_text("utf-8"))["rows"]
    return {
        row["image"]: Row(
            **{
                **row,
                "gaps": tuple(row["gaps"]),
                "checks": tuple(Check(**check) for check in row["checks"]),
                "layers": tuple(row["layers"]),
            }
        )
        for row in rows
    }


def unproven(rows: Mapping[str, Row], digests: Mapping[str, str]) -> list[str]:
    """What the rows do not prove of the targets now; `digests` are those of their locks, by name.

    One line for each, which ends in what to do.
    """
    wrong = []
    for name, digest in digests.items():
        row = rows.get(name)
        if row is None:
            why = "has no row"
        elif not row.passed:
            why = "did not pass"
        elif row.locks != digest:
            why = "was proven with other locks"
        else:
            continue
        wrong.append(f"{name} {why}: run `make prove ROWS={name}`")
    gone = rows.keys() - digests.keys()
    wrong += [f"{name} is no target: run `make prove`" for name in sorted(gone)]
    return wrong


def not_tried(
    targets: Iterable[Target], images: Path, rows: Mapping[str, Row]
) -> dict[str, tuple[str, ...]]:
    """The targets without a row by name, with the packages of which no SHA-256 is known.

    One that could be built, and was not yet, lacks none.
    """
    return {
        target.name: tuple(
            Requirement(each).name for each in state(images / target.folder, target).unhashed
        )
        for target in targets
        if target.name not in rows
    }


def save(path: Path, rows: Mapping[str, Row], targets: Iterable[Target]) -> None:
    """Write rows in the order of the matrix; the file is replaced whole or not at all."""
    ordered = [asdict(rows[target.name]) for target in targets if target.name in rows]
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(json.dumps({"rows": ordered}, indent=1) + "\n", "utf-8")
    temporary.replace(path)


def span(least: str, most: str) -> str:
    """From one to another, or the one if both are the same.

    >>> span("1 s", "20 s"), span("1 s", "1 s")
    ('1 s to 20 s', '1 s')
    """
    return least if least == most else f"{least} to {most}"


def _by_repository(names: Iterable[str]) -> dict[str, list[str]]:
    """The names of images by repository."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.partition(":")[0], []).append(name)
    return found


def _counted(names: Iterable[str]) -> str:
    """How many images of which repository.

    >>> _counted(["a:1", "b:1", "a:2"])
    '2 of `a`, 1 of `b`'
    """
    groups = _by_repository(names)
    return ", ".join(f"{len(group)} of `{name}`" for name, group in groups.items())


def _wrong(row: Row) -> list[str]:
    """What keeps a row from being proven, a line each."""
    failed = [f"{check.name}: {check.detail}" for check in row.checks if not check.passed]
    return [*([row.error.split("\n")[0]] if row.error else []), *failed]


def layers(rows: Iterable[Row]) -> list[ImageLayers]:
    """The layers of the rows that have an image."""
    return [
        from_json({"image": row.image, "layers": list(row.layers)}) for row in rows if row.layers
    ]


def picture(rows: Iterable[Row]) -> str:
    """What the rows' images share, as SVG."""
    images = layers(rows)
    return draw(images, sharing(images))


def table(rows: Sequence[Row], missing: Mapping[str, Sequence[str]]) -> str:
    """The page: a line for each repository, and below it what failed and what is missing.

    `missing` are the targets without a row, each with the packages that have no known hash.
    """
    lines = [
        "| images | proven | on the real parts | on stand-ins | in part | built in | sizes |",
        "|---|---|---|---|---|---|---|",
    ]
    built = {row.image: row for row in rows}
    for repository, names in _by_repository([*built, *missing]).items():
        group = [built[name] for name in names if name in built]
        lines.append(f"| {' | '.join(_cells(repository, len(names), group))} |")
    shared = summary(sharing(layers(rows)))
    total = len(rows) + len(missing)
    head = f"{passed(rows)} of {total} targets are proven. What they share: {shared}."
    wrong = [f"- `{row.image}`: {text}" for row in rows for text in _wrong(row)]
    parts = [_INTRODUCTION, head, "\n\n", "\n".join(lines), "\n"]
    for title, told in (
        ("What failed", wrong),
        ("What is not proven", list(_not_proven(missing))),
        ("What was left out", list(_left_out(rows))),
    ):
        if told:
            parts += [f"\n## {title}\n\n", "\n".join(told), "\n"]
    return "".join(parts)


def _cells(repository: str, count: int, group: Sequence[Row]) -> list[str]:
    """The line of a repository with `count` targets, of which `group` was built."""
    good = [row for row in group if row.passed]
    cells = [
        f"`{repository}`",
        f"{len(good)} of {count}",
        f"{sum(not row.stand_in for row in good)}",
        f"{sum(bool(row.stand_in and not row.gaps) for row in good)}",
        f"{sum(bool(row.stand_in and row.gaps) for row in good)}",
    ]
    if not group:
        return [*cells, "-", "-"]
    seconds, sizes = [row.seconds for row in group], [row.size for row in group]
    return [
        *cells,
        span(f"{min(seconds):.0f} s", f"{max(seconds):.0f} s"),
        span(human_size(min(sizes)), human_size(max(sizes))),
    ]


def _not_proven(missing: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Lines on what cannot be built, by repository, and on each image that was not built yet."""
    for repository, names in _by_repository(
        name for name, lacks in missing.items() if lacks
    ).items():
        packages = ", ".join(sorted({each for name in names for each in missing[name]}))
        yield f"- {len(names)} of `{repository}`: no SHA-256 of {packages} is known"
    for name, lacks in missing.items():
        if not lacks:
            yield f"- `{name}`: it was not built yet"


def _left_out(rows: Iterable[Row]) -> Iterator[str]:
    """A line for each set of what nothing stood in for."""
    lacking: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        if row.gaps:
            lacking.setdefault(tuple(row.gaps), []).append(row.image)
    for what, names in lacking.items():
        yield f"- {_counted(names)}: {', '.join(what)}"
