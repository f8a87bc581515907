"""Builds on a platform: what of a build is for it, and why a row has no image for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from builder.matrix.format import Build, Component, Entry
from builder.matrix.platforms import DEFAULT, PLATFORMS
from builder.matrix.yaml_nodes import Report, Text

__all__ = ["on_platform"]


def on_platform(
    build: Build,
    platform: Text,
    device: Text,
    entry: Entry,
    components: Sequence[Component],
    report: Report,
) -> Build | None:
    """The build with its wheels for a platform; None, and a report, if that is not possible."""
    wheels = PLATFORMS[platform].machine
    fit = tuple(each for each in build.wheels if each.machine in ("", wheels))
    there = {each.filename.partition("-")[0] for each in fit}
    lacking = [each for each in build.wheels if each.filename.partition("-")[0] not in there]
    reasons = []
    if platform != DEFAULT:
        if entry.origin != "own":
            reasons.append(("AWS released no image for it", "say `origin: own`"))
        if device != "cpu":
            reasons.append((f"there it is for cpu alone, not {device}", "name `devices: [cpu]`"))
        if components:
            reasons.append((f"{components[0].name} is for {DEFAULT} alone", "leave components out"))
    if lacking:
        reasons.append(
            (
                f"the wheel on line {lacking[0].at.line} is for {lacking[0].machine}",
                f"name one for {wheels} beside it, or a build from the package index",
            )
        )
    for why, remedy in reasons:
        named = f"{entry.framework} {entry.version} cannot be for {platform}: {why}"
        report.add(platform.at, named, f"{remedy}, or leave {platform} out")
    if reasons:
        return None
    return build if len(fit) == len(build.wheels) else replace(build, wheels=fit)
