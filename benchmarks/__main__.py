"""`make bench`: what we do beside what one would do otherwise, in turn, as ratios of medians."""

from __future__ import annotations

import signal
import sys

from benchmarks import builds, commands, noop, scaling, startup
from builder.errors import DlcError

BENCHES = {
    "commands": commands.measure,
    "noop": noop.measure,
    "scaling": scaling.measure,
    "builds": builds.measure,
    "startup": startup.measure,
}

if __name__ == "__main__":
    # As Ctrl-C: the images and containers of a bench are removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    wanted = sys.argv[1:] or list(BENCHES)
    if unknown := set(wanted) - BENCHES.keys():
        sys.exit(f"no bench is named {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    try:
        for name in wanted:
            BENCHES[name]()
    except DlcError as error:
        sys.exit(f"bench: {error}")
