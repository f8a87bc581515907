"""Checks of the matrix's components, each made once, whatever rows name them."""

from __future__ import annotations

import re

from builder.matrix.components import KINDS, Kind
from builder.matrix.format import Component, Matrix
from builder.matrix.requirements import parse_requirement
from builder.matrix.validate import check_requirements, known, read_wheel
from builder.matrix.yaml_nodes import Report, Text
from builder.util.text import did_you_mean

__all__ = ["check_components"]

# What every kind may have, in the order in which a message names it.
_KEYS = ("kind", "version", "for", "needs")
_OTHERS = {key for kind in KINDS.values() for key in (kind.made_from, *kind.keys)}


def check_components(matrix: Matrix, report: Report) -> None:
    """Report components that cannot be made from what they say, or would be another thing."""
    for component in matrix.components.values():
        kind = KINDS[component.kind]
        _check_keys(component, kind, report)
        _check_frameworks(matrix, component, kind, report)
        for need in component.needs:
            if need == component.kind:
                report.add(need.at, f"{component.name} needs itself", "remove it")
        check_requirements((*component.requires, *component.build), {}, report)
        if kind.made_from == "source":
            _check_source(matrix, component, report)
        elif kind.made_from == "wheels":
            _check_wheels(matrix, component, kind, report)
        else:
            _check_pin(component, kind, report)


def _check_keys(component: Component, kind: Kind, report: Report) -> None:
    """Report a key that would be ignored, and what the kind is made from if that is not there."""
    keys = (*_KEYS, kind.made_from, *kind.keys)
    for key, at in component.keys.items():
        if key in _OTHERS.difference(keys):
            wheels = key == "sha256" and kind.made_from == "wheels"
            report.add(
                at,
                f"{key!r} is not a key of {component.kind}",
                "say it below the wheel's `url`" if wheels else f"known: {', '.join(keys)}",
            )
    if kind.made_from not in component.keys:
        report.add(
            component.at,
            f"{component.name} says no `{kind.made_from}`, which {component.kind} is made from",
            f"add `{kind.made_from}:`",
        )


def _check_frameworks(matrix: Matrix, component: Component, kind: Kind, report: Report) -> None:
    """Report a component that does not say what it is for, and versions it cannot be for."""
    if kind.tied and "for" not in component.keys:
        report.add(
            component.at,
            f"{component.name} does not say which framework versions it is for",
            "add `for:`, like {pytorch: [1.9.0, 1.9.1]}",
        )
    for framework, texts in component.frameworks.items():
        for text in texts:
            if text not in matrix.versions(framework).named:
                report.add(
                    text.at,
                    f"{framework} {text} is not defined under frameworks",
                    did_you_mean(text, matrix.versions(framework).named),
                )
            elif kind.replaces and (framework, text) != (kind.replaces, component.version):
                report.add(
                    text.at,
                    f"{component.name} is a build of {kind.replaces} {component.version}, "
                    f"not of {framework} {text}",
                    "remove it, or fix `version`",
                )


def _check_source(matrix: Matrix, component: Component, report: Report) -> None:
    """Report a file from nowhere, and one that by its name is of another version."""
    if component.source is None:
        return
    source, _, path = component.source[2:].partition("}/")
    known(matrix, "sources", Text(source, component.source.at), report)
    file = path.rpartition("/")[2]
    # Not as a part of a longer version.
    if not re.search(rf"(?<![\d.]){re.escape(component.version)}(?!\.?\d)", file):
        report.add(
            component.source.at,
            f"{component.name} has version {component.version}, and {file} is not named after it",
            "name the file of that version, or fix `version`",
        )


def _check_wheels(matrix: Matrix, component: Component, kind: Kind, report: Report) -> None:
    """Report wheels of another project, of another version, twice the same and missing."""
    names: set[str] = set()
    for wheel in component.wheels:
        found = read_wheel(matrix, wheel, report)
        if found is None:
            continue
        name, version = found
        if name not in kind.packages:
            report.add(
                wheel.at,
                f"{wheel.filename} is a wheel of {name}, not of {' or '.join(kind.packages)}",
                "name the right wheel, or remove it",
            )
        elif name in names:
            report.add(wheel.at, f"a second wheel of {name}", "keep one")
        elif name == kind.packages[0] and version.partition("+")[0] != component.version:
            report.add(
                wheel.at,
                f"{component.name} has version {component.version}, and its wheel {version}",
                "name the wheel of that version, or fix `version`",
            )
        names.add(name)
    missing = [name for name in kind.packages if name not in names]
    if missing and component.wheels and not report.problems:  # one that is broken may be it
        report.add(
            component.keys["wheels"],
            f"{component.name} has no wheel of {' and '.join(missing)}",
            "add it",
        )


def _check_pin(component: Component, kind: Kind, report: Report) -> None:
    """Report a component whose version is not the one that is installed."""
    name, pin = kind.packages[0], f"=={component.version}"
    found = False
    for text in component.requires:
        requirement = parse_requirement(text)
        if requirement is None:  # is reported as such, and may be the one
            found = True
            continue
        if requirement.name != name:
            continue
        found = True
        if requirement.rest != pin:
            report.add(
                text.at,
                f"{component.name} has version {component.version}, "
                f"and {text!r} may install another",
                f"write {name}{pin}, or fix `version`",
            )
    if component.requires and not found:
        report.add(
            component.keys["requires"],
            f"{component.name} does not require {name}",
            f"add {name}{pin}",
        )
