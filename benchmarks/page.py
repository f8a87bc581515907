"""docs/performance.md: a section for each bench, which the bench itself writes with --write."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

from builder.util import atomic

__all__ = ["PAGE", "Section", "machine", "markdown", "with_section", "write"]

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
END = "<!-- The end of what is written. -->\n"
_INTRODUCTION = """\
# Performance

Each section is written by its bench, `python -m benchmarks NAME --write`; `make bench` runs all of
them, and only prints. Times are medians of rounds in which all sides take turns. CPU is the time of
the processors, which says more on a busy machine.
"""

# A heading and the Markdown below it.
Section = tuple[str, str]


def machine() -> str:
    """What a bench ran on, and when."""
    today = datetime.datetime.now(datetime.timezone.utc).date()
    return (
        f"On {today.isoformat()}: {len(os.sched_getaffinity(0))} cores ({_processor()}), "
        f"load {os.getloadavg()[0]:.1f} at the end, Python {platform.python_version()}."
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.machine()


def markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table.

    >>> print(markdown(["a", "b"], [["1", "2"]]), end="")
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    lines = [titles, ["---"] * len(titles), *rows]
    texts = [f"| {' | '.join(cells)} |\n" for cells in lines]
    return "".join([texts[0], texts[1].replace(" ", ""), *texts[2:]])


def with_section(page: str, name: str, section: Section) -> str:
    r"""A page with the section of a bench: in the place of the former one, else at the end.

    >>> page = with_section("# A\n", "x", ("X", "1 s\n"))
    >>> print(with_section(page, "x", ("X", "2 s\n")), end="")
    # A
    <BLANKLINE>
    <!-- Written by `python -m benchmarks x --write`. -->
    ## X
    <BLANKLINE>
    2 s
    <!-- The end of what is written. -->
    """
    begin = f"<!-- Written by `python -m benchmarks {name} --write`. -->\n"
    heading, text = section
    written = f"{begin}## {heading}\n\n{text}{END}"
    before, found, rest = page.partition(begin)
    if not found:
        return f"{page}\n{written}"
    return before + written + rest.partition(END)[2]


def write(name: str, section: Section) -> None:
    """Put the section of a bench on the page."""
    page = PAGE.read_text("utf-8") if PAGE.is_file() else _INTRODUCTION
    atomic.write(PAGE, with_section(page, name, section))
