"""The picture in docs/architecture.md: which packages of builder/ import which, as a Mermaid chart.

`python -m tools.architecture` writes it from the sources; `--check` fails where it is another.
An arrow that follows from others is left out, as each package may import all below it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["chart", "main", "reduced", "with_chart"]

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
BEGIN = "<!-- Written by `make pages`. -->\n"
END = "<!-- The end of what is written. -->\n"


def imports() -> dict[str, set[str]]:
    """The packages of builder/ that each of them imports, `TYPE_CHECKING` aside."""
    import grimp

    graph = grimp.build_graph("builder", exclude_type_checking_imports=True, cache_dir=None)
    packages = sorted(graph.find_children("builder") - {"builder.__main__"})
    return {
        importer.partition(".")[2]: {
            imported.partition(".")[2]
            for imported in packages
            if imported != importer
            and graph.direct_import_exists(importer=importer, imported=imported, as_packages=True)
        }
        for importer in packages
    }


def reduced(graph: Mapping[str, set[str]]) -> list[tuple[str, str]]:
    """The arrows of a graph without circles that do not follow from others.

    >>> reduced({"a": {"b", "c"}, "b": {"c"}, "c": set()})
    [('a', 'b'), ('b', 'c')]
    """

    def below(name: str) -> set[str]:
        return graph[name].union(*map(below, graph[name]))

    return [
        (name, other)
        for name, others in graph.items()
        for other in sorted(others)
        if not any(other in below(each) for each in others)
    ]


def chart(arrows: list[tuple[str, str]]) -> str:
    """A Mermaid chart, as GitHub draws it."""
    lines = "".join(f"    {name} --> {other}\n" for name, other in arrows)
    return f"```mermaid\nflowchart TD\n{lines}```\n"


def with_chart(page: str, drawn: str) -> str:
    """A page with the chart between its two marks."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{drawn}{END}{rest.partition(END)[2]}"


def main() -> None:
    """Write the picture, or look whether it is up to date."""
    parser = argparse.ArgumentParser(prog="python -m tools.architecture", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if it differs")
    arguments = parser.parse_args()
    page = PAGE.read_text("utf-8")
    right = with_chart(page, chart(reduced(imports())))
    if not arguments.check:
        PAGE.write_text(right, "utf-8")
    elif page != right:
        sys.exit(f"{PAGE}: the picture is not that of the imports; run `make pages`")


if __name__ == "__main__":
    main()
