"""`make bench`: what we do beside what one would do otherwise, in turn, as ratios of medians."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from benchmarks import builds, commands, noop, page, push, scaling, serving, site, startup
from builder.errors import DlcError
from tests.own_namespace import Shared, own_part

# Those that return a section have one on docs/performance.md.
BENCHES: dict[str, Callable[[], page.Section | None]] = {
    "commands": commands.measure,
    "scaling": scaling.measure,
    "site": site.measure,
}
# With images and containers of their own, which are removed however a bench ends.
ON_AN_ENGINE: dict[str, Callable[[Shared], page.Section | None]] = {
    "noop": noop.measure,
    "builds": builds.measure,
    "startup": startup.measure,
    "serving": serving.measure,
    "push": push.measure,
}

if __name__ == "__main__":
    names = [*BENCHES, *ON_AN_ENGINE]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("bench", nargs="*", help=f"one of {', '.join(names)} [default: all]")
    parser.add_argument(
        "--write", action="store_true", help="write what is found to docs/performance.md"
    )
    given = parser.parse_args()
    wanted = given.bench or names
    if unknown := set(wanted) - set(names):
        parser.error(
            f"no bench is named {', '.join(sorted(unknown))}; there are {', '.join(names)}"
        )
    try:
        for name in wanted:
            if name in BENCHES:
                section = BENCHES[name]()
            else:
                with own_part() as shared:
                    section = ON_AN_ENGINE[name](shared)
            if section and given.write:
                page.write(name, section)
    except DlcError as error:
        sys.exit(f"bench: {error}")
