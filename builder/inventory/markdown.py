"""A difference between two images as Markdown: release notes, and bodies of pull requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from builder.inventory.diff import Change, Difference
from builder.util.text import counted, human_size

__all__ = ["code", "markdown", "table"]

_TITLES = {
    "python": "Python packages",
    "system": "Packages of the distribution",
    "java": "Java",
    "runtime": "Runtimes",
    "binary": "Programs",
}


def markdown(difference: Difference, *, before: str = "", after: str = "") -> str:
    """A page about what differs; `before` and `after` are the images' names, if not their own."""
    one = before or difference.before.image
    other = after or difference.after.image
    return "\n".join(_lines(difference, one, other)) + "\n"


def _lines(difference: Difference, before: str, after: str) -> Iterator[str]:
    yield f"# {_cell(after)}"
    yield ""
    yield f"Compared with {_cell(before)}: {_summary(difference)}."
    for kind, title in _TITLES.items():
        rows = [each for each in difference.packages if each.kind == kind]
        if rows:
            yield from table(title, ("package", "", "before", "after"), map(_package, rows))
    if difference.advisories:
        advisories = (
            (
                each.what,
                f"`{each.advisory}`",
                each.severity or "-",
                f"`{each.package}` {each.version}",
            )
            for each in difference.advisories
        )
        yield from table("Advisories", ("", "advisory", "severity", "package"), advisories)
    if difference.settings:
        rows_of = (
            (f"{each.what} `{each.name}`", code(each.before), code(each.after))
            for each in difference.settings
        )
        yield from table("Settings", ("setting", "before", "after"), rows_of)
    if difference.new_layers:
        new = ((f"`{step}`", human_size(size)) for step, size in difference.new_layers)
        yield from table("New layers", ("instruction", "size"), new)


def _summary(difference: Difference) -> str:
    what = "requirements of the locks" if difference.locks_only else "packages"
    counts: dict[str, int] = {}
    for each in difference.packages:
        counts[each.what] = counts.get(each.what, 0) + 1
    numbers = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
    parts = [f"{what}: {numbers}" if numbers else f"the same {what}"]
    if not difference.locks_only:
        parts.append(
            f"{counted(len(difference.new_layers), 'new layer')} of {len(difference.after.layers)}"
        )
        sizes = human_size(difference.before.size), human_size(difference.after.size)
        parts.append(sizes[0] if sizes[0] == sizes[1] else f"{sizes[0]} to {sizes[1]}")
    return "; ".join(parts)


def _package(change: Change) -> tuple[str, str, str, str]:
    within = f" in `{change.within.rpartition('/')[2]}`" if change.within else ""
    versions = (code(version or None) for version in (change.before, change.after))
    return (f"`{change.name}`{within}", change.what, *versions)  # type: ignore[return-value]


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a section with a table."""
    yield ""
    yield f"## {title}"
    yield ""
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"


def code(text: str | None) -> str:
    """A text between marks of its own, however many are in it."""
    if text is None:
        return "-"
    marks = "`"
    while marks in text:
        marks += "`"
    pad = " " if len(marks) > 1 else ""
    return f"{marks}{pad}{text}{pad}{marks}" if text else "(empty)"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
