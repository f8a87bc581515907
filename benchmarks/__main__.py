"""`make bench`: what we do beside what one would do otherwise, in turn, as ratios of medians."""

from __future__ import annotations

import sys

from benchmarks import builds, commands

if __name__ == "__main__":
    wanted = sys.argv[1:] or ["commands", "builds"]
    if "commands" in wanted:
        commands.measure()
    if "builds" in wanted:
        builds.measure()
